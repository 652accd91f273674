"""Receipts in any order, any number of times, early, late, for unknown ids: the notice ends in one state."""

import itertools
import time
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from fatoura import clock
from fatoura.database import connect
from fatoura.receipts.intake import RawReceipt, store
from fatoura.receipts.matching import match_receipts, unpark_known
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


def send_again(outcome: str | None = "accepted", **before: object) -> None:
    """Have each notice go out a second time, after a first attempt that is in doubt."""
    run_sql("UPDATE notice SET attempts = 2")
    for number, columns in enumerate(({"outcome": "in_doubt", **before}, {"outcome": outcome}), 1):
        run_sql(
            "INSERT INTO attempt (notice_id, number, gateway, worker, claimed_at, outcome, provider_id) "
            "SELECT id, :number, 'fatoura_sms', 'test', :now, :outcome, :provider_id FROM notice",
            **{"provider_id": None, "number": number, "now": clock.now(), **columns},
        )


def receipt(notice_id, status, **more) -> RawReceipt:
    values = {"attempt": 1 if notice_id else None, "received_at": clock.now(), **more}
    return RawReceipt(gateway="fatoura_sms", raw={"query": {}}, notice_id=notice_id, status=status, **values)


def receive(notice_id, status, **more) -> None:
    store([receipt(notice_id, status, **more)])


def rows_of(query: str) -> list[tuple]:
    with connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def outcomes() -> list[str]:
    return [match for (match,) in rows_of("SELECT match FROM receipt ORDER BY id")]


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
    assert unpark_known() == 1
    assert match_receipts() == {"moved": 1}
    assert states(cycle) == {"delivered": 1}


def test_only_receipts_that_came_in_lately_are_looked_at_unless_all_are(database):
    early, late = uuid4(), uuid4()
    receive(early, "delivered", received_at=clock.now() - timedelta(minutes=5))
    receive(late, "delivered")
    receive(uuid4(), "delivered")
    assert match_receipts() == {"parked": 3}
    cycle = plan_notices(2)
    run_sql("UPDATE notice SET id = :id WHERE subject = '2026-05-T1-0'", id=early)
    run_sql("UPDATE notice SET id = :id WHERE subject = '2026-05-T1-1'", id=late)
    send(cycle)
    assert unpark_known(timedelta(minutes=1)) == 1
    assert unpark_known() == 1
    assert match_receipts() == {"moved": 2}
    assert unpark_known() == 0


def test_many_receipts_for_unknown_ids_do_not_stand_before_one_that_is_known(database):
    store([receipt(uuid4(), "delivered") for _ in range(6000)])
    receive(None, "delivered", provider_id="0077")
    assert match_receipts() == {"parked": 6001}
    cycle = plan_notices(1)
    send(cycle)
    run_sql(
        "INSERT INTO attempt (notice_id, number, gateway, worker, claimed_at, outcome, provider_id) "
        "SELECT id, 1, 'fatoura_sms', 'test', :now, 'accepted', '0077' FROM notice",
        now=clock.now(),
    )
    written = "SELECT max(xmin::text::bigint) FROM receipt WHERE match = 'parked'"
    before = rows_of(written)
    assert unpark_known(timedelta(minutes=1)) == 1
    assert match_receipts() == {"moved": 1}
    assert states(cycle) == {"delivered": 1}
    assert rows_of(written) == before  # a look at what stays unknown writes nothing


def test_a_receipt_without_our_id_is_matched_by_the_providers(database):
    cycle = plan_notices(2)
    send(cycle)
    run_sql(
        "INSERT INTO attempt (notice_id, number, gateway, worker, claimed_at, outcome, provider_id) "
        "VALUES (:id, 1, 'fatoura_sms', 'test', :now, 'accepted', '0077')",
        id=ids(cycle)[1],
        now=clock.now(),
    )
    receive(None, "delivered", provider_id="0077")
    receive(None, "delivered", provider_id="77")  # leading zeros count
    match_receipts()
    assert [n.state for n in notices(cycle)] == ["accepted", "delivered"]
    assert outcomes() == ["moved", "parked"]
    assert rows_of("SELECT notice_id, attempt FROM receipt ORDER BY id") == [
        (ids(cycle)[1], 1),
        (None, None),
    ]  # whose it is, is written down with it


