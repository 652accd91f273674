"""Waivers: who pays nothing, from when until when, and who said so; and what follows for charges.

Called by commands and by the monthly run. A year is free when it begins while a waiver holds, whole, also
where the waiver ends before the year does. What was paid for such a year is given back.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import text

from fatoura import clock
from fatoura.csv_lines import cut
from fatoura.database import locked
from fatoura.errors import BadInput
from fatoura.extracts.values import read_day
from fatoura.fees.books import LOCK, Moment, take_off, waive
from fatoura.fees.rules import fee_rules_on
from fatoura.fees.states import OPEN, listed
from fatoura.fees.years import WAIVERS, free_because, free_values
from fatoura.references import is_reference
from fatoura.sending.doubts import checked_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import date
    from pathlib import Path

    from sqlalchemy import Connection

    from fatoura.fees.rules import FeeRules

COLUMNS = ("customer_reference", "because", "valid_from", "valid_until")
_TOLD = 20


class Waiver(NamedTuple):
    """Who pays nothing. One that ends before it begins was taken back.

    :param because: a code of the rules' exemptions.
    :param valid_until: its last day; none: until further notice.
    """

    customer_reference: str
    because: str
    valid_from: date
    valid_until: date | None = None


class RefusedWaiver(NamedTuple):
    """A row that was refused: 1-based, header excluded, and what is wrong with it."""

    row: int
    flaws: tuple[str, ...]


@dataclass(frozen=True)
class Waived:
    """What waivers brought about.

    :param waivers: that were recorded; `repeated` ones stood already.
    :param waived: charges that nobody pays now; `given_back` those that were paid.
    :param refused: the first rows of a file that were refused, of `refused_rows`.
    """

    waivers: int
    repeated: int = 0
    waived: int = 0
    given_back: int = 0
    refused_rows: int = 0
    refused: tuple[RefusedWaiver, ...] = field(default=())


_OPEN = f"{listed(OPEN)}, 'rejected'"
_FREE_NOW = f"""
SELECT found.charge_id, found.because FROM (
    SELECT c.id AS charge_id, {free_because("s", "c.period_start")} AS because
    FROM fee_charge c JOIN subscription s ON s.id = c.subscription_id
    WHERE c.state IN ({_OPEN}) AND s.state <> 'ended'
) found
WHERE found.because IS NOT NULL
"""
# The rules' trial is known beforehand: only what a person has said is a reason to give something back. Years
# that are over stay as they are.
_PAID = f"""
SELECT DISTINCT ON (c.id) c.id AS charge_id, w.because,
    c.paid_millimes - c.owed_back_millimes - c.given_back_millimes AS millimes
FROM ({WAIVERS}) w
JOIN subscription s ON s.customer_reference = w.customer_reference AND s.state <> 'ended'
JOIN fee_charge c ON c.subscription_id = s.id AND c.state = 'paid' AND c.period_end >= :day
    AND w.valid_from <= c.period_start AND (w.valid_until IS NULL OR w.valid_until >= c.period_start)
ORDER BY c.id, w.id
"""


def apply_waivers(connection: Connection, moment: Moment, rules: FeeRules) -> int:
    """Waive the open charges whose year is free by now; return how many."""
    return waive(connection, _FREE_NOW, moment, **free_values(rules))


def give_back_waived(connection: Connection, moment: Moment) -> int:
    """Give back what was paid for years that are free since; return of how many charges."""
    return take_off(connection, _PAID, moment)[0]


_RECORD = f"""
INSERT INTO fee_waiver (customer_reference, because, valid_from, valid_until, set_by, recorded_at)
SELECT told.customer_reference, told.because, told.valid_from, told.valid_until, :by, :now
FROM unnest(CAST(:references AS text[]), CAST(:codes AS text[]), CAST(:froms AS date[]),
    CAST(:untils AS date[])) WITH ORDINALITY
    AS told (customer_reference, because, valid_from, valid_until, number)
