"""The figures about cut-off warnings are the counts of their rows, and say so when a row is missing."""

from collections import Counter
from collections.abc import Callable
from datetime import date, datetime, timedelta
from statistics import median

import pytest
from sqlalchemy import Connection, text

from fatoura.clock import zone
from fatoura.cutoff.reasons import LETTERS, SETTLED
from fatoura.database import begin, connect
from fatoura.errors import BadInput
from fatoura.notices.states import State
from fatoura.reports.cutoff.cases import AGE_EDGES, DAY_EDGES, Standing
from fatoura.reports.cutoff.cycle import CycleFigures, CyclePhase, cutoff_cycle_figures
from fatoura.reports.cutoff.day import Bucket, DayFigures, DayPhase, Undecided, day_figures
from tests.database.seeded_cutoff import SeededCutoff, seed_cutoff
from tests.notices import plan_notices

pytestmark = pytest.mark.database

CYCLE = "2026-05-T1"
FIRST, WARNED_ON, STALE, SUNDAY = date(2026, 6, 12), date(2026, 6, 22), date(2026, 6, 25), date(2026, 6, 28)
LAST = date(2026, 7, 3)
AS_OF = datetime(2026, 7, 3, 10, 30, tzinfo=zone())


def seeded(**options: object) -> SeededCutoff:
    with begin() as connection:
        return seed_cutoff(connection, **options)  # type: ignore[arg-type]


def day(which: date, as_of: datetime = AS_OF) -> DayFigures:
    with begin() as connection:
        return day_figures(connection, which, as_of)


def cycle(key: str = CYCLE, as_of: datetime = AS_OF) -> CycleFigures:
    with begin() as connection:
        return cutoff_cycle_figures(connection, key, as_of)


def rows(statement: str, **values: object) -> list:
    with connect() as connection:
        return connection.execute(text(statement), values).all()


def change(statement: str, **values: object) -> None:
    with begin() as connection:
        connection.execute(text(statement), values)


def due_on(which: date) -> list:
    return rows(
        "SELECT d.*, n.state AS message_state, n.final_at, c.state, c.reason AS now_because, c.district, "
        "c.due_date, c.cut_from AS told_cut, c.state_since, c.amount_due_millimes, "
        "c.amount_due_millimes - coalesce((SELECT sum(counts_millimes) FROM payment p "
        "WHERE p.invoice_number = c.invoice_number), 0) AS balance, "
        "(SELECT max(paid_at) FROM payment p WHERE p.invoice_number = c.invoice_number AND counts_millimes "
        "> 0 "
        "AND paid_at <= c.state_since) AS last_paid "
        "FROM cutoff_decision d JOIN cycle y ON y.id = d.cycle_id JOIN cutoff_case c USING (invoice_number, "
        "sequence) "
        "LEFT JOIN notice n ON n.id = d.notice_id WHERE y.key = :key AND d.moment = 'due' "
        "AND d.notice_kind <> 'due_reminder'",
        key=f"cutoff-{which}",
    )


def test_each_figure_of_a_day_is_the_count_of_its_rows(weeks):
    f, due = day(WARNED_ON), due_on(WARNED_ON)
    verdicts = Counter(one.verdict for one in due)
    settled = sum(one.verdict == "leave_out" and one.reason in SETTLED for one in due)
    assert verdicts["notify"] == 40
    assert f.waiting > 25
    assert f.due == len(due) + f.waiting
    assert f.buckets == Counter(
        {
            Bucket.NOTIFIED: verdicts["notify"],
            Bucket.SETTLED: settled,
            Bucket.LEFT_OUT: verdicts["leave_out"] - settled,
            Bucket.LETTERS: verdicts["letter"],
            Bucket.WAITING: f.waiting,
        }
    )
    assert f.states == Counter(State(one.message_state) for one in due if one.message_state)
    assert f.identity_holds
    assert (f.phase, f.undecided, f.rules) == (DayPhase.SETTLED, None, ["2026-1"])
    assert [at.astimezone(zone()).hour for at in f.decided_at] == [9]

    letters = rows(
        "SELECT d.reason FROM cutoff_decision d WHERE verdict = 'letter' AND cycle_id = "
        "(SELECT id FROM cycle WHERE key = :key)",
        key=f"cutoff-{WARNED_ON}",
    )
    assert {one.reason: one.cases for one in f.not_warned} == Counter(reason for (reason,) in letters)
    assert all(one.listed == one.cases for one in f.not_warned)
    left_out = Counter(one.reason for one in due if one.verdict == "leave_out")
    assert {one.reason: one.before for one in f.left_out if one.before} == left_out
    assert sum(one.later for one in f.left_out) == f.states[State.CANCELLED]

    asked = sum(one.balance_millimes for one in due)
    assert sum(one.whole_millimes for one in f.ages) == pytest.approx(asked, abs=asked * 0.05)
    assert sum(one.bills for one in f.districts) == len(due)
    still = {one.invoice_number: max(one.balance, 0) for one in due if one.now_because != "cancelled"}
    assert sum(one.owed_millimes for one in f.districts) == sum(still.values())
    assert sum(one.owed_millimes for one in f.ages) == sum(still.values())
    days_overdue = {(WARNED_ON - one.due_date).days for one in due}
    assert {int(age.code) for age in f.ages} == {
        sum(days >= edge for edge in AGE_EDGES) for days in days_overdue
    }


