"""A warning is looked at again when it is claimed: what holds no longer is cancelled, and never leaves."""

from __future__ import annotations

import time
from collections import Counter
from datetime import timedelta
from threading import Barrier, Thread
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from fatoura.database import begin, connect
from fatoura.gateways.interface import Outcome
from fatoura.notices.kinds import Check, load_kind
from fatoura.notices.planning import BILL_KINDS
from fatoura.notices.states import Decision
from fatoura.sending import checks, claims, routing
from fatoura.sending.doubts import Next, Which, Why, chosen_doubts, list_doubts, resolve
from fatoura.sending.outlook import Wait, sending_outlook
from tests.notices import ids, notices, plan_notices, register_gateway, run_sql, states

if TYPE_CHECKING:
    from fatoura.sending.claims import Batch


@pytest.fixture(autouse=True)
def _clock(database, configure):
    configure(now="2026-06-29T10:00:00+01:00")


@pytest.fixture
def paid(monkeypatch) -> set[str]:
    """Subjects that are paid, as a check finds them out in the claim's transaction."""
    found: set[str] = set()

    def check(connection, asked):
        rows = connection.execute(text("SELECT id, subject FROM notice WHERE id = ANY(:ids)"), {"ids": asked})
        return {row.id: "paid" for row in rows if row.subject in found}

    monkeypatch.setattr(checks, "CHECKS", {Check.STILL_OWED: check})
    return found


@pytest.fixture
def asked(monkeypatch) -> list[list]:
    """What a check was asked that finds nothing wrong."""
    found: list[list] = []

    def check(connection, notices):
        found.append(list(notices))
        return {}

    monkeypatch.setattr(checks, "CHECKS", {Check.STILL_OWED: check})
    return found


def plan(count: int, kind: str = "cutoff_warning", **columns) -> int:
    return plan_notices(
        count,
        **{"cycle": "cutoff-2026-06-29", "purpose": "cutoff", "kind": kind, "priority": 20} | columns,
    )


def claim(cycle: int, most: int = 100, **options) -> Batch:
    values = {
        "gateway": "fatoura_sms",
        "stretch": routing.WHOLE,
        "in_use": ["fatoura_sms"],
        "worker": "test",
        "most": most,
        "lease": timedelta(minutes=5),
        "doubt_horizon": timedelta(hours=6),
        "sender_id": "STEG",
    } | options
    with begin() as connection:
        return claims.claim(connection, cycle, **values)


def answer(claimed: Batch, kind: str) -> None:
    with begin() as connection:
        claims.write_outcomes(
            connection,
            [(one.message, Outcome(kind, None, "said so")) for one in claimed],
            retry_after=timedelta(0),
        )


def attempts() -> int:
    with connect() as connection:
        return connection.scalar(text("SELECT count(*) FROM attempt"))


def test_what_is_paid_is_cancelled_in_the_claim_and_the_rest_goes(paid):
    cycle = plan(5)
    paid |= {f"cutoff-2026-06-29-{number}" for number in (1, 3)}
    batch = claim(cycle)
    assert (len(batch), batch.withdrawn) == (3, 2)
    assert states(cycle) == {"sending": 3, "cancelled": 2}
    for one in notices(cycle):
        if one.subject in paid:
            assert (one.state, one.reason, one.attempts) == ("cancelled", "paid", 0)
            assert one.final_at == one.state_since is not None
    assert attempts() == 3
    assert claim(cycle) == []


def test_the_check_is_asked_for_as_many_as_are_claimed_and_in_their_order(asked):
    cycle = plan(3)
    urgent = plan(2, "cutoff_second_warning", priority=15, first=10)
    expected = [n.id for n in sorted(notices(urgent), key=lambda n: (n.priority, n.id))][:4]
    assert [c.message.id for c in claim(cycle, most=4)] == expected
    assert asked == [expected]


def test_kinds_without_a_check_are_claimed_unasked(asked):
    cycle = plan(1)
    plan(2, "bill", first=10)
    assert len(claim(cycle)) == 3
    assert [len(batch) for batch in asked] == [1]


def test_a_batch_of_which_nothing_is_left_says_so_and_the_next_has_its_turn(paid):
    cycle = plan(5)
    paid |= {f"cutoff-2026-06-29-{number}" for number in range(3)}
    first, second, third = claim(cycle, most=3), claim(cycle, most=3), claim(cycle, most=3)
    assert (first, first.withdrawn) == ([], 3)
    assert (len(second), second.withdrawn) == (2, 0)
    assert (third, third.withdrawn) == ([], 0)


def test_a_check_that_fails_leaves_everything_as_it_was(monkeypatch):
    def check(connection, notices):
        run = text("UPDATE notice SET reason = 'seen' WHERE id = ANY(:ids)")
        connection.execute(run, {"ids": notices})
        raise RuntimeError("the database went away")

    monkeypatch.setattr(checks, "CHECKS", {Check.STILL_OWED: check})
    cycle = plan(2)
    with pytest.raises(RuntimeError):
        claim(cycle)
    assert states(cycle) == {"planned": 2}
    assert {n.reason for n in notices(cycle)} == {None}


