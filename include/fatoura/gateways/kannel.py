"""The open-source gateway Kannel, by its sendsms interface: one POST a message, receipts by callback.

Made by `create_gateway`. What is checked here before sending is what Kannel 1.4 answers with 202 and then
cuts, garbles or drops; its own checks are in the table of answers. It must not know who calls it.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl
from uuid import UUID

from fatoura.errors import BadInput
from fatoura.gateways.configuration import base_address, longest_segments, refuse_unknown
from fatoura.gateways.fitness import check_fit
from fatoura.gateways.interface import (
    Capabilities,
    Gateway,
    InboundMessage,
    InboundUnreadable,
    MessageUnfit,
    Outcome,
    Receipt,
    ReceiptUnreadable,
    Request,
    receipt_path,
)
from fatoura.notices.encoding import measure
from fatoura.notices.states import State

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fatoura.gateways.interface import GatewayConfig, Message, OutcomeKind
    from fatoura.languages import Language

# 1 delivered, 2 not delivered, 4 buffered, 8 accepted by the SMSC, 16 refused by the SMSC.
_DLR_MASK = "31"

_CODING = {"gsm7": "0", "ucs2": "2"}

_HEADER_VALUE = re.compile(r"[!-~](?:[ -~]*[!-~])?")
_URL = re.compile(r"https?://[!-~]+", re.IGNORECASE)

_ANSWERS: dict[tuple[int, str], OutcomeKind] = {
    (202, "0: Accepted for delivery"): "accepted",
    (202, "3: Queued for later delivery"): "accepted",
    (202, "Sent."): "accepted",  # where `immediate-sendsms-reply` is on
    (503, "Temporal failure, try again later."): "refused",
    # A link taken out of service looks like a number without a route; giving up at once would lose a whole
    # cycle. A number that really has none is given up after the last attempt.
    (403, "Not routable. Do not try again."): "refused",
    (403, "Authorization failed for sendsms"): "stop",
    (404, "Unknown request."): "stop",
    (400, "Invalid content-type"): "stop",
    (400, "Sender missing and no global set, rejected"): "stop",
    (400, "Validity field misformed, rejected"): "stop",
    (400, "DLR-Mask field misformed, rejected"): "stop",
    (400, "DLR-URL field misformed, rejected"): "stop",
    (400, "Coding field misformed, rejected"): "stop",
    (400, "Missing receiver number, rejected"): "rejected",
    (400, "Missing receiver(s) number(s), rejected"): "rejected",
    (400, "Empty receiver number not allowed, rejected"): "rejected",
    (400, "Number(s) has/have been denied by white- and/or black-lists."): "rejected",
    (400, "Charset or body misformed, rejected"): "rejected",
}

# What stands between us and Kannel (a proxy, a firewall) answers in words of its own. These statuses say
# that the request went no further; every other one leaves it open.
_STATUSES: dict[int, OutcomeKind] = {
    429: "refused",
    503: "refused",
    401: "stop",
    403: "stop",
    404: "stop",
    405: "stop",
    407: "stop",
    **dict.fromkeys(range(300, 400), "stop"),
}

# Kannel's type 2 is everything final that is not success; only the SMSC's word tells which.
_UNDELIVERED = {
    "UNDELIV": State.UNDELIVERABLE,
    "DELETED": State.UNDELIVERABLE,
    "UNKNOWN": State.UNDELIVERABLE,
    "EXPIRED": State.EXPIRED,
    "REJECTD": State.REJECTED,
}

_STAT = re.compile(r"\bstat:([A-Za-z]{1,10})")
_ERR = re.compile(r"\berr:([0-9A-Za-z]{1,8})")
_SMPP_CODE = re.compile(r"0x[0-9a-f]{8}")
_CHARSET = re.compile(r'charset="?([!-!#-:<-~]+)"?', re.IGNORECASE)


class KannelGateway(Gateway):
    """Kannel behind its sendsms interface.

    POST, because it keeps the password, the number and the text out of addresses, and so out of access logs.

    :param config: `extra` may hold `path` (``/cgi-bin/sendsms``), `longest_segments`, which must equal
        `max-messages` of the Kannel user and is 1 by default, as Kannel's, and `inbound` (false): there is a
        short code, and Kannel passes on what is sent to it.
    :raises BadInput: names the field of the connection that is wrong.
    """

    adapter = "kannel"

    def __init__(self, config: GatewayConfig):
        self.name = config.name
        refuse_unknown(config.extra, {"path", "longest_segments", "inbound"})
        address = base_address(config)
        path = config.extra.get("path", "/cgi-bin/sendsms")
        if not isinstance(path, str) or not re.fullmatch(r"/[!-~]*", path):
            raise BadInput("the Kannel connection's extra: path must start with / and hold no spaces")
        inbound = config.extra.get("inbound", False)
        inbound = {"true": True, "false": False}.get(inbound, inbound)  # text, in an address
        if not isinstance(inbound, bool):
            raise BadInput("the Kannel connection's extra: inbound must be true or false")
        for field in ("username", "password"):
            if not _HEADER_VALUE.fullmatch(getattr(config, field)):
                raise BadInput(
                    f"the Kannel connection's {field} must be printable ASCII, and neither empty "
                    "nor with blanks at its ends"
                )
        self._url = address + path
        self._credentials = {
            "X-Kannel-Username": config.username,
            "X-Kannel-Password": config.password,
        }
        self.capabilities = Capabilities(
            client_reference=True,
            idempotency=False,
            status_query=False,
            receipts="push",
            validity=True,
            scheduled=False,
            longest_segments=longest_segments(config.extra),
            balance=False,
            inbound=inbound,
        )

    def submit_request(self, message: Message, token: str = "") -> Request:
        """Return the POST that submits a message, with every option explicit.

        :raises MessageUnfit: see `Gateway.submit_request`.
        """
        self._check(message)
        return Request(
            "POST",
            self._url,
            {
                "Content-Type": "text/plain; charset=UTF-8",
                **self._credentials,
                "X-Kannel-From": message.sender,
                "X-Kannel-To": message.phone,
                "X-Kannel-Coding": _CODING[message.encoding],
                "X-Kannel-Validity": str(message.validity_minutes),
                "X-Kannel-DLR-Mask": _DLR_MASK,
                "X-Kannel-DLR-Url": message.receipt_url,
            },
            message.text.encode(),
        )

    def read_answer(self, status: int, headers: Mapping[str, str], body: bytes) -> Outcome:
        """Return what Kannel's answer means. Kannel gives no id: receipts carry ours."""
        sentence = body.decode("ascii", "replace").strip()
        known = _ANSWERS.get((status, sentence))
        if known:
            return Outcome(known, None, sentence)
        # Not Kannel's words: they may repeat the request, so only their size is told.
        return Outcome(
            _STATUSES.get(status, "in_doubt"), None, f"status {status} with {len(body)} bytes unlike Kannel's"
        )

    def receipt_url(self, base: str, secret: str, message_id: UUID, attempt: int) -> str:
        """Return the dlr-url.

        Kannel fills in the type, the time, the SMSC and the SMSC's id and words; never the number (%p), the
        sender (%P) or the text (%b).
        """
        ours = f"{base.rstrip('/')}{receipt_path(self.name, secret)}?notice={message_id}&attempt={attempt}"
        # A per cent sign of our own would be read as one of Kannel's escapes.
        return ours.replace("%", "%%") + "&type=%d&time=%T&smsc=%i&smsc_message=%F&answer=%A"

    @staticmethod
    def read_receipt(query: Mapping[str, str], body: bytes, headers: Mapping[str, str]) -> Receipt:
        """Return what a callback of the dlr-url says.

        :raises ReceiptUnreadable: see `Gateway.read_receipt`.
        """
        try:
            notice_id = UUID(query["notice"])
            attempt = int(query["attempt"])
            kind = int(query["type"])
        except (KeyError, ValueError):
            raise ReceiptUnreadable(
                "a Kannel receipt without a readable notice, attempt or type; check the dlr-url"
            ) from None
        words = query.get("answer", "")
        return Receipt(
            notice_id=notice_id,
            attempt=attempt,
            provider_id=query.get("smsc_message") or None,
            status=_status(kind, words),
            detail=_detail(kind, words),
            happened_at=_instant(query.get("time", "")),
        )

    @staticmethod
    def read_inbound(query: bytes, body: bytes, headers: Mapping[str, str]) -> InboundMessage:
        """Return what Kannel's service passes on: by `get-url` in the query, by `post-url` in the body.

        :raises InboundUnreadable: see `Gateway.read_inbound`.
        """
        # Latin-1 keeps each octet: the text's own character set is named beside it.
        told = dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True, encoding="latin-1"))
        if "text" in told:
            sender, octets = told.get("from", ""), told["text"].encode("latin-1")
            charset = told.get("charset", "")
        else:
            sender, octets = headers.get("x-kannel-from", ""), body
            named = _CHARSET.search(headers.get("content-type", ""))
            charset = named[1] if named else ""
        if not sender.strip():
            raise InboundUnreadable("it names no sender: is from=%p in the get-url, or send-sender set?")
        try:
            written = octets.decode(charset or "utf-8")
        except (UnicodeDecodeError, LookupError):
            written = octets.decode("latin-1")
        return InboundMessage(sender.strip(), written)

    @staticmethod
    def inbound_answer(text: str, language: Language) -> tuple[dict[str, str], bytes]:
        """Return the answer that Kannel sends back, where its service accepts X-Kannel headers."""
        coding = _CODING[measure(text).encoding]
        return {"Content-Type": "text/plain; charset=UTF-8", "X-Kannel-Coding": coding}, text.encode()

    def _check(self, message: Message) -> None:
        check_fit(message, self.capabilities.longest_segments)
        if message.validity_minutes < 1:
            raise MessageUnfit(f"message {message.id} must not go to Kannel: it has no validity left")
        if not _URL.fullmatch(message.receipt_url):
            raise MessageUnfit(
                f"message {message.id} must not go to Kannel: its receipt address is no http address"
            )