def test_what_was_paid_after_a_warning_is_told_by_days_and_amounts(weeks):
    f = day(WARNED_ON)
    told = [one for one in due_on(WARNED_ON) if one.message_state == "delivered"]
    paid = [one for one in told if one.now_because in SETTLED]
    assert f.reaction is not None
    assert (f.reaction.told, f.reaction.settled) == (len(told), len(paid))
    assert 3 < len(paid) < len(told)
    assert f.reaction.settled_millimes == sum(one.balance_millimes for one in paid)
    days = [
        -1
        if one.last_paid < one.final_at
        else (one.last_paid.astimezone(zone()).date() - one.final_at.astimezone(zone()).date()).days
        for one in paid
    ]
    by_class = Counter(sum(number >= edge for edge in DAY_EDGES) for number in days)
    assert [cases for cases, _ in f.reaction.classes] == [by_class[n] for n in range(len(DAY_EDGES) + 1)]
    assert f.reaction.median_days == median(number for number in days if number >= 0)
    in_time = [one for one in paid if one.last_paid.astimezone(zone()).date() < one.told_cut]
    assert f.reaction.in_time == len(in_time)
    standing = {one.standing: one.cases for one in f.standings}
    assert standing[Standing.PAID_AFTER] == len(paid)
    assert sum(standing.values()) == f.buckets[Bucket.NOTIFIED]


def test_a_day_tells_up_to_when_payments_were_known_and_which_channel_was_late(weeks):
    f = day(STALE)
    late = [one for one in f.freshness if one.was_stale]
    assert [one.channel for one in late] == ["bank"]
    assert late[0].then == datetime(2026, 6, 24, 5, 30, tzinfo=zone())
    assert late[0].now == datetime(2026, 7, 3, 5, 30, tzinfo=zone())
    assert (f.phase, f.undecided, f.due, f.identity_holds) == (DayPhase.UNDECIDED, Undecided.STALE, 0, True)
    decided = day(WARNED_ON)
    assert {one.then for one in decided.freshness} == {datetime(2026, 6, 22, 5, 30, tzinfo=zone())}
    assert not any(one.was_stale for one in decided.freshness)


def test_a_day_on_which_nothing_is_sent_says_so(weeks):
    f = day(SUNDAY)
    assert (f.undecided, f.cycle, f.due) == (Undecided.CLOSED, None, 0)
    assert f.movements  # payments come on Sundays too


def test_before_the_first_feed_nobody_can_be_warned(database):
    assert day(FIRST).undecided is Undecided.NO_FEED


def test_messages_of_other_purposes_on_that_day_are_not_its_own(database, configure):
    configure(now="2026-06-12T10:00:00+01:00")
    welcomes = plan_notices(2, kind="welcome", purpose="welcome", cycle="welcome-2026-06-12")
    change("UPDATE cycle SET issue_date = :day WHERE id = :id", day=FIRST, id=welcomes)
    assert day(FIRST).messages == []


def test_a_day_that_should_have_been_decided_is_told_from_one_that_will_be(database):
    seeded(days=3)
    friday = date(2026, 6, 19)
    change("UPDATE watermark SET complete_until = '2026-06-19T05:00Z'")
    change(
        "INSERT INTO feed (content, name, source, location, manifest, digest, loaded_at) "
        "SELECT 'payments', 'x', 'landing', 'x', jsonb_build_object('complete_until', "
        "jsonb_object_agg(channel, complete_until)), 'x', '2026-06-19T06:00Z' FROM watermark"
    )
    assert day(friday, datetime(2026, 6, 19, 9, 0, tzinfo=zone())).undecided is Undecided.NOT_YET
    assert day(friday, datetime(2026, 6, 20, 9, 0, tzinfo=zone())).undecided is Undecided.NOT_RUN


