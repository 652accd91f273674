"""Cycles that no extract begins: a day's warnings, a day's payments."""

from concurrent.futures import ThreadPoolExecutor
from datetime import date

import pytest
from sqlalchemy import text

from fatoura.cycles.keys import ExtractKey, is_of_a_day
from fatoura.cycles.registry import Purpose, cycle_id_of, open_cycle
from fatoura.database import begin, connect
from fatoura.errors import BadInput
from fatoura.extracts.loading import load_extract
from fatoura.extracts.refusal import ExtractRefused

DAY = date(2026, 6, 29)


def opened(purpose: Purpose, day: date = DAY) -> tuple[int, str]:
    with begin() as connection:
        return open_cycle(connection, purpose, day)


def test_the_cycle_of_a_day_is_opened_once_and_found_by_its_key(database):
    cycle_id, key = opened(Purpose.CUTOFF)
    assert (cycle_id, key) == (cycle_id_of("cutoff-2026-06-29"), "cutoff-2026-06-29")
    assert opened(Purpose.CUTOFF) == (cycle_id, key)
    assert opened(Purpose.CUTOFF, date(2026, 6, 30))[1] == "cutoff-2026-06-30"
    with connect() as connection:
        found = connection.execute(text("SELECT purpose, issue_date FROM cycle ORDER BY key")).all()
    assert [tuple(row) for row in found] == [("cutoff", DAY), ("cutoff", date(2026, 6, 30))]


def test_each_purpose_has_its_own_of_a_day(database):
    assert opened(Purpose.PAYMENT_RECEIVED)[1] == "payment-received-2026-06-29"
    assert opened(Purpose.PAYMENT_RECEIVED)[0] != opened(Purpose.CUTOFF)[0]


def test_two_that_open_it_at_once_open_the_same(database):
    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(opened, [Purpose.CUTOFF] * 4))) == 1


@pytest.mark.parametrize("purpose", [Purpose.CUTOFF, Purpose.PAYMENT_RECEIVED])
@pytest.mark.parametrize("supplement", [0, 1])
def test_no_extract_may_have_such_a_key(database, tmp_path, purpose, supplement):
    _, key = opened(purpose)
    assert is_of_a_day(key)
    with pytest.raises(ExtractRefused, match="give it another key"):
        load_extract(ExtractKey(key, supplement), run_id=None, landing=str(tmp_path))
    assert not any(is_of_a_day(other) for other in ("2026-05-T1", "cutoff-2026", f"x-{key}", f"{key}-2"))


def test_a_billing_cycle_of_that_name_is_not_taken_for_it(database):
    with begin() as connection:
        connection.execute(
            text("INSERT INTO cycle (key, issue_date) VALUES ('cutoff-2026-06-29', '2026-05-20')")
        )
    with pytest.raises(BadInput, match="cutoff-2026-06-29 is there already, and its purpose is billing"):
        opened(Purpose.CUTOFF)