def test_another_gateways_id_is_another_id(database):
    cycle = plan_notices(1)
    send(cycle)
    send_again(provider_id="0077")
    run_sql("UPDATE attempt SET gateway = 'another'")
    receive(None, "delivered", provider_id="0077")
    assert match_receipts() == {"parked": 1}


def test_of_ids_that_a_provider_gives_anew_the_last_one_counts(database):
    cycle = plan_notices(2)
    send(cycle)
    run_sql(
        "INSERT INTO attempt (notice_id, number, gateway, worker, claimed_at, outcome, provider_id) "
        "SELECT id, 1, 'fatoura_sms', 'test', :now - CASE id WHEN :old THEN interval '90 days' "
        "ELSE interval '0' END, 'accepted', '0077' FROM notice",
        now=clock.now(),
        old=ids(cycle)[0],
    )
    receive(None, "delivered", provider_id="0077", received_at=clock.now() - timedelta(days=60))
    receive(None, "undeliverable", provider_id="0077")
    assert match_receipts() == {"moved": 2}
    assert [n.state for n in notices(cycle)] == ["delivered", "undeliverable"]


def test_a_receipt_is_never_of_a_message_that_was_sent_after_it_came(database):
    cycle = plan_notices(1)
    send(cycle)
    send_again(provider_id="0077")
    receive(None, "delivered", provider_id="0077", received_at=clock.now() - timedelta(days=2))
    assert match_receipts() == {"parked": 1}
    assert unpark_known() == 0
    receive(None, "delivered", provider_id="0077", received_at=clock.now() - timedelta(seconds=30))
    assert match_receipts() == {"moved": 1}  # the clocks of two machines differ by some seconds


@pytest.mark.parametrize("known_by", ["our id", "the provider's"])
@pytest.mark.parametrize("later", [None, "accepted", "in_doubt"])
@pytest.mark.parametrize("word", ["undeliverable", "expired", "rejected"])
def test_the_failure_of_an_earlier_attempt_does_not_end_what_went_out_again(database, known_by, later, word):
    cycle = plan_notices(1)
    state = {None: "sending", "accepted": "accepted", "in_doubt": "in_doubt"}[later]
    send(cycle, state)
    send_again(later, provider_id="0077")
    if known_by == "our id":
        receive(ids(cycle)[0], word, attempt=1)
    else:
        receive(None, word, provider_id="0077")
    assert match_receipts() == {"noted": 1}
    assert states(cycle) == {state: 1}
    receive(ids(cycle)[0], word, attempt=2)
    assert match_receipts() == {"moved": 1}
    assert states(cycle) == {word: 1}


def test_the_failure_of_an_earlier_attempt_ends_it_when_the_later_one_was_refused(database):
    cycle = plan_notices(1)
    send(cycle, "sending")
    send_again("refused")
    run_sql("UPDATE notice SET state = 'planned'")
    receive(ids(cycle)[0], "undeliverable", attempt=1)
    assert match_receipts() == {"moved": 1}
    assert states(cycle) == {"undeliverable": 1}


def test_what_an_earlier_attempt_delivered_is_delivered_whatever_becomes_of_the_later_one(database):
    cycle = plan_notices(1)
    send(cycle)
    send_again(provider_id="0077")
    receive(None, "delivered", provider_id="0077")
    receive(ids(cycle)[0], "undeliverable", attempt=2)
    receive(None, "undeliverable", provider_id="0077")
    match_receipts()
    assert states(cycle) == {"delivered": 1}
    assert outcomes() == ["moved", "contradicted", "noted"]
    (notice,) = notices(cycle)
    assert notice.provider_id is None  # the last attempt's, which nobody has told


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
    began = time.monotonic()
    assert match_receipts() == {"moved": 6000, "noted": 6000}
    assert time.monotonic() - began < 5  # less than half a second; comparing each with each takes ten
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