def test_a_day_that_is_not_over_is_being_sent(weeks):
    f = day(LAST)
    assert f.phase is DayPhase.SENDING
    assert f.states[State.PLANNED]
    assert f.states[State.DELIVERED]
    assert f.identity_holds
    later = day(LAST - timedelta(days=1))
    assert later.phase in (DayPhase.AWAITING, DayPhase.SETTLED)


def test_reminders_are_messages_of_the_day_and_no_case_of_it(weeks):
    f = day(FIRST)
    (reminders,) = f.reminders
    assert reminders.code == "due_reminder"
    assert reminders.states.total() == len(
        rows("SELECT FROM notice WHERE cycle_id = (SELECT id FROM cycle WHERE key = :k)", k=f"cutoff-{FIRST}")
    )
    assert (f.due, f.identity_holds) == (0, True)


def test_what_else_a_day_brought_is_told_with_its_lists(weeks):
    for which in (date(2026, 7, 2), date(2026, 6, 29)):
        f = day(which)
        found = rows(
            "SELECT moment, verdict, reason, count(*) FROM cutoff_decision WHERE day = :day AND moment <> "
            "'due' "
            "GROUP BY 1, 2, 3",
            day=which,
        )
        assert {(one.moment, one.verdict, one.reason): one.cases for one in f.movements} == {
            tuple(row[:3]): row[3] for row in found
        }
        lists = rows(
            "SELECT kind, count(*) FROM cutoff_list JOIN cutoff_list_line ON list_id = id WHERE day = :day "
            "GROUP BY 1",
            day=which,
        )
        assert {one.kind: one.cases for one in f.lists} == dict(map(tuple, lists))
    assert "hand_over" in {one.kind for one in day(date(2026, 7, 2)).lists}


def test_a_day_that_has_not_come_is_refused(database):
    with pytest.raises(BadInput, match="has not come yet"):
        day(LAST + timedelta(days=1))


# --- A cycle ---------------------------------------------------------------------------------------------


def test_each_figure_of_a_cycle_is_the_count_of_its_rows(weeks):
    of_cycle = "cycle_id = (SELECT id FROM cycle WHERE key = '2026-05-T1')"
    cases = rows(f"SELECT * FROM cutoff_case WHERE {of_cycle}")
    f = cycle()
    assert f.identity_holds
    assert (f.cases, f.bills, f.unscheduled) == (len(cases), 400, 0)
    assert f.phase is CyclePhase.OPEN
    assert f.openings == Counter(one.opened_because for one in cases)
    assert set(f.openings) >= {"billed", "reversal"}

    standing = Counter({one.standing: one.cases for one in f.standings})
    states = Counter(one.state for one in cases)
    assert standing[Standing.PAID] + standing[Standing.PAID_AFTER] == sum(
        one.state in ("paid", "excluded") and one.reason in SETTLED for one in cases
    )
    assert standing[Standing.LEFT_OUT] + standing[Standing.LEFT_OUT_AFTER] == sum(
        one.state == "excluded" and one.reason not in SETTLED for one in cases
    )
    for state in ("warned", "warned_again", "handed_over"):
        assert standing[Standing(state)] == states[state]
    assert standing[Standing.LETTER] == states["not_warned"]
    assert standing.total() == len(cases)
    assert {one.reason: one.cases for one in f.left_out} == Counter(
        one.reason for one in cases if one.state == "excluded"
    )

    ours = "invoice_number LIKE '2026-05-T1-%'"
    told = rows(
        f"SELECT DISTINCT invoice_number, sequence FROM cutoff_decision WHERE {ours} "
        "AND verdict = 'warned' AND notice_kind = 'cutoff_warning'"
    )
    assert f.reaction is not None
    assert f.reaction.told == len(told)
    assert f.reaction.settled == standing[Standing.PAID_AFTER]
    letters = rows(
        f"SELECT DISTINCT invoice_number, sequence, reason FROM cutoff_decision WHERE {ours} "
        "AND verdict = 'letter'"
    )
    assert {one.reason: one.cases for one in f.not_warned} == Counter(one.reason for one in letters)
    assert {one.reason for one in f.not_warned} <= set(LETTERS)

    owed = rows(
        "SELECT sum(greatest(c.amount_due_millimes - paid.millimes, 0)) FROM (SELECT DISTINCT ON "
        "(invoice_number) * "
        f"FROM cutoff_case WHERE {of_cycle} ORDER BY invoice_number, sequence DESC) c CROSS JOIN LATERAL "
        "(SELECT coalesce(sum(counts_millimes), 0) AS millimes FROM payment p "
        "WHERE p.invoice_number = c.invoice_number) paid WHERE c.reason IS DISTINCT FROM 'cancelled'"
    )[0][0]
    assert f.owed_millimes == owed == sum(one.owed_millimes for one in f.ages)
    assert owed == sum(one.millimes for one in f.standings)
    assert f.billed_millimes == sum(one.amount_due_millimes for one in cases if one.sequence == 1)
    assert sum(one.bills for one in f.districts) == 400

    handed = rows(
        "SELECT count(*) FROM cutoff_list_line JOIN cutoff_list k ON k.id = list_id "
        f"WHERE kind = 'hand_over' AND {ours}"
    )[0][0]
    assert f.handed_over.cases == handed > 0
    messages = rows(
        "SELECT kind, count(*) FROM notice WHERE kind <> 'bill' "
        f"AND {ours.replace('invoice_number', 'subject')} GROUP BY 1"
    )
    assert {group.code: group.states.total() for group in f.messages} == dict(map(tuple, messages))
    assert sum(one.handed_over for one in f.days) == handed
    assert sum(one.warned for one in f.days) == len(told)


