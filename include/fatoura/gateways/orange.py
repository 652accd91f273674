"""The Orange SMS API of the Middle East and Africa: JSON, a token of an hour, receipts by callback.

Made by `create_gateway`. It takes no id of ours with a message and knows no repeats: what became of a request
without an answer, nobody can tell. It must not know who calls it.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from fatoura.errors import BadInput
from fatoura.gateways.configuration import base_address, longest_segments, refuse_unknown
from fatoura.gateways.fitness import check_fit
from fatoura.gateways.interface import (
    Balance,
    Capabilities,
    Gateway,
    MessageUnfit,
    Outcome,
    Receipt,
    ReceiptUnreadable,
    Request,
    Token,
)
from fatoura.notices.states import State

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fatoura.gateways.interface import GatewayConfig, Message, OutcomeKind

_TOKEN_PATH = "/oauth/v3/token"
_SUBMIT_PATH = "/smsmessaging/v1/outbound/{}/requests"
_CONTRACTS_PATH = "/sms/admin/v1/contracts"

_TOKEN_SECONDS = 3600

_SENDER_ADDRESS = re.compile(r"\+[1-9][0-9]{3,14}")
_SENDER_NAME = re.compile(r"[!-~](?:[ -~]{0,9}[!-~])?")
_COUNTRY = re.compile(r"[A-Z]{3}")
_CREDENTIALS = {
    "username": ("client id", re.compile(r"[!-9;-~]+")),  # no colon: it stands between the two
    "password": ("client secret", re.compile(r"[!-~]+")),
}
_TOKEN = re.compile(r"[!-~]{1,4096}")
_RESOURCE = re.compile(r"(?:.*/requests/)?([!-.0-~]{1,200})/?", re.DOTALL)
_CODE = re.compile(r"(?:SVC|POL)[0-9]{4}")

_OAUTH_ERRORS = frozenset(
    {
        "invalid_request",
        "invalid_client",
        "invalid_grant",
        "unauthorized_client",
        "unsupported_grant_type",
        "invalid_scope",
    }
)

# What is wrong with a message is final; what is wrong with the sender is so for every message.
_PARTS: dict[str, OutcomeKind] = {
    "address": "rejected",
    "message": "rejected",
    "outboundsmstextmessage": "rejected",
    "senderaddress": "stop",
    "sendername": "stop",
}
_RATE = re.compile(r"\brate\b|too many|throttl|per second|tps\b", re.IGNORECASE)
_ACCOUNT = re.compile(r"balance|credit|contract|expired|exhausted|bundle|units", re.IGNORECASE)

# Answers without a code of the SMS API's own: of Orange's front, or of what stands before it. These statuses
# say that the request went no further; every other one leaves it open.
_STATUSES: dict[int, OutcomeKind] = {
    401: "unauthorized",
    403: "stop",
    404: "stop",
    405: "stop",
    406: "stop",
    407: "stop",
    415: "stop",
    429: "refused",
    503: "refused",
    **dict.fromkeys(range(300, 400), "stop"),
}

# The front's own codes of 400: it could not read the request, and passed nothing on.
_UNREAD = range(20, 30)

_RECEIVED: dict[str, State] = {
    "DeliveredToTerminal": State.DELIVERED,
    "DeliveryImpossible": State.UNDELIVERABLE,
    # Another network has it and may say no more: neither is it known to be delivered, nor to be lost.
    "DeliveryUncertain": State.ACCEPTED,
    "DeliveredToNetwork": State.ACCEPTED,
    "MessageWaiting": State.ACCEPTED,
}
# Where one receipt speaks of several parts, the worst of them counts: half a message is not delivered.
_WORST_FIRST = (
    "DeliveryImpossible",
    "DeliveryUncertain",
    "MessageWaiting",
    "DeliveredToNetwork",
    "DeliveredToTerminal",
)


class OrangeGateway(Gateway):
    """Orange's SMS API.

    :param config: the user is the application's client id, the password its client secret. `extra` must hold
        `sender_address` (``+216…``, as Orange gave it). It may hold `sender_name` (false: messages go out
        under the application's default name; true, the default: under ours, which Orange must know),
        `longest_segments` (1) and `country` (``TUN``), whose contracts count for the balance.
    :raises BadInput: names the field of the connection that is wrong.
    """

    adapter = "orange"

    def __init__(self, config: GatewayConfig):
        self.name = config.name
        refuse_unknown(config.extra, {"sender_address", "sender_name", "longest_segments", "country"})
        address = config.extra.get("sender_address", "")
        if not isinstance(address, str) or not _SENDER_ADDRESS.fullmatch(address):
            raise BadInput(
                "the Orange connection's extra: sender_address must be the number that Orange gave for "
                "sending, with a plus sign and its country: +216…"
            )
        with_name = config.extra.get("sender_name", True)
        with_name = {"true": True, "false": False}.get(with_name, with_name)  # text, in an address
        if not isinstance(with_name, bool):
            raise BadInput(
                "the Orange connection's extra: sender_name must be true or false; the name itself is the "
                "setting FATOURA_SENDER_ID"
            )
        country = config.extra.get("country", "TUN")
        if not isinstance(country, str) or not _COUNTRY.fullmatch(country):
            raise BadInput("the Orange connection's extra: country must be three capital letters, as TUN")
        for field, (what, form) in _CREDENTIALS.items():
            if not form.fullmatch(getattr(config, field)):
                raise BadInput(
                    f"the Orange connection's {field} must be the application's {what}, as Orange's portal "
                    "shows it: printable ASCII without blanks"
                )
        self._base = base_address(config)
        self._sender_address = f"tel:{address}"
        self._with_name = with_name
        self._country = country
        self._basic = b64encode(f"{config.username}:{config.password}".encode()).decode()
        self.capabilities = Capabilities(
            client_reference=False,
            idempotency=False,
            status_query=False,
            receipts="push",
            validity=False,
            scheduled=False,
            longest_segments=longest_segments(config.extra),
            balance=True,
        )

    def token_request(self) -> Request:
        """Return the request for a token, by the application's credentials."""
        return Request(
            "POST",
            self._base + _TOKEN_PATH,
            {
                "Authorization": f"Basic {self._basic}",
                "Content-Type": "application/x-www-form-urlencoded",
                "Accept": "application/json",
            },
            b"grant_type=client_credentials",
        )

    def read_token(self, status: int, headers: Mapping[str, str], body: bytes) -> Token | Outcome:
        """Return the token. Refused credentials are `stop`; all else that is no token may be one later."""
        said = _object(body)
        value = said.get("access_token")
        if status == 200 and isinstance(value, str) and _TOKEN.fullmatch(value):
            return Token(value, _seconds(said.get("expires_in")))
        error = said.get("error")
        told = f"status {status}, {error}" if error in _OAUTH_ERRORS else f"status {status}"
        kind: OutcomeKind = "stop" if 300 <= status < 500 and status not in (408, 425, 429) else "refused"
        return Outcome(kind, None, f"no token: {told}")

    def submit_request(self, message: Message, token: str = "") -> Request:
        """Return the POST that submits a message.

        :raises MessageUnfit: see `Gateway.submit_request`.
        """
        self._check(message)
        asked: dict[str, Any] = {
            "address": f"tel:{message.phone}",
            "senderAddress": self._sender_address,
            "outboundSMSTextMessage": {"message": message.text},
        }
        if self._with_name:
            asked["senderName"] = message.sender
        return Request(
            "POST",
            self._base + _SUBMIT_PATH.format(quote(self._sender_address, safe="")),
            {
                "Authorization": f"Bearer {token}",
                "Content-Type": "application/json",
                "Accept": "application/json",
            },
            # In ASCII: what is told by number no front can take for another character set.
            json.dumps({"outboundSMSMessageRequest": asked}).encode("ascii"),
        )

    def read_answer(self, status: int, headers: Mapping[str, str], body: bytes) -> Outcome:
        """Return what Orange's answer means."""
        said = _object(body)
        if 200 <= status < 300:
            made = said.get("outboundSMSMessageRequest")
            resource = _resource(made.get("resourceURL")) if isinstance(made, dict) else None
            if status == 201 and isinstance(made, dict):
                return Outcome("accepted", resource, "status 201")
            # An id that came some other way is kept: a receipt by it settles the doubt.
            return Outcome("in_doubt", resource, f"status {status} with {len(body)} bytes unlike Orange's")
        code, variables = _exception(said)
        front = said.get("code")
        if code is not None:
            kind, why = self._meaning(status, code, variables)
            return Outcome(kind, None, f"status {status}, {code}{why and ': '}{why}")
        if isinstance(front, int) and not isinstance(front, bool) and 0 <= front < 10_000:
            kind = "stop" if status == 400 and front in _UNREAD else _STATUSES.get(status, "in_doubt")
            return Outcome(kind, None, f"status {status}, code {front}")
        return Outcome(
            _STATUSES.get(status, "in_doubt"), None, f"status {status} with {len(body)} bytes unlike Orange's"
        )

    def _meaning(self, status: int, code: str, variables: list[str]) -> tuple[OutcomeKind, str]:
        """Return what an error in the SMS API's own form means, and why."""
        part = self._part(variables)
        match status, code:
            case 400, "SVC0002" | "SVC0003":
                # Nothing was accepted. Where it does not say which value is wrong, it may be one that is in
                # every message: final for none of them, tried again until somebody has looked.
                return _PARTS.get(part.lower(), "refused"), part or "a value that it does not name"
            case 400, "SVC0004":
                return ("stop", part) if part == "senderAddress" else ("rejected", "address")
            case 400, "SVC0280":
                return "rejected", "too long"
            case 403, "POL0001":
                # One code for all that the contract forbids: no balance, an expired contract, a sender that
                # is not ours; and too many messages at once, which alone passes by itself.
                words = " ".join(variables)
                if _RATE.search(words) and not _ACCOUNT.search(words):
                    return "refused", "too many messages at once"
                return "stop", "the account, its balance or contract, does not allow it"
            case 403, "POL0003":
                return "stop", "too many addresses, and there is one"
        # SVC0001, "a service error occurred", tells neither where nor when. Others are not documented.
        return _STATUSES.get(status, "in_doubt"), ""

    def _part(self, variables: list[str]) -> str:
        """Return which part of the request an error names; never its value, which can be the number."""
        named = variables[0].strip() if variables else ""
        if named == self._sender_address:
            return "senderAddress"
        if named.startswith(("tel:", "+")):
            return "address"
        known = named.rpartition(".")[2]
        return known if known.lower() in _PARTS else ""

    @staticmethod
    def read_receipt(query: Mapping[str, str], body: bytes, headers: Mapping[str, str]) -> Receipt:
        """Return what a receipt says. It names the message by Orange's id, and holds the number.

        :raises ReceiptUnreadable: see `Gateway.read_receipt`.
        """
        said = _object(body)
        told = said.get("deliveryInfoNotification", said)
        infos = _objects(told, "deliveryInfo")
        levels = [*_objects(told), *infos, *(one for info in infos for one in _objects(info, "delivery"))]
        named = {resource for one in levels if (resource := _resource(one.get("callbackData"))) is not None}
        if len(named) != 1:
            raise ReceiptUnreadable("an Orange receipt that names no message, or more than one")
        words = [one["deliveryStatus"] for one in levels if "deliveryStatus" in one]
        if not words or not all(isinstance(word, str) and word in _RECEIVED for word in words):
            raise ReceiptUnreadable(
                f"an Orange receipt without a known status; known are {', '.join(_RECEIVED)}"
            )
        status = next(word for word in _WORST_FIRST if word in words)
        return Receipt(
            notice_id=None,
            attempt=None,
            provider_id=named.pop(),
            status=_RECEIVED[status],
            detail=status,
            happened_at=None,
        )

    def balance_request(self, token: str = "") -> Request:
        """Return the request for the contracts, which hold what is left of the bundles bought."""
        return Request(
            "GET",
            self._base + _CONTRACTS_PATH,
            {"Authorization": f"Bearer {token}", "Accept": "application/json"},
        )

    def read_balance(self, status: int, headers: Mapping[str, str], body: bytes) -> Balance:
        """Return how many SMS are left in the country's active contracts.

        :raises BadInput: when the answer is no list of contracts.
        """
        contracts = _parsed(body)
        if not isinstance(contracts, list) or not all(isinstance(one, dict) for one in contracts):
            raise BadInput("Orange's answer to the question for the balance is no list of contracts")
        left = Decimal(0)
        for contract in contracts:
            if contract.get("country") != self._country or contract.get("status") != "ACTIVE":
                continue
            units = contract.get("availableUnits")
            if isinstance(units, bool) or not isinstance(units, int):
                raise BadInput("one of Orange's contracts does not say how many SMS are left")
            left += units
        return Balance(left, "SMS")

    def _check(self, message: Message) -> None:
        check_fit(message, self.capabilities.longest_segments)
        if self._with_name and not _SENDER_NAME.fullmatch(message.sender):
            raise MessageUnfit(
                f"message {message.id} must not go to Orange: its sender is not 1 to 11 ASCII characters"
            )


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _object(body: bytes) -> dict[str, Any]:
    found = _parsed(body)
    return found if isinstance(found, dict) else {}


def _seconds(told: object) -> float:
    """Return a token's life; Orange gives it as a number or as text."""
    try:
        seconds = float(told) if isinstance(told, int | float | str) else 0.0
    except ValueError:
        seconds = 0.0
    return seconds if 0 < seconds < 1e9 else _TOKEN_SECONDS


def _resource(told: object) -> str | None:
    """Return the id of a resource, from its address or alone; as text, for leading zeros count."""
    if isinstance(told, bool) or not isinstance(told, str | int):
        return None
    found = _RESOURCE.fullmatch(str(told))
    return found[1] if found else None


def _exception(said: dict[str, Any]) -> tuple[str | None, list[str]]:
    """Return the code of an error in the SMS API's own form, and its variables."""
    error = said.get("requestError")
    if isinstance(error, dict):
        for found in _objects(error, "serviceException") + _objects(error, "policyException"):
            code, variables = found.get("messageId"), found.get("variables")
            if isinstance(code, str) and _CODE.fullmatch(code):
                return code, [str(one) for one in variables] if isinstance(variables, list) else []
    return None, []


def _objects(told: object, name: str | None = None) -> list[dict[str, Any]]:
    """Return the objects that a value is or lists; of an object, those under a name."""
    if name is not None:
        told = told.get(name) if isinstance(told, dict) else None
    return [one for one in (told if isinstance(told, list) else [told]) if isinstance(one, dict)]
