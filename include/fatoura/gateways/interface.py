"""What sending and receiving know of an SMS provider: messages, requests, outcomes, receipts.

An adapter only builds requests and reads answers; it does no input or output, so that it can be tested
with a table and carried by any transport. It must not know notices, cycles, or the database.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal
from urllib.parse import quote

from fatoura.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from decimal import Decimal
    from uuid import UUID

    from fatoura.languages import Language
    from fatoura.notices.encoding import Encoding
    from fatoura.notices.states import State

OutcomeKind = Literal["accepted", "refused", "rejected", "in_doubt", "unauthorized", "stop"]


class MessageUnfit(BadInput):
    """This message must not be handed to this provider, which would take it and spoil or lose it.

    Raised before anything is sent. Says which message (our id) and which rule, never its text or number.
    """


class InboundUnreadable(BadInput):
    """A message of a customer of which the provider does not tell the sender or the text."""


class ReceiptUnreadable(BadInput):
    """A receipt that names no notice of ours, or no status that the provider is known to have."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of one attempt, as it goes to a provider.

    :param id: the notice's id, decided when it was planned.
    :param attempt: 1 for the first.
    :param phone: E.164.
    :param segments: as planned; the provider is paid for as many.
    :param validity_minutes: the longest that the provider may try to deliver it.
    :param sender: the sender shown on the phone.
    :param receipt_url: where the provider reports to, from `Gateway.receipt_url`.
    """

    id: UUID
    attempt: int
    phone: str = field(repr=False)
    text: str = field(repr=False)
    encoding: Encoding
    segments: int
    validity_minutes: int
    sender: str
    receipt_url: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request, ready to be written. Its address, headers and body may hold secrets and numbers."""

    method: Literal["GET", "POST"]
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete HTTP answer. The body is cut at the transport's limit."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class TransportFailure:
    """There is no complete answer.

    :param kind: `not_sent`: no byte of the request was written, proven. `in_doubt`: some may have been.
    :param reason: what happened, in words that hold no address, number or text.
    """

    kind: Literal["not_sent", "in_doubt"]
    reason: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one submit.

    :param kind: `accepted`: the provider has it. `refused`: proven not accepted, try again later.
        `rejected`: this message will never be accepted. `stop`: proven not accepted, and no other message
        would be either (wrong credentials): it goes back to planned, and the task fails at once.
        `unauthorized`: proven not accepted, for the token is no longer good; the session gets a new one.
        `in_doubt`: anything open.
    :param provider_id: the provider's id, where its answer gives one.
    :param answer: the provider's answer in short; never a number or a text.
    """

    kind: OutcomeKind
    provider_id: str | None
    answer: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """A provider's report on one message.

    :param notice_id: our id, as the provider gave it back; null where it knows only its own.
    :param attempt: the attempt that it was submitted with; null where the provider does not say.
    :param provider_id: the provider's id; text, for leading zeros count.
    :param status: the state that it reports. `ACCEPTED` for an intermediate one: it proves that the
        request had been accepted, and settles a doubt.
    :param detail: the provider's code and word; never a number or a text.
    :param happened_at: by the provider's clock, UTC.
    :param raw: where the provider was asked: what it said of this message, without any key.
    """

    notice_id: UUID | None
    attempt: int | None
    provider_id: str | None
    status: State
    detail: str
    happened_at: datetime | None
    raw: Mapping[str, Any] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class InboundMessage:
    """A message that somebody sent to our number.

    :param sender: as the provider writes it.
    """

    sender: str = field(repr=False)
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Token:
    """What a provider gives for the credentials, to be shown with each request.

    :param seconds: how long it is good for, from the answer on.
    """

    value: str = field(repr=False)
    seconds: float


@dataclass(frozen=True, slots=True)
class Balance:
    """What is left of a provider's account.

    :param amount: in `unit`, as the provider says it.
    :param unit: such as ``SMS`` or ``TND``.
    """

    amount: Decimal
    unit: str


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a provider's interface can do; policy follows from it.

    :param client_reference: receipts carry our own id. Without it a receipt that comes before the answer to
        its submit waits for the provider's id, and a doubt is never settled by a receipt.
    :param idempotency: submitting the same id twice sends once. A notice in doubt is then submitted again
        at once, whatever its kind.
    :param status_query: it can be asked what became of a message, by its own id.
    :param receipts: `push`: it calls us. `poll`: we ask, which needs `status_query`.
    :param validity: it takes a validity period with each message. Without one, sending stops well before
        the window closes.
    :param scheduled: it takes a time of delivery with each message.
    :param longest_segments: a longer message is cut or refused.
    :param balance: it can be asked for the account's balance.
    :param statuses_at_once: how many messages one status query may name.
    :param inbound: it receives messages of customers, passes them on, and sends what it is answered.
    :param seconds_between_statuses: how far apart status queries must lie, where the provider says so.
    """

    client_reference: bool
    idempotency: bool
    status_query: bool
    receipts: Literal["push", "poll"]
    validity: bool
    scheduled: bool
    longest_segments: int
    balance: bool
    statuses_at_once: int = 1
    inbound: bool = False
    seconds_between_statuses: float = 0


