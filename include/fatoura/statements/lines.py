"""Lines of a statement, read and checked one by one. Pure: knows no database, and keeps nothing.

Called by the import. What is wrong with a line is told by field and code, never with its values. Amounts are
exact: millimes with up to three decimals, as a price below a millime needs them.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from fatoura.phones import comparable
from fatoura.statements.forms import plain

if TYPE_CHECKING:
    from collections.abc import Sequence
    from zoneinfo import ZoneInfo

    from fatoura.statements.files import Row
    from fatoura.statements.forms import Form

MOST_SEGMENTS = 255
"""Of one message. A line of a summary may count up to a thousand million."""

_MOST_COUNTED = 10**9
_MOST_MILLIMES = Decimal(10**12)
_LONGEST = 200  # characters of an id or a label that are kept

# Our id wherever it stands in a cell, and behind it the attempt, if it is given too.
_OUR_ID = r"(?P<id>[0-9a-fA-F]{8}(?:-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12})(?:[/:._](?P<attempt>[0-9]{1,4}))?"

_SPACES = re.compile(r"[\s\u00a0\u202f'’]")
_CURRENCY = re.compile(r"(?i)(?<=[\d.,])(?:dt|tnd|dinars?|millimes?|د\.?ت\.?)$")
_SPOILED_ID = re.compile(r"\d(?:[.,]\d+)?E\+\d+", re.IGNORECASE)
_LONG_NUMBER = re.compile(r"\d(?:[ .-]?\d){7,}")


class Flaw(NamedTuple):
    """What is wrong with a line: a column's name (or ``line``), and a code."""

    field: str
    code: str


class Line(NamedTuple):
    """A line that can be counted. `amount` is in millimes; what the file does not say is None.

    :param until: the end of the stretch of time that `submitted_at` stands for: a second, a minute, a day.
    :param billed: whether it is part of what has to be paid.
    :param kinds: of a summary, the kinds of notice that it counts; None for all that no other line counts.
    """

    line: int
    notice_id: UUID | None
    attempt: int | None
    provider_id: str | None
    recipient: str | None
    submitted_at: datetime | None
    until: datetime | None
    segments: int | None
    amount: Decimal | None
    status: str | None
    billed: bool
    messages: int | None
    label: str | None
    kinds: tuple[str, ...] | None


class Totals(NamedTuple):
    """What the file itself gives as its total, as far as it does."""

    segments: int | None
    amount: Decimal | None


