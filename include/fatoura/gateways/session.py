"""A gateway and its transport together: what is asked of a provider, and what it said.

Used by sending, by settling (statuses), and by commands. It gets and renews the provider's token, and never
submits a message twice, but for one proven not taken because its token was no longer good.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from fatoura.errors import BadInput
from fatoura.gateways.interface import Answer, Outcome, outcome_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fatoura.gateways.interface import Balance, Gateway, Message, Receipt, Request
    from fatoura.gateways.transport import Transport

# A token is renewed so long before its end, or in its last tenth: it must still be good when its last request
# arrives.
_TOKEN_MARGIN_SECONDS = 60


class ProviderSilent(BadInput):
    """The provider gave no usable answer to a question; asking again later costs nothing."""


class Session:
    """Speaks to one provider. The transport is opened and closed by the caller."""

    def __init__(self, gateway: Gateway, transport: Transport) -> None:
        self.gateway = gateway
        self._transport = transport
        self._token = ""
        self._token_until = 0.0
        self._renewal: asyncio.Task[str | Outcome] | None = None

    async def submit(self, message: Message) -> Outcome:
        """Hand a message over; return what became of it.

        :raises MessageUnfit: before anything is sent.
        """
        for _ in range(2):
            token = await self._good_token()
            if isinstance(token, Outcome):
                return token
            result = await self._transport.submit(self.gateway.submit_request(message, token))
            outcome = outcome_of(self.gateway, result)
            if outcome.kind != "unauthorized":
                return outcome
            self._forget(token)
        return Outcome("stop", None, f"a new token is refused too: {outcome.answer}")

    async def statuses(self, provider_ids: Sequence[str]) -> list[Receipt]:
        """Ask what became of messages, as many at a time as the provider allows.

        :raises ProviderSilent: when the provider cannot be asked now.
        :raises ReceiptUnreadable: when what it says is not understood.
        """
        at_once = self.gateway.capabilities.statuses_at_once
        receipts: list[Receipt] = []
        for first in range(0, len(provider_ids), at_once):
            asked = provider_ids[first : first + at_once]
            answer = await self._ask(partial(self.gateway.status_request, asked))
            told = self.gateway.read_statuses(answer.status, answer.headers, answer.body)
            # Where one is asked at a time, the answer need not repeat its id.
            receipts += [
                one if one.provider_id or at_once > 1 else replace(one, provider_id=asked[0]) for one in told
            ]
        return receipts

    async def balance(self) -> Balance:
        """Ask for the account's balance.

        :raises ProviderSilent: when the provider cannot be asked now.
        :raises BadInput: when it declares no balance, or what it says is not understood.
        """
        if not self.gateway.capabilities.balance:
            raise BadInput(f"{self.gateway.name} cannot be asked for its balance")
        answer = await self._ask(self.gateway.balance_request)
        return self.gateway.read_balance(answer.status, answer.headers, answer.body)

    async def _ask(self, make: Callable[[str], Request]) -> Answer:
        status = 0
        for _ in range(2):
            token = await self._good_token()
            if isinstance(token, Outcome):
                raise ProviderSilent(f"{self.gateway.name}: {token.answer}")
            answer = await self._transport.submit(make(token))
            if not isinstance(answer, Answer):
                raise ProviderSilent(f"{self.gateway.name} does not answer: {answer.reason}")
            status = answer.status
            if 200 <= status < 300:
                return answer
            if status != 401:
                break
            self._forget(token)
        raise ProviderSilent(f"{self.gateway.name} answers with status {status}")

    async def _good_token(self) -> str | Outcome:
        """Return a token that is good, or why there is none: nothing was submitted then."""
        if time.monotonic() < self._token_until:
            return self._token
        if self._renewal is None:
            # One for all who wait, for better or worse: were each to try for himself, one after the other,
            # the claims of the last would be in doubt before their turn came.
            self._renewal = asyncio.create_task(self._renew())
            self._renewal.add_done_callback(self._end_renewal)
        return await asyncio.shield(self._renewal)

    async def _renew(self) -> str | Outcome:
        request = self.gateway.token_request()
        if request is None:
            self._token_until = float("inf")
            return ""
        result = await self._transport.submit(request)
        if not isinstance(result, Answer):
            return Outcome("refused", None, f"no token: {result.reason}")
        token = self.gateway.read_token(result.status, result.headers, result.body)
        if isinstance(token, Outcome):
            return token
        margin = min(_TOKEN_MARGIN_SECONDS, token.seconds / 10)
        self._token, self._token_until = token.value, time.monotonic() + token.seconds - margin
        return token.value

    def _end_renewal(self, _: object) -> None:
        self._renewal = None

    def _forget(self, token: str) -> None:
        """Renew the token at the next request, unless another message has seen to it."""
        if token == self._token:
            self._token_until = 0.0


__all__ = ["ProviderSilent", "Session"]
