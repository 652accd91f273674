"""The page, the workbook and the CSV files of a comparison, in `var/reports/statements/<gateway>/<month>/`.

Called by the command after each import. Numbers are masked here: who needs them in full exports them.
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fatoura.errors import NotReady
from fatoura.money import format_exact_amount
from fatoura.phones_at_rest import masked, opened
from fatoura.reports import charts
from fatoura.reports.charts import Part
from fatoura.reports.publishing import publish
from fatoura.reports.tables import Field, Table
from fatoura.reports.templates import environment
from fatoura.reports.words import Words
from fatoura.settings import get_settings
from fatoura.statements.comparing import OURS_ALONE, OUTCOMES, PAIRED, THEIRS_ALONE, Comparison, Sum

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fatoura.reports.words import ReportLanguage
    from fatoura.statements.comparing import OpenComparison
    from fatoura.statements.periods import Period

WORKBOOK = "report.xlsx"

_ON_PAGE = 25  # messages of each finding
_IN_FILES = 5000  # the same; the export has all
_DIFFERENT = tuple(one for one in OUTCOMES if one not in ("agreed", "unbilled"))

# The report's own colours, by what they mean there.
_STYLES = {
    "agreed": "delivered",
    **dict.fromkeys(PAIRED[1:], "in_doubt"),
    **dict.fromkeys(THEIRS_ALONE, "undeliverable"),
    **dict.fromkeys(OURS_ALONE, "accepted"),
}

_MESSAGE_FIELDS = (
    Field("outcome", "text", "statement_outcome", 26),
    Field("line"),
    Field("notice_id", "text", "", 38),
    Field("attempt"),
    Field("provider_id", "text"),
    Field("recipient", "text", "", 20),
    Field("at", "instant"),
    *map(Field, ("their_segments", "our_segments")),
    Field("their_millimes", "millimes"),
    Field("our_millimes", "millimes"),
    Field("status", "text", "", 20),
    Field("matched_by", "text", "statement_matched_by", 20),
)


class StatementReportNotWritten(NotReady):
    """The files could not be written (a full disk, a folder without permission); earlier ones stand."""


def statement_folder(gateway: str, period: Period) -> Path:
    """Return the folder of a statement's report, whether it is there or not."""
    return get_settings().reports / "statements" / gateway / str(period)


def write_statement_report(opened: OpenComparison, *, language: ReportLanguage | None = None) -> Path:
    """Write the report of a comparison over an earlier one; return the page's path.

    :raises StatementReportNotWritten: when the disk is full, or the folder cannot be written.
    """
    found = opened.comparison
    words = Words(language or get_settings().report_language, {})
    folder = statement_folder(found.gateway, found.period)
    messages = list(opened.messages(_DIFFERENT, most=_IN_FILES))
    flaws = opened.set_aside(most=_IN_FILES)
    tables = _tables(found, messages, flaws)
    page = _render(
        found, words, messages, flaws, evidence=len(opened.doubts()), tables=[table.name for table in tables]
    )
    try:
        return publish(
            folder,
            page=page,
            tables=tables,
            words=words,
            title=f"{words('statement', 'title')} {found.gateway} {found.period}",
            created=found.compared_at,
        )
    except OSError as error:
        raise StatementReportNotWritten(
            f"the report of {found.gateway} for {found.period} could not be written to {folder}: "
            f"{error.strerror or error}; an earlier one stands as it was. Mend that, then run `fatoura "
            f"statements report --gateway {found.gateway} --period {found.period}`"
        ) from error


def _tables(
    found: Comparison, messages: Iterable[dict[str, Any]], flaws: list[tuple[int, str, str]]
) -> list[Table]:
    sums = (
        *map(Field, ("their_messages", "our_messages")),
        *map(Field, ("their_segments", "our_segments", "difference_segments")),
        *(Field(name, "millimes") for name in ("their_millimes", "our_millimes", "difference_millimes")),
    )

    def cells(theirs: Sum, ours: Sum) -> tuple[Any, ...]:
        both = (theirs.millimes, ours.millimes, theirs.millimes - ours.millimes)
        return (
            theirs.messages,
            ours.messages,
            theirs.segments,
            ours.segments,
            theirs.segments - ours.segments,
            *map(_figure, both),
        )

    if found.level == "summary":
        return [
            Table(
                "groups",
                (Field("label", "text", "", 40), Field("kinds", "text", "", 30), *sums),
                [(one.label, " ".join(one.kinds), *cells(one.theirs, one.ours)) for one in found.groups],
            )
        ]
    return [
        Table(
            "causes",
            (Field("outcome", "text", "statement_outcome", 26), *sums),
            [(one.outcome, *cells(one.theirs, one.ours)) for one in found.findings],
        ),
        Table(
            "differences",
            _MESSAGE_FIELDS,
            [tuple(message_cells(message, unmasked=False)) for message in messages],
        ),
        Table(
            "set_aside", (Field("line"), Field("field", "text"), Field("reason", "text", "", 40)), list(flaws)
        ),
    ]


