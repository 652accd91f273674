"""Render a million messages at once: the database puts words and formatted values together.

The words come from the kinds' templates; amounts and days are formatted by the same functions as anywhere
else and laid into small tables that the statement joins. Called by planning, within its transaction. Knows
kinds and values, but not what the values belong to.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, reduce
from operator import add
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    Column,
    Date,
    FromClause,
    Integer,
    MetaData,
    Select,
    Table,
    Text,
    case,
    cast,
    func,
    insert,
    literal,
    select,
    text,
)

from fatoura.database import driver
from fatoura.dates import format_day
from fatoura.languages import LANGUAGES, Language
from fatoura.money import amount_pieces
from fatoura.notices.encoding import LIMITS
from fatoura.references import GROUPS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import date

    from sqlalchemy import ColumnElement, Connection

    from fatoura.notices.fields import Field
    from fatoura.notices.kinds import Kind

_metadata = MetaData()

_PLACES = ("leading", "alone", "following", "millimes")

_number = Table(
    "printed_number",
    _metadata,
    Column("number", Integer),
    *(Column(f"{place}_{language}", Text) for place in _PLACES for language in LANGUAGES),
    prefixes=["TEMPORARY"],
    postgresql_on_commit="DROP",
)
_day = Table(
    "printed_day",
    _metadata,
    Column("day", Date),
    *(Column(language, Text) for language in LANGUAGES),
    prefixes=["TEMPORARY"],
    postgresql_on_commit="DROP",
)


@cache
def _printed_numbers() -> list[tuple[Any, ...]]:
    pieces = {language: amount_pieces(language) for language in LANGUAGES}
    return [
        (number, *(getattr(pieces[language][number], place) for place in _PLACES for language in LANGUAGES))
        for number in range(1000)
    ]


def lay_out_values(connection: Connection, days: Iterable[date]) -> None:
    """Write the formatted pieces of amounts, and the formatted `days`, into tables of this transaction."""
    _metadata.create_all(connection, checkfirst=False)
    # Copied: to insert them takes longer than everything else where only a few messages are planned.
    with driver(connection).cursor().copy("COPY printed_number FROM STDIN") as copy:
        for row in _printed_numbers():
            copy.write_row(row)
    printed = [{"day": day} | {language: format_day(day, language) for language in LANGUAGES} for day in days]
    if printed:
        connection.execute(insert(_day), printed)
    # Nobody else gathers statistics of a temporary table, and the planner would guess wildly.
    connection.execute(text("ANALYZE printed_number, printed_day"))


def rendered(
    kind: Kind, rows: FromClause, values: Mapping[str, str], language: str = "language"
) -> Select[Any]:
    """Return a query for all columns of `rows` and ``text``, ``encoding`` and ``segments`` of their messages.

    What it yields for a row equals `Kind.render` and `measure`. A value that cannot be printed (an amount
    out of bounds, a day that was not laid out) makes the text null and the segments 0.

    :param rows: what the messages are about; `lay_out_values` has run in the same transaction.
    :param values: the column of `rows` that holds each field of the kind.
    :param language: the column of `rows` with the customer's language.
    """
    texts = _Texts(rows)
    written = {
        code: reduce(
            add,
            (
                cast(literal(piece), Text)
                if isinstance(piece, str)
                else texts.printed(piece, rows.c[values[piece.name]], code)
                for piece in kind.sentences[code].pieces
            ),
        )
        for code in LANGUAGES
    }
    # OFFSET 0 keeps the planner from copying the text's expression into each place that uses it.
    message = (
        select(*rows.c, case(written, value=rows.c[language]).label("text"))
        .select_from(texts.joined)
        .offset(0)
        .subquery("message")
    )
    encodings = {code: kind.sentences[code].encoding for code in LANGUAGES}
    # No character of a text or a value costs two units (templates see to it): a unit is a character.
    units = func.char_length(message.c.text)

    def segments(code: Language) -> ColumnElement[int]:
        single, part = LIMITS[encodings[code]]
        return case((units <= single, 1), else_=(units + part - 1) // part)

    return select(
        *message.c,
        case(dict(encodings), value=message.c[language]).label("encoding"),
        func.coalesce(case({code: segments(code) for code in LANGUAGES}, value=message.c[language]), 0).label(
            "segments"
        ),
    )


def fits(kind: Kind, message: FromClause) -> ColumnElement[bool]:
    """Return whether a rendered message can be printed, and takes no more segments than its kind declares.

    :param message: with ``language`` and ``segments``, such as what `rendered` yields.
    """
    return message.c.segments.between(1, case(dict(kind.segments), value=message.c.language))


@dataclass
class _Texts:
    """Values as text expressions, and the joins that these need."""

    joined: FromClause

    def __post_init__(self) -> None:
        self._joins: dict[str, Any] = {}

    def printed(self, field: Field, value: ColumnElement[Any], language: Language) -> ColumnElement[str]:
        """Return the expression of a value's text."""
        match field.type.name:
            case "money" | "fee":
                return self._amount(value, language)
            case "date":
                return self._day(value, language)
            case "reference":
                return self._reference(value, language)
            case "code":
                return value
        raise NotImplementedError(f"the database cannot print a {field.type.name}")

    def _join(self, table: Table, key: str, value: ColumnElement[Any], of: str) -> Any:
        # Both languages, and a field that is printed twice, use one join. It is an outer one: a value
        # without a text must be seen, not vanish with its row.
        if of not in self._joins:
            alias = self._joins[of] = table.alias(f"printed_{len(self._joins)}")
            self.joined = self.joined.outerjoin(alias, alias.c[key] == value)
        return self._joins[of]

    def _amount(self, millimes: ColumnElement[int], language: Language) -> ColumnElement[str]:
        name = millimes.key
        thousands = self._join(_number, "number", millimes // 1_000_000, f"thousands of {name}")
        dinars = self._join(_number, "number", func.mod(millimes // 1000, 1000), f"dinars of {name}")
        rest = self._join(_number, "number", func.mod(millimes, 1000), f"millimes of {name}")
        printed: ColumnElement[str] = (
            thousands.c[f"leading_{language}"]
            + case(
                (thousands.c.number > 0, dinars.c[f"following_{language}"]),
                else_=dinars.c[f"alone_{language}"],
            )
            + rest.c[f"millimes_{language}"]
        )
        return printed

    def _day(self, day: ColumnElement[date], language: Language) -> ColumnElement[str]:
        printed: ColumnElement[str] = self._join(_day, "day", day, f"day of {day.key}").c[language]
        return printed

    def _reference(self, reference: ColumnElement[str], language: Language) -> ColumnElement[str]:
        if len(GROUPS[language]) == 1:
            return reference
        groups, start = [], 1
        for length in GROUPS[language]:
            groups.append(func.substr(reference, start, length))
            start += length
        return func.concat_ws(" ", *groups)