def test_a_check_may_cancel_by_itself(monkeypatch):
    def check(connection, notices):
        cancel = "UPDATE notice SET state = 'cancelled', reason = 'dispute' WHERE id = ANY(:ids)"
        connection.execute(text(cancel), {"ids": notices[:1]})
        return {notices[0]: "dispute"}

    monkeypatch.setattr(checks, "CHECKS", {Check.STILL_OWED: check})
    cycle = plan(2)
    batch = claim(cycle)
    assert (len(batch), batch.withdrawn) == (1, 1)
    assert states(cycle) == {"sending": 1, "cancelled": 1}


def test_the_look_ahead_for_what_is_more_urgent_is_checked_too(paid):
    cycle = plan(2)
    plan(2, "cutoff_second_warning", priority=15, first=10)
    paid.add("cutoff-2026-06-29-10")
    batch = claim(cycle, more_urgent_than=20)
    assert ([c.priority for c in batch], batch.withdrawn) == ([15], 1)
    assert states(cycle) == {"planned": 2, "sending": 1, "cancelled": 1}


def test_what_was_refused_is_checked_again_before_its_next_attempt(paid):
    cycle = plan(2)
    answer(claim(cycle), "refused")
    paid.add("cutoff-2026-06-29-0")
    batch = claim(cycle)
    assert ([c.message.attempt for c in batch], batch.withdrawn) == ([2], 1)
    assert states(cycle) == {"sending": 1, "cancelled": 1}


def test_two_claimers_never_hold_nor_check_the_same_warning(monkeypatch):
    seen: list = []

    def check(connection, asked):
        seen.extend(asked)
        time.sleep(0.005)  # long enough for the other one to look for something to do
        return {one: "paid" for one in asked if one.int % 3 == 0}

    monkeypatch.setattr(checks, "CHECKS", {Check.STILL_OWED: check})
    cycle = plan(600)
    held: list[list] = [[], []]
    withdrawn = [0, 0]
    start = Barrier(2)

    def work(mine: int) -> None:
        start.wait()
        while (batch := claim(cycle, most=17)) or batch.withdrawn:
            held[mine] += [c.message.id for c in batch]
            withdrawn[mine] += batch.withdrawn

    threads = [Thread(target=work, args=(mine,)) for mine in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    everything = ids(cycle)
    unfounded = {one for one in everything if one.int % 3 == 0}
    assert Counter(seen) == Counter(everything)
    assert all(held), "both had some"
    assert Counter(held[0] + held[1]) == Counter(set(everything) - unfounded)
    assert states(cycle) == {"sending": 600 - len(unfounded), "cancelled": len(unfounded)}
    assert sum(withdrawn) == len(unfounded)


def test_while_one_checks_the_other_takes_what_follows(monkeypatch):
    """The rows are held before they are judged: no other sender can take them meanwhile."""
    cycle, of_the_other = plan(4), []

    def check(connection, asked):
        if asked[0] == ids(cycle)[0]:
            of_the_other.extend(c.message.id for c in claim(cycle, most=2))
        return {}

    monkeypatch.setattr(checks, "CHECKS", {Check.STILL_OWED: check})
    mine = [c.message.id for c in claim(cycle, most=2)]
    assert (mine, of_the_other) == (ids(cycle)[:2], ids(cycle)[2:])


def test_in_doubt_it_is_claimed_no_more_by_anybody_and_nothing_waits_for_it(asked):
    cycle = plan(1)
    register_gateway()
    run_sql("""UPDATE gateway SET capabilities = '{"idempotency": true}'""")
    answer(claim(cycle), "in_doubt")
    for options in (
        {"recognises_repeats": True},
        {"doubt_horizon": timedelta(seconds=-1)},
        {"recognises_repeats": True, "doubt_horizon": timedelta(seconds=-1)},
    ):
        assert claim(cycle, **options) == []
        assert claim(cycle, **options, checked=False) == []
    assert len(asked) == 1
    with connect() as connection:
        assert sending_outlook(connection, cycle).wait is Wait.DONE
        [doubt] = list_doubts(connection, most=10)
    assert (doubt.next, doubt.why) == (Next.WAIT, Why.GIVES_UP)


def test_one_that_a_person_has_proven_not_taken_is_checked_before_it_goes_again(paid):
    cycle = plan(2)
    answer(claim(cycle), "in_doubt")
    # A correction of the bill is none of the warning: whether it still holds, its check says.
    plan(1, "bill_correction")
    run_sql("UPDATE notice SET sequence = 2, send_until = send_from WHERE kind = 'bill_correction'")
    paid.add("cutoff-2026-06-29-0")
    with begin() as connection:
        asked = chosen_doubts(connection, Which(cycle_id=cycle))
        done = resolve(connection, asked, Decision.NOT_ACCEPTED, reason="the provider says so", by="anna")
    assert (len(done.resolved), done.cancelled) == (2, 0)
    assert done.cycles == {"cutoff-2026-06-29": "cutoff_warnings"}
    batch = claim(cycle)
    assert (len(batch), batch.withdrawn) == (1, 1)


def test_cycles_of_bills_are_not_checked_for_nothing_in_them_has_a_check(asked):
    bills, warnings = plan_notices(1), plan(1)
    with connect() as connection:
        assert not checks.are_needed(connection, bills)
        assert checks.are_needed(connection, warnings)
    assert all(load_kind(name).check is None for name in BILL_KINDS)
    assert len(claim(bills, checked=False)) == 1
    assert asked == []


def test_every_check_that_a_kind_can_name_has_somebody_who_can_tell():
    assert set(checks.CHECKS) == set(Check)