def message_cells(message: dict[str, Any], *, unmasked: bool) -> list[Any]:
    """Return a message as the values of `MESSAGE_COLUMNS`."""
    phone = message["recipient"]
    return [
        message["outcome"],
        message["line"],
        message["notice_id"] and str(message["notice_id"]),
        message["attempt"],
        message["provider_id"],
        phone and (opened(phone) if unmasked else masked(phone)),
        message["at"],
        message["segments"],
        message["our_segments"],
        _figure(message["amount"]),
        _figure(message["our_amount"]),
        message["status"],
        message["matched_by"],
    ]


MESSAGE_COLUMNS = tuple(field.name for field in _MESSAGE_FIELDS)
"""The headings of exports, in every language."""


def _figure(amount: Decimal | None) -> int | float | None:
    if amount is None:
        return None
    return int(amount) if amount == amount.to_integral_value() else float(amount)


# --- The page --------------------------------------------------------------------------------------------


def _render(
    found: Comparison,
    words: Words,
    messages: list[dict[str, Any]],
    flaws: list[tuple[int, str, str]],
    *,
    evidence: int,
    tables: list[str],
) -> str:
    alike = all(one.outcome == "agreed" for one in found.findings) and not any(
        one.difference.messages or one.difference.segments for one in found.groups
    )
    return (
        environment(Path(__file__).parent)
        .get_template("statement.html.j2")
        .render(
            f=found,
            w=words,
            money=_money,
            signed=_signed,
            agrees=alike and not found.difference.millimes,
            verdict=_verdict(found, words, alike=alike),
            said=_said(found, words, evidence),
            bar=_bar(found, words),
            causes=[(one, _STYLES[one.outcome]) for one in found.findings],
            differing=[
                (outcome, shown, found.finding(outcome).messages)
                for outcome in _DIFFERENT
                if (shown := [_shown(one) for one in messages if one["outcome"] == outcome][:_ON_PAGE])
            ],
            flaws=flaws[:_ON_PAGE],
            tables=tables,
            workbook=WORKBOOK,
        )
    )


def _verdict(found: Comparison, words: Words, *, alike: bool) -> tuple[str, str]:
    difference = found.difference.millimes
    if not difference:
        return ("good", words("statement", "verdict_equal" if alike else "verdict_same_sum"))
    said = "verdict_more" if difference > 0 else "verdict_less"
    return ("bad", words("statement", said, millimes=_money(abs(difference))))


def _said(found: Comparison, words: Words, evidence: int) -> list[str]:
    """Return what there is to know beside the figures, in sentences."""
    said = [words("statement", "note", price=_price(found.price))]
    if not found.priced:
        said.append(words("statement", "unpriced"))
    both = sum((one.difference.millimes for one in found.findings if one.outcome in PAIRED), Decimal())
    if found.price_effect or both:
        said.append(
            words(
                "statement",
                "price_effect",
                prices=_signed(found.price_effect),
                segments=_signed(both - found.price_effect),
            )
        )
    said += _declared(found, words)
    if found.unbilled.messages:
        said.append(words("statement", "unbilled", count=words.count(found.unbilled.messages)))
    if found.doubtful.messages:
        said.append(words("statement", "doubtful", messages=words.count(found.doubtful.messages)))
    if evidence:
        command = f"fatoura statements resolve-doubts --gateway {found.gateway} --period {found.period}"
        said.append(words("statement", "evidence", count=words.count(evidence), command=command))
    return said


def _declared(found: Comparison, words: Words) -> list[str]:
    """Say whether the total that the file itself gives is the sum of its lines."""
    segments, millimes = found.declared
    wrong = []
    if segments is not None and segments != found.theirs.segments:
        counts = (words.count(one) for one in (segments, found.theirs.segments))
        wrong.append([words("statement", "segments", count=one) for one in counts])
    if millimes is not None and millimes != found.theirs.millimes:
        sums = (millimes, found.theirs.millimes)
        wrong.append([words("statement", "dinars", millimes=_money(one)) for one in sums])
    if not wrong and (segments, millimes) != (None, None):
        return [words("statement", "declared_equal")]
    return [words("statement", "declared_differs", declared=one, summed=other) for one, other in wrong]


def _bar(found: Comparison, words: Words) -> str:
    parts = [
        Part(
            _STYLES[one.outcome],
            f"{words('statement_outcome', one.outcome)} {words.count(one.messages)}",
            one.messages,
        )
        for one in found.findings
    ]
    return charts.share_bar(parts, ", ".join(part.name for part in parts), height=22) if parts else ""


def _shown(message: dict[str, Any]) -> dict[str, Any]:
    phone = message["recipient"]
    return {**message, "recipient": phone and masked(phone)}


def _money(millimes: Decimal) -> str:
    """Write an amount of dinars; a line never ends inside it."""
    return format_exact_amount(millimes, "fr").replace(" ", "\u202f")


def _signed(millimes: Decimal) -> str:
    if not millimes:
        return _money(millimes)
    return ("+" if millimes > 0 else "−") + _money(abs(millimes))


def _price(millimes: Decimal) -> str:
    return f"{millimes.normalize():f}".replace(".", ",")