class FlawError(Exception):
    """A cell that cannot be read: `code` says why."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Reader:
    """Reads the rows of one file.

    :param form: how they are written.
    :param places: where each column stands.
    :param zone: of times without an offset, where the form gives none.
    """

    def __init__(self, form: Form, places: dict[str, int], zone: ZoneInfo) -> None:
        self._form = form
        self._places = places
        self._zone = zone
        self._total = re.compile(form.total) if form.total else None
        self._unbilled = {plain(status) for status in form.unbilled}
        self._kinds = {plain(label): kinds for label, kinds in form.kinds.items()}
        # Many lines share a second: reading a time by its format takes longer than all the rest.
        self._time = lru_cache(maxsize=50_000)(self._read_time)

    def read(self, row: Row) -> Line | Totals | list[Flaw]:
        """Read a row: a line, the file's own totals, or everything that is wrong with it."""
        if row.flaw is not None:
            return [Flaw("line", row.flaw)]
        if self._total is not None and self._is_total(row.cells):
            return self._totals(row)
        if max(self._places.values()) >= len(row.cells):
            return [Flaw("line", "too_short")]
        flaws: list[Flaw] = []

        def value(name: str, read: Any) -> Any:
            try:
                return read(row.cells[self._places[name]]) if name in self._places else None
            except FlawError as error:
                flaws.append(Flaw(name, error.code))
                return None

        summary = self._form.level == "summary"
        counted = _MOST_COUNTED if summary else MOST_SEGMENTS
        notice_id, attempt = value("notice_id", self._notice_id) or (None, None)
        provider_id = value("provider_id", self._provider_id)
        recipient = value("recipient", _recipient)
        submitted_at, until = value("submitted_at", lambda cell: self._submitted(cell, row)) or (None, None)
        segments = value("segments", lambda cell: _whole(cell, counted))
        amount = value("amount", self._amount)
        unit_price = value("unit_price", self._amount)
        messages = value("messages", lambda cell: _whole(cell, counted)) if summary else 1
        status = value("status", _words)
        label = value("label", _words)
        if flaws:
            return flaws
        if amount is None and unit_price is not None and segments is not None:
            amount = unit_price * segments
        billed = bool(amount) or status is None or plain(status) not in self._unbilled
        if not summary:
            if not (notice_id or provider_id or (recipient and submitted_at)):
                flaws.append(Flaw("line", "tells_no_message"))
            if billed and segments == 0:
                flaws.append(Flaw("segments", "none"))
            if amount is not None and amount < 0:
                flaws.append(Flaw("amount", "negative"))
        elif segments is None and messages is None and amount is None:
            flaws.append(Flaw("line", "counts_nothing"))
        return flaws or Line(
            row.line,
            notice_id,
            attempt,
            provider_id,
            recipient,
            submitted_at,
            until,
            segments,
            amount,
            status,
            billed,
            messages,
            label,
            self._kinds.get(plain(label)) if label else None,
        )

    def _is_total(self, cells: Sequence[Any]) -> bool:
        first = next((str(cell).strip() for cell in cells if str(cell).strip()), "")
        return self._total is not None and self._total.search(first) is not None

    def _totals(self, row: Row) -> Totals:
        def value(name: str, read: Any) -> Any:
            try:
                return read(row.cells[self._places[name]])
            except (FlawError, KeyError, IndexError):
                return None

        return Totals(
            value("segments", lambda cell: _whole(cell, _MOST_COUNTED)), value("amount", self._amount)
        )

    def _notice_id(self, cell: Any) -> tuple[UUID, int | None] | None:
        """Find our own id in a cell. Something else in it is a flaw: the line speaks of another's message."""
        text = _text(cell)
        if not text:
            return None
        found = re.search(self._form.patterns.get("notice_id", _OUR_ID), text)
        try:
            if found is None:
                raise ValueError
            groups = found.groupdict()
            notice_id = UUID(groups.get("id") or found[1])
            return notice_id, int(groups["attempt"]) if groups.get("attempt") else None
        except ValueError:
            raise FlawError("not_ours") from None

    def _provider_id(self, cell: Any) -> str | None:
        text = _text(cell)
        if not text:
            return None
        if _SPOILED_ID.fullmatch(text):
            raise FlawError("spoiled_by_a_spreadsheet")
        if pattern := self._form.patterns.get("provider_id"):
            found = re.search(pattern, text)
            if found is None:
                raise FlawError("not_as_the_form_says")
            text = found.groupdict().get("id") or found[1]
        return text[:_LONGEST].replace("\0", "")

    def _submitted(self, cell: Any, row: Row) -> tuple[datetime, datetime] | None:
        if "hour" in self._places:
            hour = row.cells[self._places["hour"]]
            if isinstance(cell, datetime) and isinstance(hour, time):
                cell = datetime.combine(cell.date(), hour)
            elif not isinstance(cell, datetime) or isinstance(hour, str):
                day = f"{cell:%d/%m/%Y}" if isinstance(cell, datetime) else _text(cell)
                cell = f"{day} {_text(hour)}".strip()
        if isinstance(cell, datetime):
            return self._stretch(cell, timedelta(seconds=1))
        if isinstance(cell, date):
            return self._stretch(datetime.combine(cell, time()), timedelta(days=1))
        text = _text(cell)
        return self._time(text) if text else None

    def _read_time(self, text: str) -> tuple[datetime, datetime]:
        for form in self._form.times:
            try:
                if form == "iso":
                    instant, length = datetime.fromisoformat(text), timedelta(seconds=1)
                    if ":" not in text:
                        length = timedelta(days=1)
                elif form == "epoch":
                    instant, length = datetime.fromtimestamp(int(text), UTC), timedelta(seconds=1)
                else:
                    instant = datetime.strptime(text, form)
                    length = _length_of(form)
                return self._stretch(instant, length)
            except (ValueError, OverflowError, OSError):
                continue
        raise FlawError("not_a_time")

    def _stretch(self, instant: datetime, length: timedelta) -> tuple[datetime, datetime]:
        if not 2000 <= instant.year < 2100:
            raise FlawError("not_of_our_time")
        instant = instant.replace(tzinfo=self._zone) if instant.tzinfo is None else instant
        instant = instant.astimezone(UTC)
        return instant, instant + length

    def _amount(self, cell: Any) -> Decimal | None:
        """Return millimes. Numbers of a workbook carry what binary fractions add: they are rounded off."""
        dinars = self._form.amounts_in == "dinars"
        if isinstance(cell, (int, float)) and not isinstance(cell, bool):
            millimes = Decimal(repr(cell)) * (1000 if dinars else 1)
            return _bounded(round(millimes, 3) if isinstance(cell, float) else millimes)
        text = _CURRENCY.sub("", _SPACES.sub("", _text(cell)))
        if not text:
            return None
        if not self._written_amount.fullmatch(text):
            raise FlawError("not_an_amount")
        thousands, decimal = self._form.thousands, self._form.decimal
        plain_text = (text.replace(thousands, "") if thousands else text).replace(decimal, ".")
        return _bounded(Decimal(plain_text) * (1000 if dinars else 1))

    @cached_property
    def _written_amount(self) -> re.Pattern[str]:
        """How amounts are written. Strict: with a comma for decimals, ``0.020`` is not twenty."""
        sign, decimal = re.escape(self._form.thousands), re.escape(self._form.decimal)
        digits = rf"(?:\d{{1,15}}|[1-9]\d{{0,2}}(?:{sign}\d{{3}}){{1,4}})" if sign else r"\d{1,15}"
        return re.compile(rf"[+-]?{digits}(?:{decimal}\d{{1,9}})?", re.ASCII)