@dataclass(frozen=True, slots=True)
class GatewayConfig:
    """How to reach a provider, made from a connection.

    :param name: the connection's; notices, receipts and reports name the gateway by it.
    :param base_url: ``http(s)://host:port``, without a path.
    :param extra: what only this provider's adapter understands; unknown names are refused by it.
    """

    name: str
    base_url: str
    username: str = field(repr=False)
    password: str = field(repr=False)
    extra: Mapping[str, Any] = field(default_factory=dict)


class Gateway(ABC):
    """One connection to a provider, spoken to in the provider's way.

    Adapters are pure: the same arguments always give the same result. What a provider's interface cannot
    do is declared in `capabilities`, and its methods stay as they are here: nobody calls them.
    """

    adapter: ClassVar[str]
    """The kind of interface, as a connection names it."""

    name: str
    capabilities: Capabilities
    form: str | None = None
    """Of an adapter that speaks to several providers: which one."""

    @abstractmethod
    def __init__(self, config: GatewayConfig) -> None: ...

    @abstractmethod
    def submit_request(self, message: Message, token: str = "") -> Request:
        """Return the request that submits a message.

        :param token: where the provider gives tokens, one that is good.
        :raises MessageUnfit: when the provider would take the message and spoil or lose it.
        """

    @abstractmethod
    def read_answer(self, status: int, headers: Mapping[str, str], body: bytes) -> Outcome:
        """Return what a complete answer to a submit means. Whatever is not known is in doubt."""

    def receipt_url(self, base: str, secret: str, message_id: UUID, attempt: int) -> str:
        """Return the address that the provider reports to; with our id and attempt in it where they help.

        :param base: the receiver's address as the provider reaches it.
        :param secret: shows the receiver that a report comes from the provider.
        """
        return f"{base.rstrip('/')}{receipt_path(self.name, secret)}"

    @staticmethod
    def read_receipt(query: Mapping[str, str], body: bytes, headers: Mapping[str, str]) -> Receipt:
        """Return what a report says. Static: the receiver reads reports without a provider's credentials.

        :param query: the address's query, decoded.
        :raises ReceiptUnreadable: says what is wrong, and holds nothing personal.
        """
        raise ReceiptUnreadable("this provider's receipts are asked for; it does not report by itself")

    @staticmethod
    def read_inbound(query: bytes, body: bytes, headers: Mapping[str, str]) -> InboundMessage:
        """Return a message that a customer sent. Static, as `read_receipt` is.

        :param query: the address's query, as it came: a text in it may be in any character set.
        :raises InboundUnreadable: says what is wrong, and holds nothing personal.
        """
        raise InboundUnreadable("this provider's interface is not known to pass messages of customers on")

    @staticmethod
    def inbound_answer(text: str, language: Language) -> tuple[dict[str, str], bytes]:
        """Return the headers and the body by which the provider is told what to send back; empty: nothing."""
        raise NotImplementedError

    def token_request(self) -> Request | None:
        """Return the request for a token; nothing where the credentials go with each request."""
        return None

    def read_token(self, status: int, headers: Mapping[str, str], body: bytes) -> Token | Outcome:
        """Return the token, or why there is none: an outcome of kind `refused` or `stop`."""
        raise NotImplementedError

    def status_request(self, provider_ids: Sequence[str], token: str = "") -> Request:
        """Return the request that asks what became of messages; at most `statuses_at_once` of them."""
        raise NotImplementedError

    def read_statuses(self, status: int, headers: Mapping[str, str], body: bytes) -> list[Receipt]:
        """Return what the provider says of the messages that it was asked for, and knows.

        :raises ReceiptUnreadable: when the answer as a whole cannot be read.
        """
        raise NotImplementedError

    def balance_request(self, token: str = "") -> Request:
        """Return the request that asks for the account's balance."""
        raise NotImplementedError

    def read_balance(self, status: int, headers: Mapping[str, str], body: bytes) -> Balance:
        """Return the account's balance.

        :raises BadInput: when the answer is not one.
        """
        raise NotImplementedError


def inbound_path(gateway: str, secret: str) -> str:
    """Return the path of the receiver's address for messages that customers send through a gateway."""
    return f"/inbound/{quote(gateway, safe='')}/{quote(secret, safe='')}"


def receipt_path(gateway: str, secret: str) -> str:
    """Return the path of the receiver's address for a gateway.

    The secret is in the path, not in the query, so that it is not stored with the receipts.
    """
    return f"/receipts/{quote(gateway, safe='')}/{quote(secret, safe='')}"


def outcome_of(gateway: Gateway, result: Answer | TransportFailure) -> Outcome:
    """Return what became of a submit, from what the transport brought back."""
    if isinstance(result, Answer):
        return gateway.read_answer(result.status, result.headers, result.body)
    return Outcome("refused" if result.kind == "not_sent" else "in_doubt", None, result.reason)