def _status(kind: int, words: str) -> State:
    if kind == 1:
        return State.DELIVERED
    if kind in (4, 8):
        return State.ACCEPTED
    if kind == 16:
        return State.EXPIRED if "validity expired" in words else State.REJECTED
    if kind == 2:
        stat = _STAT.search(words)
        return _UNDELIVERED.get(stat[1].upper() if stat else "", State.UNDELIVERABLE)
    raise ReceiptUnreadable(f"a Kannel receipt of unknown type {kind}; known are 1, 2, 4, 8, 16")


def _detail(kind: int, words: str) -> str:
    """Return the codes of the SMSC's words. The rest of them can repeat the message's text."""
    stat, err = _STAT.search(words), _ERR.search(words)
    if stat:
        return f"{stat[1].upper()} err:{err[1]}" if err else stat[1].upper()
    if words.startswith(("ACK/", "NACK/")):
        parts = (p if _SMPP_CODE.fullmatch(p) else re.sub(r"\d+", "…", p) for p in words.split("/"))
        return "/".join(parts)[:80].rstrip("/")
    return f"type {kind}"


def _instant(seconds: str) -> datetime | None:
    try:
        return datetime.fromtimestamp(int(seconds), UTC)
    except (ValueError, OverflowError, OSError):
        return None
