"""Receipts in any order, any number of times, early, late, for unknown ids: the notice ends in one state."""

import itertools
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from fatoura import clock
from fatoura.database import connect
from fatoura.receipts.intake import RawReceipt, store
from fatoura.receipts.matching import match_receipts
from tests.notices import ids, notices, plan_notices, run_sql, states


@pytest.fixture(autouse=True)
def _clock(database, configure):
    configure(now="2026-05-20T10:00:00+01:00")


def send(cycle: int, state: str = "accepted") -> None:
    run_sql(
        "UPDATE notice SET state = 'sending', attempts = 1, gateway = 'fatoura_sms', submitted_at = :now",
        now=clock.now() - timedelta(minutes=1),
    )
    if state != "sending":
        run_sql("UPDATE notice SET state = :state", state=state)


def receive(notice_id, status, **more) -> None:
    store(
        [
            RawReceipt(
                "fatoura_sms",
                clock.now(),
                {"query": {}},
                notice_id=notice_id,
                attempt=1,
                status=status,
                **more,
            )
        ]
    )


def outcomes() -> list[str]:
    with connect() as connection:
        return list(connection.execute(text("SELECT match FROM receipt ORDER BY id")).scalars())


@pytest.mark.parametrize("before", ["sending", "in_doubt", "accepted"])
@pytest.mark.parametrize("word", ["delivered", "undeliverable", "expired", "rejected"])
def test_a_final_receipt_settles_its_notice_wherever_it_stands(database, before, word):
    cycle = plan_notices(1)
    send(cycle, before)
    receive(ids(cycle)[0], word, detail="stat:X err:001")
    assert match_receipts() == {"moved": 1}
    (notice,) = notices(cycle)
    assert notice.state == word
    assert notice.final_at is not None
    assert notice.reason == (None if word == "delivered" else "stat:X err:001")


def test_an_acceptance_settles_a_doubt_and_repeats_are_noted(database):
    cycle = plan_notices(1)
    send(cycle, "in_doubt")
    for _ in range(3):
        receive(ids(cycle)[0], "accepted")
    match_receipts()
    assert states(cycle) == {"accepted": 1}
    assert outcomes() == ["moved", "noted", "noted"]


def test_the_first_final_word_stays_and_later_ones_are_kept_beside_it(database):
    cycle = plan_notices(1)
    send(cycle)
    for word in ("rejected", "delivered", "rejected", "accepted"):
        receive(ids(cycle)[0], word)
    match_receipts()
    assert states(cycle) == {"rejected": 1}
    assert outcomes() == ["moved", "contradicted", "repeated", "noted"]


def test_a_receipt_for_a_notice_that_was_thought_refused_settles_it(database):
    cycle = plan_notices(1)
    send(cycle, "sending")
    run_sql("UPDATE notice SET state = 'planned'")
    receive(ids(cycle)[0], "delivered")
    match_receipts()
    assert states(cycle) == {"delivered": 1}


def test_a_receipt_for_a_notice_never_sent_moves_nothing(database):
    cycle = plan_notices(1)
    receive(ids(cycle)[0], "delivered")
    match_receipts()
    assert states(cycle) == {"planned": 1}
    assert outcomes() == ["contradicted"]


def test_an_unknown_id_is_parked_and_matched_once_it_is_known(database):
    unknown = uuid4()
    receive(unknown, "delivered")
    assert match_receipts() == {"parked": 1}
    assert match_receipts() == {}
    cycle = plan_notices(1)
    run_sql("UPDATE notice SET id = :id", id=unknown)
    send(cycle)
    assert match_receipts(parked=True) == {"moved": 1}
    assert states(cycle) == {"delivered": 1}


def test_a_receipt_without_our_id_is_matched_by_the_providers(database):
    cycle = plan_notices(2)
    send(cycle)
    run_sql(
        "INSERT INTO attempt (notice_id, number, gateway, worker, outcome, provider_id) "
        "VALUES (:id, 1, 'fatoura_sms', 'test', 'accepted', '0077')",
        id=ids(cycle)[1],
    )
    receive(None, "delivered", provider_id="0077")
    receive(None, "delivered", provider_id="77")  # leading zeros count
    match_receipts()
    assert [n.state for n in notices(cycle)] == ["accepted", "delivered"]
    assert outcomes() == ["moved", "parked"]


def test_the_providers_clock_counts_only_where_it_can_be_right(database):
    cycle = plan_notices(3)
    send(cycle)
    good = clock.now() - timedelta(seconds=20)
    for notice, at in zip(
        ids(cycle), (good, datetime(1970, 1, 1, tzinfo=UTC), clock.now() + timedelta(days=2)), strict=True
    ):
        receive(notice, "delivered", happened_at=at)
    match_receipts()
    finals = [n.final_at for n in notices(cycle)]
    assert abs(finals[0] - good) < timedelta(seconds=1)
    assert all(abs(final - clock.now()) < timedelta(seconds=30) for final in finals[1:])


def test_ten_thousand_receipts_at_once_in_batches(database):
    cycle = plan_notices(6000)
    send(cycle)
    store(
        [
            RawReceipt("fatoura_sms", clock.now(), {"query": {}}, notice_id=notice, attempt=1, status=word)
            for word, notice in itertools.product(("accepted", "delivered"), ids(cycle))
        ]
    )
    assert match_receipts() == {"moved": 6000, "noted": 6000}
    assert states(cycle) == {"delivered": 6000}


WORDS = st.lists(
    st.sampled_from([None, "accepted", "delivered", "undeliverable", "expired", "rejected"]),
    min_size=1,
    max_size=6,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    words=WORDS, cuts=st.sets(st.integers(1, 5)), before=st.sampled_from(["sending", "in_doubt", "accepted"])
)
def test_the_first_final_word_wins_however_receipts_fall_into_batches(database, words, cuts, before):
    run_sql("TRUNCATE notice, receipt, attempt")
    cycle = plan_notices(1)
    send(cycle, before)
    for position, word in enumerate(words):
        if position in cuts:
            match_receipts()
        receive(ids(cycle)[0], word)
    match_receipts()
    final = next((w for w in words if w not in (None, "accepted")), None)
    accepted = "accepted" in words and before != "accepted"
    expected = final or ("accepted" if accepted else before)
    assert states(cycle) == {expected: 1}
    assert outcomes().count("moved") <= 2
    assert "new" not in outcomes()
