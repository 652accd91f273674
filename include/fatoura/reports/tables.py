"""The report's figures as plain tables: one CSV file and one sheet of the workbook each.

CSV files hold what programs read: codes, integers, millimes, instants with offset, and headings that stay
the same in every language. The workbook holds the same rows for people, in the report's language.
"""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import IO, TYPE_CHECKING, Any, Literal

from fatoura import clock
from fatoura.ledger.balance import BUCKETS
from fatoura.notices.states import State
from fatoura.reports.figures import AGE_EDGES, DELIVERY_EDGES, UNMATCHED, Figures, Group

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fatoura.reports.words import Words

_PHONE = re.compile(r"\+[0-9* ]{8,}")

Form = Literal["text", "arabic", "count", "share", "seconds", "instant", "day", "millimes"]

_WIDTHS: dict[Form, int] = {
    "text": 26, "arabic": 18, "count": 12, "share": 12, "seconds": 12, "instant": 18, "day": 12,
    "millimes": 16,
}  # fmt: skip


@dataclass(frozen=True)
class Field:
    """A column: its heading in CSV files, its form, and the heading of the catalogue that names its codes."""

    name: str
    form: Form = "count"
    codes: str = ""
    width: int = 0


@dataclass(frozen=True)
class Said:
    """A value with a plain form, for programs, and one in words."""

    plain: str
    words: str


@dataclass(frozen=True)
class Table:
    """A table by its name, which is also the file's; its sheet may have a title that no catalogue knows."""

    name: str
    fields: tuple[Field, ...]
    rows: list[tuple[Any, ...]]
    title: str = ""


GROUP = tuple(map(Field, ("planned", "sent", "delivered", "unconfirmed", "failed", "cancelled")))
"""The columns of notices by outcome; their rate follows, where there is room for it."""


def of_group(group: Group) -> tuple[Any, ...]:
    """Return a group's values for `GROUP`, and its rate."""
    return (
        group.states[State.PLANNED],
        group.sent,
        group.delivered,
        group.unconfirmed,
        group.failed,
        group.states[State.CANCELLED],
        group.rate,
    )


