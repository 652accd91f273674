"""Aggregators that take a message as one GET with everything in its query, and are asked for receipts.

Made by `create_gateway`. The key stands in the address, so the address is a secret. What differs between such
aggregators is data: a form, read from a file here (`forms/`) or from the connection. It must not know who
calls it.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import parse_qsl, quote, urlencode
from xml.etree import ElementTree
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from fatoura.errors import BadInput
from fatoura.gateways.configuration import base_address, longest_segments
from fatoura.gateways.fitness import check_fit
from fatoura.gateways.interface import (
    Balance,
    Capabilities,
    Gateway,
    Outcome,
    Receipt,
    ReceiptUnreadable,
    Request,
)
from fatoura.notices.states import State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fatoura.gateways.interface import GatewayConfig, Message, OutcomeKind

_FORMS = Path(__file__).parent / "forms"

_PATH = r"^/[!-~]*$"
_KEY = re.compile(r"[!-~](?:[ -~]*[!-~])?")
_ID = re.compile(r"[!-~]{1,100}")
_HIDDEN = "…"

# Of what stands before the provider, or of the provider where its body says no more. These statuses say that
# the request went no further; every other one leaves it open.
_STATUSES: dict[int, OutcomeKind] = {
    401: "stop",
    403: "stop",
    404: "stop",
    405: "stop",
    407: "stop",
    414: "stop",
    429: "refused",
    503: "refused",
    **dict.fromkeys(range(300, 400), "stop"),
}

Paths = Annotated[tuple[str, ...], BeforeValidator(lambda told: (told,) if isinstance(told, str) else told)]
"""Where something stands in an answer: names joined by dots; the first place that holds something counts."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Unicode(_Strict):
    parameter: str
    gsm7: str = Field("", description="its value for such texts; empty: the parameter is left out")
    ucs2: str = ""


class _Answer(_Strict):
    format: Literal["json", "xml", "pairs", "word"]
    code: Paths
    id: Paths = ()


class _Codes(_Strict):
    accepted: tuple[str, ...]
    refused: tuple[str, ...] = ()
    rejected: tuple[str, ...] = ()
    stop: tuple[str, ...] = ()
    in_doubt: tuple[str, ...] = ()


class _Parameters(_Strict):
    key: str
    phone: str
    text: str
    sender: str
    username: str = ""
    validity: str = Field("", description="in minutes; without it sending stops well before the night")


class _Submit(_Strict):
    path: str = Field("", pattern=rf"^$|{_PATH}")
    fixed: dict[str, str] = {}
    parameters: _Parameters
    unicode: _Unicode | None = None
    answer: _Answer
    codes: _Codes


class _StatusParameters(_Strict):
    key: str
    ids: str
    username: str = ""


class _StatusAnswer(_Strict):
    format: Literal["json", "xml"]
    list: str = Field("", description="where the messages stand; empty: the answer is about one")
    id: str = Field("", description="empty: it is the one that was asked for")
    word: str
    time: str = ""
    times: tuple[str, ...] = ("%Y-%m-%d %H:%M:%S",)


class _Words(_Strict):
    delivered: tuple[str, ...]
    undeliverable: tuple[str, ...] = ()
    expired: tuple[str, ...] = ()
    rejected: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()


class _Statuses(_Strict):
    path: str = Field("", pattern=rf"^$|{_PATH}")
    fixed: dict[str, str] = {}
    parameters: _StatusParameters
    separator: str = ","
    at_once: int = Field(1, ge=1, le=1000)
    seconds_between: float = Field(0, ge=0)
    answer: _StatusAnswer
    words: _Words


class _BalanceParameters(_Strict):
    key: str
    username: str = ""


class _Balance(_Strict):
    path: str = Field("", pattern=rf"^$|{_PATH}")
    fixed: dict[str, str] = {}
    parameters: _BalanceParameters
    format: Literal["json", "xml", "pairs", "word"]
    amount: str = Field("", description="empty, of a word: the word itself")
    unit: str