def test_a_cycle_before_its_deadline_and_one_that_is_over(database):
    seeded(days=1, cases=50)
    assert cycle(as_of=datetime(2026, 6, 13, tzinfo=zone())).phase is CyclePhase.BEFORE
    change("UPDATE cutoff_case SET state = 'paid', reason = 'paid' WHERE state = 'scheduled'")
    change(
        "INSERT INTO cutoff_decision (invoice_number, sequence, day, decided_at, moment, verdict, "
        "rules_version) "
        "SELECT invoice_number, sequence, '2026-06-13', '2026-06-13', 'feed', 'leave_out', 'x' FROM "
        "cutoff_case"
    )
    f = cycle()
    assert (f.phase, f.identity_holds, f.missing) == (CyclePhase.CLOSED, True, ())


def test_a_cycle_without_cases_has_figures(database):
    change("INSERT INTO cycle (key, issue_date) VALUES ('2026-06-T1', '2026-06-20')")
    f = cycle("2026-06-T1")
    assert (f.phase, f.cases, f.due_dates, f.reaction) == (CyclePhase.NO_CASES, 0, None, None)
    assert (f.identity_holds, f.owed_millimes, f.days) == (True, 0, [])


@pytest.mark.parametrize("key", ["2031-01-T1", f"cutoff-{WARNED_ON}"])
def test_what_is_no_billing_cycle_is_refused(weeks, key):
    with pytest.raises(BadInput, match=r"no billing cycle|there is no cycle"):
        cycle(key)


# --- The identity breaks ---------------------------------------------------------------------------------

_ONE = "(SELECT invoice_number, sequence FROM cutoff_decision WHERE cycle_id = :cycle AND {} LIMIT 1)"
_DAYS_BROKEN = {
    "was decided and is not there": "DELETE FROM cutoff_case WHERE (invoice_number, sequence) = "
    + _ONE.format("verdict = 'notify'"),
    "has lost its message": "DELETE FROM notice WHERE id = (SELECT notice_id FROM cutoff_decision "
    "WHERE cycle_id = :cycle AND verdict = 'notify' LIMIT 1)",
    "has a message that nothing decided": "DELETE FROM cutoff_decision WHERE verdict = 'notify' "
    "AND (invoice_number, sequence) = " + _ONE.format("verdict = 'notify'"),
    "that the runs wrote down are gone": "DELETE FROM cutoff_decision WHERE (invoice_number, sequence) = "
    + _ONE.format("moment = 'due' AND verdict = 'leave_out'"),
    "was decided twice": "INSERT INTO cutoff_decision (invoice_number, sequence, day, decided_at, moment, "
    "verdict, notice_kind, cycle_id, rules_version) SELECT invoice_number, sequence, day, decided_at, "
    "moment, "
    "verdict, notice_kind, cycle_id, rules_version FROM cutoff_decision WHERE cycle_id = :cycle "
    "AND moment = 'due' LIMIT 1",
    "was decided in a way that is in no bucket": "UPDATE cutoff_decision SET verdict = 'reopen' "
    "WHERE verdict = 'leave_out' AND (invoice_number, sequence) = "
    + _ONE.format("moment = 'due' AND verdict = 'leave_out'"),
    "counts as warned, and no warning was delivered": "UPDATE cutoff_case SET warned_at = NULL WHERE "
    "(invoice_number, sequence) IN (SELECT invoice_number, sequence FROM cutoff_decision "
    "WHERE cycle_id = :cycle)",
}
_CYCLES_BROKEN = {
    "does not follow the one before it": "DELETE FROM cutoff_case WHERE sequence = 1 AND invoice_number IN "
    "(SELECT invoice_number FROM cutoff_case WHERE sequence = 2 LIMIT 1)",
    "has moved, and nothing says why": "DELETE FROM cutoff_decision WHERE invoice_number IN "
    "(SELECT invoice_number FROM cutoff_case WHERE state = 'paid' LIMIT 1)",
    "and is on no list": "DELETE FROM cutoff_list_line WHERE invoice_number IN "
    "(SELECT invoice_number FROM cutoff_case WHERE state = 'handed_over')",
    "is closed without a reason": "UPDATE cutoff_case SET reason = NULL WHERE state = 'paid'",
    "its warning is not delivered": "UPDATE cutoff_decision SET notice_id = NULL WHERE verdict = 'notify'",
    "is open beside a later one": "ALTER TABLE cutoff_case DISABLE TRIGGER USER; UPDATE cutoff_case "
    "SET state = 'scheduled' WHERE (invoice_number, sequence) IN "
    "(SELECT invoice_number, 1 FROM cutoff_case WHERE sequence = 2)",
}