def report_tables(f: Figures, words: Words) -> list[Table]:
    """Return all tables of a report. Tables without rows are there too: a reader finds the same files."""
    rate = Field("rate", "share")
    ledger = [("extracted", f.ledger.extracted), *((name, getattr(f.ledger, name)) for name in BUCKETS)]
    return [
        Table("summary", (Field("fact", "text", "fact", 44), Field("value", "text", "", 24)), _summary(f)),
        Table("ledger", (Field("bucket", "text", "bucket"), Field("rows")), ledger),
        Table(
            "states",
            (Field("state", "text", "state", 30), Field("notices")),
            [(state.value, f.ledger.states[state]) for state in State],
        ),
        Table(
            "districts",
            (Field("code", "text"), Field("district", "text"), Field("district_ar", "arabic"), *GROUP, rate),
            [(g.code, g.name_fr, g.name_ar, *of_group(g)) for g in f.districts],
        ),
        Table(
            "languages",
            (Field("language", "text", "language"), *GROUP, rate),
            [(g.code, *of_group(g)) for g in f.languages],
        ),
        Table(
            "kinds",
            (Field("kind", "text", "kind"), *GROUP, rate),
            [(g.code, *of_group(g)) for g in f.kinds],
        ),
        Table(
            "gateways",
            (Field("gateway", "text"), *GROUP, rate),
            [(g.code, *of_group(g)) for g in f.gateways],
        ),
        Table(
            "delivery_time",
            (Field("from_seconds"), Field("to_seconds"), Field("notices")),
            _by_class(f.delivery_time.classes if f.delivery_time else (), DELIVERY_EDGES),
        ),
        Table(
            "speed",
            (Field("start", "instant"), Field("seconds", "seconds"), Field("messages"), Field("segments")),
            [
                (one.start, one.seconds, one.messages, one.segments)
                for session in f.speed.sessions
                for one in session
            ]
            if f.speed
            else [],
        ),
        Table(
            "rejections",
            (Field("code", "text"), Field("rule", "text", "", 70), Field("rows"), Field("alone")),
            [(one.code, words.rule(one), one.rows, one.alone) for one in f.rejections],
        ),
        Table(
            "unnoticed",
            (Field("bucket", "text", "bucket"), Field("reason", "text", "reason", 46), Field("rows")),
            [(one.bucket, one.reason, one.rows) for one in f.unnoticed],
        ),
        Table(
            "failures",
            (Field("state", "text", "state", 26), Field("detail", "text", "", 60), Field("notices")),
            [
                (one.state.value, Said(one.detail or "", words.detail(one)), one.notices)
                for one in f.failures
            ],
        ),
        Table(
            "open",
            (
                Field("state", "text", "state", 30),
                Field("from_seconds"),
                Field("to_seconds"),
                Field("notices"),
            ),
            [
                (ages.state.value, *row)
                for ages in f.open
                for row in _by_class(ages.classes, AGE_EDGES)
                if row[2]
            ],
        ),
        Table(
            "doubts",
            (
                Field("next", "text", "doubt_next", 40),
                Field("why", "text", "doubt_why", 46),
                Field("kind", "text", "kind"),
                Field("gateway", "text"),
                Field("oldest", "instant"),
                Field("notices"),
            ),
            [
                (one.next.value, one.why.value, one.kind, one.gateway, one.oldest, one.notices)
                for one in f.doubts
            ],
        ),
        Table(
            "cost",
            (
                Field("language", "text", "language"),
                Field("encoding", "text", "encoding"),
                *map(Field, ("segments_each", "accepted", "doubtful", "refused")),
                *map(Field, ("segments", "doubtful_segments")),
                Field("cost_millimes", "millimes"),
            ),
            [
                (
                    one.language,
                    one.encoding,
                    one.segments_each,
                    one.accepted,
                    one.doubtful,
                    one.refused,
                    one.segments,
                    one.doubtful_segments,
                    one.segments * f.segment_price_millimes,
                )
                for one in f.spends
            ],
        ),
        Table(
            "receipts",
            (Field("match", "text", "match", 46), Field("receipts")),
            sorted(f.receipts.items()),
        ),
        Table(
            "extracts",
            (
                Field("supplement"),
                Field("rows"),
                Field("rejected"),
                Field("total_millimes", "millimes"),
                Field("loaded_at", "instant"),
                Field("unknown_columns", "text"),
            ),
            [
                (one.supplement, one.rows, one.rejected, one.total_millimes, one.loaded_at,
                 " ".join(one.unknown_columns))
                for one in f.extracts
            ],
        ),
        Table(
            "stages",
            (
                Field("supplement"),
                Field("stage", "text", "stage"),
                Field("start", "instant"),
                Field("seconds", "seconds"),
                Field("runs"),
                Field("counts", "text", "", 60),
            ),
            [
                (one.supplement, one.name, one.started_at, one.seconds, one.runs,
                 Said(json.dumps(one.counts, ensure_ascii=False), words.counted(one)))
                for one in f.stages
            ],
        ),
    ]  # fmt: skip


def _summary(f: Figures) -> list[tuple[str, Any]]:
    """Return the facts that stand alone. Values are of many kinds: each is written as its own kind."""
    overall, time = f.overall, f.delivery_time
    return [
        ("cycle", f.cycle),
        ("issue_date", f.issue_date),
        ("as_of", f.as_of),
        ("receipts_until", f.receipts_until),
        ("phase", f.phase.value),
        ("identity_holds", f.ledger.identity_holds),
        ("notices", overall.states.total()),
        ("sent", overall.sent),
        ("delivered", overall.delivered),
        ("failed", overall.failed),
        ("unconfirmed", overall.unconfirmed),
        ("in_doubt", overall.states[State.IN_DOUBT]),
        ("planned_segments", f.ledger.segments),
        ("segments", f.segments),
        ("doubtful_segments", f.doubtful_segments),
        ("segment_price_millimes", f.segment_price_millimes),
        ("cost_millimes", f.cost_millimes),
        ("doubtful_cost_millimes", f.doubtful_cost_millimes),
        ("median_seconds", time and time.median),
        ("p90_seconds", time and time.p90),
        ("p99_seconds", time and time.p99),
        ("cutoff_warnings", f.warnings),
        ("first_warning", f.first_warning),
        *((f"unmatched_{match}", f.receipts_unmatched.get(match, 0)) for match in UNMATCHED),
    ]


def _by_class(classes: tuple[int, ...], edges: tuple[int, ...]) -> list[tuple[Any, ...]]:
    return list(zip((0, *edges), (*edges, None), classes, strict=True)) if classes else []


