"""The billing system's answers about charges: the form of their feeds, and the check of a row. Pure.

What is wrong with a row is told by field and code, never with its values.
"""

from __future__ import annotations

import re
from collections.abc import Iterator  # noqa: TC003 - pydantic reads it
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import BeforeValidator, Field

from fatoura import clock
from fatoura.extracts.values import read_integer
from fatoura.feeds.manifest import FeedManifest
from fatoura.feeds.records import Flaw, Record
from fatoura.feeds.values import InstantError, read_instant
from fatoura.fees.books import is_charge_id
from fatoura.manifests import Part  # noqa: TC001 - pydantic reads it
from fatoura.money import LARGEST_MILLIMES
from fatoura.phones import holds_number

if TYPE_CHECKING:
    from fatoura.feeds.content import RowCheck

COLUMNS = ("charge_id", "result", "amount_millimes", "at", "reason")
"""The columns of the contract, in its order."""

TYPED = {
    "charge_id": "text",
    "result": "text",
    "amount_millimes": "bigint",
    "at": "timestamptz",
    "reason": "text",
}
"""The typed columns of a good row."""

FORM = (
    '{"feed": "2026-07-05", "rows": 2, "total_amount_millimes": 2000, '
    '"complete_until": "2026-07-05T05:00:00+01:00", '
    '"parts": [{"name": "fee_results.csv", "rows": 2, "sha256": "…"}]}'
)

_RESULTS = frozenset({"accepted", "rejected", "paid", "refused", "refunded"})
_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
_AHEAD = timedelta(days=1)
_CLOCKS_DIFFER = timedelta(minutes=15)
_LONGEST_REASON = 200
_DIGITS = re.compile(r"\d")


def _instant(value: object) -> datetime:
    if isinstance(value, datetime):
        return value
    try:
        return read_instant(value if isinstance(value, str) else "")
    except InstantError:
        raise ValueError('is not a time with offset such as "2026-07-05T05:00:00+01:00"') from None


class ResultsManifest(FeedManifest):
    """What a feed of answers says of itself.

    :ivar total_amount_millimes: sum over the rows whose amount reads as an integer.
    :ivar complete_until: the instant before which all answers are in this feed or in one delivered before it.
        Nobody lapses for want of a payment that may be under way.
    """

    total_amount_millimes: int
    complete_until: Annotated[datetime, BeforeValidator(_instant), Field(strict=False)]

    def said(self) -> Iterator[str]:
        """Yield what counts for the sameness beside the parts."""
        yield from super().said()
        yield str(self.total_amount_millimes)
        yield self.complete_until.isoformat()

    def problems(self) -> Iterator[str]:
        """Yield what is wrong about a manifest of the right form, a sentence each."""
        if self.complete_until > clock.now() + _CLOCKS_DIFFER:
            yield (
                f"complete_until is {self.complete_until.isoformat()}, which lies in the future; nobody can "
                "be complete until then: correct it"
            )

    def completed(self, parts: tuple[Part, ...], total: int) -> Self:
        """Return it with the parts that were read, and the sum of their amounts."""
        return self.model_copy(update={"parts": parts, "total_amount_millimes": total})

    @property
    def declared_total(self) -> int | None:
        """The control total of amounts, in millimes."""
        return self.total_amount_millimes


def row_check(_manifest: ResultsManifest) -> RowCheck:
    """Return the check of a feed's rows."""
    latest = clock.now() + _AHEAD

    def check(record: Record) -> tuple[Any, ...] | list[Flaw]:
        if record.flaw is not None:
            return [Flaw("row", record.flaw)]
        charge, result, amount_text, at_text, reason = map(record.text, COLUMNS)
        flaws = []
        if not is_charge_id(charge):
            flaws.append(Flaw("charge_id", "form"))
        if result not in _RESULTS:
            flaws.append(Flaw("result", "unknown"))
        amount = read_integer(amount_text)
        if amount is None:
            flaws.append(Flaw("amount_millimes", "not_an_integer"))
        elif amount <= 0:
            flaws.append(Flaw("amount_millimes", "not_positive"))
        elif amount > LARGEST_MILLIMES:
            flaws.append(Flaw("amount_millimes", "out_of_bounds"))
        at = None
        try:
            at = read_instant(at_text)
        except InstantError as error:
            flaws.append(Flaw("at", error.code))
        else:
            if not _EARLIEST <= at <= latest:
                flaws.append(Flaw("at", "in_the_future" if at > latest else "out_of_bounds"))
        if code := _wrong_reason(reason):
            flaws.append(Flaw("reason", code))
        return flaws or (charge, result, amount, at, reason.strip() or None)

    return check


def _wrong_reason(reason: str) -> str | None:
    if len(reason) > _LONGEST_REASON:
        return "too_long"
    # To look for a number takes its time: only where there is a digit at all.
    return "holds_a_phone_number" if _DIGITS.search(reason) and holds_number(reason) else None