def missing_after(breakage: str, count: Callable[[Connection], DayFigures | CycleFigures]) -> tuple[str, ...]:
    """Break something, count, and take it back."""
    with connect() as connection:
        cycle = connection.scalar(text("SELECT id FROM cycle WHERE key = :k"), {"k": f"cutoff-{WARNED_ON}"})
        for statement in breakage.split("; "):
            connection.execute(text(statement), {"cycle": cycle})
        figures = count(connection)
        connection.rollback()
    assert not figures.identity_holds
    return figures.missing


def test_a_day_that_does_not_add_up_says_which_case(weeks):
    for told, breakage in _DAYS_BROKEN.items():
        missing = missing_after(breakage, lambda connection: day_figures(connection, WARNED_ON, AS_OF))
        assert any(told in one for one in missing), (told, missing)
    assert day(WARNED_ON).identity_holds


def test_a_cycle_that_does_not_add_up_says_which_case(weeks):
    for told, breakage in _CYCLES_BROKEN.items():
        missing = missing_after(breakage, lambda connection: cutoff_cycle_figures(connection, CYCLE, AS_OF))
        assert any(told in one for one in missing), (told, missing)
    assert cycle().identity_holds


def test_of_many_cases_that_break_it_ten_are_named_and_the_rest_are_counted(weeks):
    missing = missing_after(
        "UPDATE cutoff_case SET reason = NULL WHERE state = 'paid'",
        lambda connection: cutoff_cycle_figures(connection, CYCLE, AS_OF),
    )
    named = [one for one in missing if one.endswith("is closed without a reason")]
    assert len(named) == 11
    assert "more: " in named[-1]


def test_a_bill_that_was_told_and_has_no_case_is_missed_once_the_run_is_over(database):
    seeded(cases=60, days=2)
    change(
        "INSERT INTO extract (cycle_id, source, location, manifest, digest, declared_rows, "
        "declared_total_millimes, "
        "loaded_at) SELECT id, 'landing', 'x', '{}', 'x', 60, 0, now() FROM cycle WHERE key = '2026-05-T1'"
    )
    change(
        "INSERT INTO invoice (extract_id, row_number, cycle_id, invoice_number, revision, "
        "customer_reference, district, "
        "supply, period_start, period_end, amount_due_millimes, due_date, issue_date, estimated, bucket) "
        "SELECT 1, row_number() OVER (), cycle_id, invoice_number, 0, customer_reference, district, 'gas', "
        "'2026-03-01', '2026-05-01', amount_due_millimes, due_date, issue_date, false, 'noticed' FROM "
        "cutoff_case"
    )
    change("DELETE FROM cutoff_decision WHERE invoice_number = '2026-05-T1-7'")
    change("DELETE FROM cutoff_case WHERE invoice_number = '2026-05-T1-7'")
    under_way = cycle()
    assert (under_way.unscheduled, under_way.identity_holds) == (1, True)
    change(
        "INSERT INTO stage (cycle_id, name, started_at, finished_at, counts) "
        "SELECT id, 'schedule_cutoff', now(), now(), '{}' FROM cycle WHERE key = '2026-05-T1'"
    )
    assert cycle().missing == ("case 1 of invoice 2026-05-T1-7 was never opened",)