def _bounded(millimes: Decimal) -> Decimal:
    if abs(millimes) > _MOST_MILLIMES:
        raise FlawError("too_large")
    exact = round(millimes, 3)
    if exact != millimes:
        raise FlawError("too_many_decimals")
    return exact


def _length_of(form: str) -> timedelta:
    """Return how long a time of a format lasts: what it leaves out is not known."""
    if any(code in form for code in ("%S", "%f", "%c", "%X", "%T")):
        return timedelta(seconds=1)
    if "%M" in form:
        return timedelta(minutes=1)
    return timedelta(hours=1) if "%H" in form or "%I" in form else timedelta(days=1)


def _text(cell: Any) -> str:
    """Return a cell as the text that a person sees; a spreadsheet makes numbers of ids and phones."""
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)
    return str(cell).strip()


def _words(cell: Any) -> str | None:
    """Return a status or label. Something as long as a phone or a reference in it is not kept."""
    return _LONG_NUMBER.sub("***", _text(cell)).replace("\0", "")[:_LONGEST] or None


def _recipient(cell: Any) -> str | None:
    text = _text(cell)
    if not text or any(sign in text for sign in "*xX…"):
        return None  # masked by the provider itself: it cannot be compared
    recipient = comparable(text.removeprefix("tel:"))
    if recipient is None:
        raise FlawError("not_a_number")
    return recipient


def _whole(cell: Any, most: int) -> int | None:
    text = _SPACES.sub("", _text(cell))
    if not text:
        return None
    if not re.fullmatch(r"\d{1,10}", text, re.ASCII):
        raise FlawError("not_a_whole_number")
    number = int(text)
    if number > most:
        raise FlawError("too_many")
    return number