LEFT JOIN ({WAIVERS}) standing
    ON standing.customer_reference = told.customer_reference AND standing.because = told.because
WHERE (standing.valid_from, standing.valid_until) IS DISTINCT FROM (told.valid_from, told.valid_until)
    OR standing.id IS NULL
ORDER BY told.number
"""


def grant(waivers: Sequence[Waiver], *, by: str) -> Waived:
    """Record waivers, and let what follows for charges follow, in one transaction.

    Of one customer and code the last one that was told stands; told again, it is not recorded again.

    :raises BadInput: when a reference or a code is wrong, or who says so is missing.
    """
    rules = fee_rules_on(clock.today())
    for one in waivers:
        if flaws := _flaws(one.customer_reference, one.because, rules):
            raise BadInput(f"this is no waiver: {'; '.join(flaws)}")
    by = checked_name(by)
    with locked(LOCK) as connection:
        return _grant(connection, waivers, by, rules)


def _grant(connection: Connection, waivers: Sequence[Waiver], by: str, rules: FeeRules) -> Waived:
    moment = Moment.now(by)
    recorded = connection.execute(
        text(_RECORD),
        {
            "references": [one.customer_reference for one in waivers],
            "codes": [one.because for one in waivers],
            "froms": [one.valid_from for one in waivers],
            "untils": [one.valid_until for one in waivers],
            **moment.values,
        },
    ).rowcount
    waived = apply_waivers(connection, moment, rules)
    given_back = give_back_waived(connection, moment)
    return Waived(recorded, len(waivers) - recorded, waived, given_back)


def import_waivers(path: Path, *, by: str) -> Waived:
    """Record the waivers of a CSV file, such as those of a pilot's customers: its good rows, all at once.

    :raises BadInput: when the file cannot be read, or a column is missing.
    """
    rules = fee_rules_on(clock.today())
    good: dict[tuple[str, str], Waiver] = {}
    refused: list[RefusedWaiver] = []
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
            for row, fields in _rows(stream, path):
                checked = _checked(fields, rules)
                if isinstance(checked, Waiver):
                    good[checked.customer_reference, checked.because] = checked
                else:
                    refused.append(RefusedWaiver(row, checked))
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}") from None
    by = checked_name(by)
    with locked(LOCK) as connection:
        done = _grant(connection, list(good.values()), by, rules)
    return Waived(
        done.waivers, done.repeated, done.waived, done.given_back, len(refused), tuple(refused[:_TOLD])
    )


def _rows(stream: Iterator[str], path: Path) -> Iterator[tuple[int, dict[str, str] | None]]:
    records = cut(stream)
    header = next(records, None)
    names = header.fields if header else []
    if missing := [column for column in COLUMNS[:3] if column not in names]:
        raise BadInput(
            f"{path}: the first line lacks {', '.join(missing)}; it must name {', '.join(COLUMNS)}"
        )
    for row, record in enumerate(records, 1):
        whole = record.cut and len(record.fields) == len(names)
        yield row, dict(zip(names, record.fields, strict=True)) if whole else None


def _checked(fields: dict[str, str] | None, rules: FeeRules) -> Waiver | tuple[str, ...]:
    if fields is None:
        return ("row: not_csv",)
    reference, because = fields["customer_reference"].strip(), fields["because"].strip()
    flaws = _flaws(reference, because, rules)
    begins, ends = read_day(fields["valid_from"].strip()), fields.get("valid_until", "").strip()
    last = read_day(ends)
    if begins is None:
        flaws.append("valid_from: not_a_date")
    if ends and last is None:
        flaws.append("valid_until: not_a_date")
    if flaws or begins is None:
        return tuple(flaws)
    return Waiver(reference, because, begins, last)


def _flaws(reference: str, because: str, rules: FeeRules) -> list[str]:
    flaws = []
    if not is_reference(reference):
        flaws.append("customer_reference: not_nine_digits")
    if because not in rules.exemptions:
        flaws.append(f"because: not one of {', '.join(rules.exemptions)}")
    return flaws