# --- CSV -----------------------------------------------------------------------------------------------


def write_csv(table: Table, file: IO[str]) -> None:
    """Write a table as CSV (RFC 4180): UTF-8, comma, header."""
    writer = csv.writer(file)
    writer.writerow(field.name for field in table.fields)
    writer.writerows([plain_cell(value) for value in row] for row in table.rows)


def plain_cell(value: Any) -> str:
    """Write a value as a cell of a CSV file, for programs; nothing that a spreadsheet would run."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return value.astimezone(clock.zone()).isoformat(timespec="seconds")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)  # a figure, however it begins
    if isinstance(value, float):
        return f"{value:.6g}" if abs(value) < 1 else f"{value:.3f}".rstrip("0").rstrip(".")
    if isinstance(value, int):
        return str(value)
    if isinstance(value, Said):
        value = value.plain
    # A spreadsheet would run a provider's word that begins so as a formula; a number of a phone is none.
    runs = str(value)[:1] in set("=+-@\t\r") and not _PHONE.fullmatch(str(value))
    return f"'{value}" if runs else str(value)


# --- Workbook --------------------------------------------------------------------------------------------


def workbook(tables: Sequence[Table], words: Words, *, title: str, created: datetime) -> bytes:
    """Return all tables as sheets of one XLSX file. It is small: a report counts, and lists little."""
    import xlsxwriter

    content = io.BytesIO()
    with xlsxwriter.Workbook(content, {"in_memory": True, "strings_to_formulas": False}) as book:
        book.set_properties({"title": title, "created": created.replace(tzinfo=None, microsecond=0)})
        formats = {
            "text": book.add_format({"valign": "top"}),
            "arabic": book.add_format({"align": "right", "reading_order": 2}),
            "count": book.add_format({"num_format": "#,##0"}),
            "share": book.add_format({"num_format": "0.0%"}),
            "seconds": book.add_format({"num_format": "#,##0.0"}),
            "instant": book.add_format({"num_format": "dd/mm/yyyy hh:mm:ss", "align": "right"}),
            "day": book.add_format({"num_format": "dd/mm/yyyy", "align": "right"}),
            "millimes": book.add_format({"num_format": "#,##0.000"}),
            "right": book.add_format({"align": "right"}),
        }
        head = {"bold": True, "bottom": 1, "text_wrap": True, "valign": "bottom"}
        head_left, head_right = book.add_format(head), book.add_format({**head, "align": "right"})
        for table in tables:
            sheet = book.add_worksheet(table.title or words("section", table.name)[:31])
            sheet.freeze_panes(1, 0)
            for at, field in enumerate(table.fields):
                sheet.set_column(at, at, field.width or _WIDTHS[field.form])
                heading = head_left if field.form == "text" else head_right
                sheet.write_string(0, at, words("column", field.name), heading)
            for row_at, row in enumerate(table.rows, start=1):
                for at, (field, value) in enumerate(zip(table.fields, row, strict=True)):
                    _write_cell(sheet, row_at, at, field, value, words, formats)
            sheet.set_landscape()
            sheet.set_paper(9)  # A4
            sheet.fit_to_pages(1, 0)
            sheet.repeat_rows(0)
    return content.getvalue()


def _write_cell(
    sheet: Any, row: int, at: int, field: Field, value: Any, words: Words, formats: dict[str, Any]
) -> None:
    if value is None:
        return
    if isinstance(value, Said):
        sheet.write_string(row, at, value.words, formats[field.form])
    elif isinstance(value, bool):
        sheet.write_string(row, at, words.of_code("count", str(value).lower()), formats["right"])
    elif isinstance(value, datetime):
        local = value.astimezone(clock.zone()).replace(tzinfo=None, microsecond=0)
        sheet.write_datetime(row, at, local, formats["instant"])
    elif isinstance(value, date):
        sheet.write_datetime(row, at, value, formats["day"])
    elif isinstance(value, int | float):
        form = field.form if field.form != "text" else "seconds" if isinstance(value, float) else "count"
        sheet.write_number(row, at, value / 1000 if form == "millimes" else value, formats[form])
    else:
        said = words.of_code(field.codes, value) if field.codes else value
        alone = field.name == "value"  # beside numbers
        if alone:
            said = words.of_code("phase", value)
        sheet.write_string(row, at, said, formats["right" if alone else field.form])