class Form(_Strict):
    """How one aggregator is spoken to.

    :param path: of all functions that have none of their own.
    :param number: `digits`: 21620…; `plus`: +21620…; `00`: 0021620…
    :param scheduled: whether it takes a time of delivery; only declared.
    :param timezone: of the times in its answers.
    :param balance: where it can be asked for one.
    """

    description: str
    path: str = Field(pattern=_PATH)
    number: Literal["digits", "plus", "00"] = "digits"
    scheduled: bool = False
    timezone: str = "Africa/Tunis"
    submit: _Submit
    statuses: _Statuses
    balance: _Balance | None = None

    @field_validator("timezone")
    @classmethod
    def _is_a_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError):
            raise ValueError(f"there is no time zone {name!r}") from None
        return name

    @field_validator("submit")
    @classmethod
    def _codes_are_told_apart(cls, submit: _Submit) -> _Submit:
        codes = [code for kind in _Codes.model_fields for code in getattr(submit.codes, kind)]
        if len(set(codes)) < len(codes):
            raise ValueError("a code stands under two outcomes")
        return submit


def known_forms() -> list[str]:
    """Return the names of the forms that come along."""
    return sorted(path.stem for path in _FORMS.glob("*.toml"))


def read_form(name: str, changes: Mapping[str, Any]) -> Form:
    """Return a form: from its file, changed by what the connection says, or wholly as the connection says.

    :param changes: parts of a form, by their names; what they leave out stays as in the file.
    :raises BadInput: names the entry that is wrong.
    """
    path = _FORMS / f"{name}.toml"
    known = path.is_file() and re.fullmatch(r"[a-z0-9_]+", name) is not None
    base = tomllib.loads(path.read_text("utf-8")) if known else {}
    try:
        return Form.model_validate(_merged(base, {"description": name, **changes} if not known else changes))
    except ValidationError as error:
        told = "; ".join(
            f"{'.'.join(map(str, e['loc']))}: {e['msg']}" if e["loc"] else e["msg"] for e in error.errors()
        )
        hint = (
            "" if known else f" (no form of that name comes along; those that do: {', '.join(known_forms())})"
        )
        raise BadInput(f"the form {name!r} of the connection's extra is wrong{hint}: {told}") from None


