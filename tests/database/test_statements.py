"""A provider's statement beside the ledger: every line has an outcome, and the difference has its causes."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from fatoura.errors import BadInput
from fatoura.statements import Comparison, Period, compared, import_statement
from tests.statements import AT, GATEWAY, Sent, detail, known_gateway, line, send

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.database

MAY = Period(2026, 5)


@pytest.fixture(autouse=True)
def _settings(database, configure):
    configure(database_url=database, now="2026-06-05T10:00:00+01:00")


def compare(path: Path | None = None, *, period: Period = MAY, form: str | None = None) -> Comparison:
    if path is not None:
        import_statement(path, GATEWAY, period, form_name=form)
    with compared(GATEWAY, period) as open_comparison:
        return open_comparison.comparison


def counts(comparison: Comparison) -> dict[str, int]:
    return {one.outcome: one.messages for one in comparison.findings}


def balance(comparison: Comparison) -> None:
    """Check what must hold of every comparison: the difference is the sum of its causes, exactly."""
    differences = [one.difference for one in comparison.findings or comparison.groups]
    assert comparison.difference.millimes == sum((one.millimes for one in differences), Decimal())
    assert comparison.difference.segments == sum(one.segments for one in differences)


def test_what_both_count_agrees(tmp_path):
    ids = send(*(Sent(phone=f"+2162000000{n}") for n in range(3)))
    found = compare(detail(tmp_path, [line(ref=one) for one in ids]))
    assert counts(found) == {"agreed": 3}
    assert found.difference.millimes == 0
    assert found.theirs.millimes == 60
    assert found.matched_by == {"notice_id": 3}


def test_each_way_to_differ_has_its_name_and_its_price(tmp_path):
    agreed, longer, dearer, doubt, refused, alone = send(
        Sent(),
        Sent(),
        Sent(),
        Sent(outcome="in_doubt", state="in_doubt"),
        Sent(outcome="refused", state="planned"),
        Sent(segments=2),
    )
    found = compare(
        detail(
            tmp_path,
            [
                line(ref=agreed),
                line(ref=longer, segments=2, amount="0,040"),
                line(ref=dearer, amount="0,025"),
                line(ref=doubt),
                line(ref=refused),
                line(ref=uuid4(), amount="0,0205"),
                line(ref=agreed),
            ],
        )
    )
    assert counts(found) == {
        "agreed": 1,
        "segments_differ": 1,
        "price_differs": 1,
        "unknown": 1,
        "in_doubt": 1,
        "refused": 1,
        "twice": 1,
        "uncounted": 1,
    }
    assert alone
    assert found.finding("segments_differ").difference.millimes == 20
    assert found.finding("price_differs").difference.millimes == 5
    assert found.finding("unknown").difference.millimes == Decimal("20.5")
    assert found.finding("uncounted").difference.millimes == -40
    assert found.price_effect == 5
    assert found.difference.millimes == Decimal("20") + 5 + 20 + 20 + Decimal("20.5") + 20 - 40
    balance(found)