class QueryStringGateway(Gateway):
    """An aggregator that is spoken to by query strings.

    :param config: the password is the key. `extra` must hold `form`, a name; it may hold `longest_segments`
        (1: as long as the provider has not enabled long messages) and parts of a form, which go before the
        file's: ``{"form": "l2t", "path": "/tn/s/api/v1/sms"}``.
    :raises BadInput: names the field of the connection, or the form's entry, that is wrong.
    """

    adapter = "query_string"

    def __init__(self, config: GatewayConfig):
        self.name = config.name
        extra = dict(config.extra)
        name, longest = extra.pop("form", None), longest_segments(extra)
        extra.pop("longest_segments", None)
        if not isinstance(name, str) or not name:
            raise BadInput(
                "the connection's extra must name the aggregator's form, such as "
                f'{{"provider": "query_string", "form": "{known_forms()[0]}"}}; those that come along: '
                f"{', '.join(known_forms())}"
            )
        if not _KEY.fullmatch(config.password):
            raise BadInput("the connection's password must be the provider's key, in printable ASCII")
        self.form = name
        self._form = form = read_form(name, extra)
        if form.submit.parameters.username and not config.username:
            raise BadInput(f"the form {name!r} needs a user: put it into the connection's login")
        self._base = base_address(config)
        self._username = config.username
        self._key = config.password
        self._hidden = {config.password, quote(config.password), quote(config.password, safe="")}
        self._kinds: dict[str, OutcomeKind] = {
            code: kind  # type: ignore[misc]
            for kind in _Codes.model_fields
            for code in getattr(form.submit.codes, kind)
        }
        self._states = {
            word.upper(): State.ACCEPTED if kind == "waiting" else State(kind)
            for kind in _Words.model_fields
            for word in getattr(form.statuses.words, kind)
        }
        self._zone = ZoneInfo(form.timezone)
        self.capabilities = Capabilities(
            client_reference=False,
            idempotency=False,
            status_query=True,
            receipts="poll",
            validity=bool(form.submit.parameters.validity),
            scheduled=form.scheduled,
            longest_segments=longest,
            balance=form.balance is not None,
            statuses_at_once=form.statuses.at_once,
            seconds_between_statuses=form.statuses.seconds_between,
        )

    def submit_request(self, message: Message, token: str = "") -> Request:
        """Return the GET that submits a message.

        :raises MessageUnfit: see `Gateway.submit_request`.
        """
        check_fit(message, self.capabilities.longest_segments)
        submit = self._form.submit
        names = submit.parameters
        query = {
            **submit.fixed,
            names.phone: self._number(message.phone),
            names.text: message.text,
            names.sender: message.sender,
        }
        if submit.unicode is not None:
            flag = submit.unicode.ucs2 if message.encoding == "ucs2" else submit.unicode.gsm7
            query |= {submit.unicode.parameter: flag} if flag else {}
        if names.validity:
            query[names.validity] = str(message.validity_minutes)
        return self._get(submit.path, query, names)

    def read_answer(self, status: int, headers: Mapping[str, str], body: bytes) -> Outcome:
        """Return what an answer means. Words that come with a code may repeat the message: none is kept."""
        answer = self._form.submit.answer
        said = _parsed(body, answer.format)
        code = next((found for path in answer.code if (found := _text(_at(said, path)))), None)
        known = self._kinds.get(code) if code is not None else None
        provider_id = next((found for path in answer.id if (found := _id(_at(said, path)))), None)
        if known == "accepted" and not 200 <= status < 300:
            known = "in_doubt"  # it contradicts itself
        if known in ("accepted", "in_doubt"):
            # Without an id it was taken all the same, and nobody will ever hear what became of it.
            why = "" if provider_id else ", without an id"
            return Outcome(known, provider_id, f"status {status}, {code}{why}")
        if known is not None:
            return Outcome(known, None, f"status {status}, {code}")
        # Some say it in the status line alone; that is not enough to give a message up.
        if not 200 <= status < 300 and str(status) in self._kinds:
            kind = self._kinds[str(status)]
            return Outcome("refused" if kind == "rejected" else kind, None, f"status {status}")
        told = "no code" if code is None else "a code that its form does not hold"
        return Outcome(_STATUSES.get(status, "in_doubt"), None, f"status {status}, {told}, {len(body)} bytes")

    def status_request(self, provider_ids: Sequence[str], token: str = "") -> Request:
        """Return the GET that asks what became of messages."""
        statuses = self._form.statuses
        query = {**statuses.fixed, statuses.parameters.ids: statuses.separator.join(provider_ids)}
        return self._get(statuses.path, query, statuses.parameters)

    def read_statuses(self, status: int, headers: Mapping[str, str], body: bytes) -> list[Receipt]:
        """Return what the aggregator says of messages. A word that its form does not hold ends nothing.

        :raises ReceiptUnreadable: when the answer holds no message at all.
        """
        answer = self._form.statuses.answer
        said = _parsed(body, answer.format)
        found = _at(said, answer.list)
        entries = [one for one in (found if isinstance(found, list) else [found]) if isinstance(one, Mapping)]
        receipts = [receipt for entry in entries if (receipt := self._receipt(entry)) is not None]
        if not receipts and not (answer.list and isinstance(found, list)):
            raise ReceiptUnreadable(
                f"the answer to a question for receipts cannot be read (status {status}, {len(body)} bytes)"
            )
        return receipts

    def balance_request(self, token: str = "") -> Request:
        """Return the GET that asks for the balance."""
        assert self._form.balance is not None
        return self._get(self._form.balance.path, self._form.balance.fixed, self._form.balance.parameters)

    def read_balance(self, status: int, headers: Mapping[str, str], body: bytes) -> Balance:
        """Return the balance.

        :raises BadInput: when the answer holds none.
        """
        form = self._form.balance
        assert form is not None
        told = _text(_at(_parsed(body, form.format), form.amount))
        try:
            amount = Decimal((told or "").replace(" ", "").replace(",", "."))
        except InvalidOperation:
            amount = Decimal("NaN")
        if not amount.is_finite():
            raise BadInput(f"the answer to the question for the balance holds none (status {status})")
        return Balance(amount, form.unit)

    def _get(
        self,
        path: str,
        query: Mapping[str, str],
        names: _Parameters | _StatusParameters | _BalanceParameters,
    ) -> Request:
        asked = {names.key: self._key, **query}
        if names.username:
            asked[names.username] = self._username
        address = f"{self._base}{path or self._form.path}?{urlencode(asked, quote_via=quote, safe='')}"
        return Request("GET", address, {"Accept": "*/*"})

    def _number(self, phone: str) -> str:
        digits = phone.removeprefix("+")
        return {"digits": digits, "plus": f"+{digits}", "00": f"00{digits}"}[self._form.number]

    def _receipt(self, entry: Mapping[str, Any]) -> Receipt | None:
        answer = self._form.statuses.answer
        provider_id = _id(_at(entry, answer.id)) if answer.id else None
        word = _text(_at(entry, answer.word))
        if word is None or (answer.id and provider_id is None):
            return None
        state = self._states.get(word.upper())
        return Receipt(
            notice_id=None,
            attempt=None,
            provider_id=provider_id,
            status=state or State.ACCEPTED,
            detail=word.upper() if state else "a word that its form does not hold",
            happened_at=self._instant(_text(_at(entry, answer.time)) if answer.time else None),
            raw=self._without_secrets(entry),
        )

    def _instant(self, told: str | None) -> datetime | None:
        for form in self._form.statuses.answer.times if told else ():
            try:
                return datetime.strptime(told or "", form).replace(tzinfo=self._zone).astimezone(UTC)
            except ValueError:
                continue
        return None

    def _without_secrets(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        """Return what was said with the key hidden, should it be repeated."""
        told = json.dumps(entry, default=str)
        for secret in self._hidden:
            told = told.replace(json.dumps(secret)[1:-1], _HIDDEN)
        hidden: dict[str, Any] = json.loads(told)
        return hidden


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for name, value in changes.items():
        old = merged.get(name)
        merged[name] = (
            _merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
        )
    return merged


def _parsed(body: bytes, form: str) -> Any:
    """Return an answer's body as nested names; nothing when it is not of that form."""
    try:
        text = body.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        return None
    match form:
        case "json":
            try:
                return json.loads(text)
            except (ValueError, RecursionError):
                return None
        case "xml":
            if "<!DOCTYPE" in text:  # what it declared could grow without end
                return None
            try:
                return _tree(ElementTree.fromstring(text))
            except (ElementTree.ParseError, RecursionError):
                return None
        case "pairs":  # code=200&id=5, or a line each, or separated by semicolons
            return dict(parse_qsl(re.sub(r"[;\r\n]+", "&", text)))
    return text.split(None, 1)[0] if text else None


def _tree(element: ElementTree.Element) -> Any:
    """Return an element's text, or its children by name; of several of one name, a list."""
    if not len(element):
        return (element.text or "").strip()
    found: dict[str, Any] = {}
    for child in element:
        value = _tree(child)
        if child.tag in found:
            before = found[child.tag]
            found[child.tag] = [*before, value] if isinstance(before, list) else [before, value]
        else:
            found[child.tag] = value
    return found


def _at(said: Any, path: str) -> Any:
    for name in path.split(".") if path else ():
        said = said.get(name) if isinstance(said, Mapping) else None
    return said


def _text(value: Any) -> str | None:
    """Return a code, a word or a number as text; nothing for anything else."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    return str(value).strip() or None


def _id(value: Any) -> str | None:
    """Return a provider's id as text, for leading zeros count."""
    found = _text(value)
    return found if found and _ID.fullmatch(found) else None
