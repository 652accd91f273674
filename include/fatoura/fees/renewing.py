"""The steps of the monthly run, each in a transaction of its own, that may be done again at any time.

Called by the workflow and by the command. Each step does what is missing by then: what was done is not done
twice, also where another run does it at the same time.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Connection, text

from fatoura.cycles.registry import cycle_id_of
from fatoura.cycles.stages import recorded_stage
from fatoura.database import begin, locked
from fatoura.errors import NeedsAPerson
from fatoura.fees.announcing import announce_years
from fatoura.fees.balance import check_books
from fatoura.fees.books import LOCK, Moment
from fatoura.fees.charging import charge_years
from fatoura.fees.figures import charges_by_state, count_subscribers, unanswered_files
from fatoura.fees.filing import make_file, write_files
from fatoura.fees.keeping import settle
from fatoura.fees.lapsing import known_day, lapse
from fatoura.fees.rules import FeeRules, fee_rules_on
from fatoura.fees.taking_up import take_up
from fatoura.fees.telling import open_news, plan_news
from fatoura.fees.years import month_of

if TYPE_CHECKING:
    from collections.abc import Iterator


class Unanswered(NeedsAPerson):
    """Charges that the billing system was told of have no answer."""


def begin_run(*, run_id: str | None = None) -> tuple[str, dict[str, Any]]:
    """Take up new subscriptions; return the key of the cycle that today's news is in, and counts."""
    with begin() as connection:
        key = open_news(connection)
    with _step(key, "take_up_subscriptions", run_id) as (step, counts):
        counts["taken_up"] = take_up(step.connection, step.moment)
    return key, counts


def announce(cycle: str, *, month: str = "", run_id: str | None = None) -> dict[str, Any]:
    """Announce years; return counts.

    :param cycle: the key of today's news, which the step is recorded with.
    :param month: such as ``2026-07``: only years that begin in it.
    """
    with _step(cycle, "announce", run_id) as (step, counts):
        counts |= announce_years(step.connection, step.moment, step.rules, month=month_of(month))
    return counts


def charge(cycle: str, *, month: str = "", run_id: str | None = None) -> dict[str, Any]:
    """Charge what was announced, and waive what is free; return counts."""
    with _step(cycle, "charge", run_id) as (step, counts):
        counts |= charge_years(step.connection, step.moment, step.rules, month=month_of(month))
    return counts


def write_file(cycle: str, *, run_id: str | None = None) -> dict[str, Any]:
    """Decide on the next file for the billing system, and write what has not been written; return counts.

    :raises FileNotWritten: when the outbox cannot be written to.
    """
    with _step(cycle, "decide_file", run_id) as (step, counts):
        counts["decided"] = make_file(step.connection, step.moment, step.rules) or "nothing"
    written = write_files()
    return {
        "files": [file.name for file in written],
        "charges": sum(file.charges for file in written),
        "charged_millimes": sum(file.charged_millimes for file in written),
        "credits": sum(file.credits for file in written),
        "credited_millimes": sum(file.credited_millimes for file in written),
    }


def renew(cycle: str, *, run_id: str | None = None) -> dict[str, Any]:
    """Book what waits, close what has ended, let lapse what is unpaid; return counts."""
    with _step(cycle, "renew", run_id) as (step, counts):
        closed, booked = settle(step.connection, step.moment, step.rules)
        known = known_day(step.connection)
        counts |= {**booked, **closed.counts, "lapsed": lapse(step.connection, step.moment)}
        counts["answers_known_until"] = str(known) if known else "not known"
    return counts


def plan(cycle: str, *, run_id: str | None = None) -> dict[str, Any]:
    """Plan what customers are to be told; return counts, and the key of the cycle that they are in."""
    with _step(cycle, "plan", run_id) as (step, counts):
        planned, _ = plan_news(step.connection, step.moment, step.rules, run_id=run_id)
        counts |= planned
        key = open_news(step.connection)
    return {**counts, "cycle": key}


def report(cycle: str, *, run_id: str | None = None) -> dict[str, Any]:
    """Count subscribers and charges, and insist that the books agree and the billing system answers.

    :raises BooksDiffer: when they do not agree.
    :raises Unanswered: when it has not answered for charges that it was told of long enough ago.
    """
    moment = Moment.now(run_id)
    within = fee_rules_on(moment.day).answered_within_days
    with recorded_stage(cycle_id_of(cycle), "count", run_id=run_id) as stage:
        with begin() as connection:
            stage.counts["subscribers"] = count_subscribers(connection, moment.day)
            for one in charges_by_state(connection):
                stage.counts[one.state] = one.charges
            unanswered = unanswered_files(connection, moment.day, within)
        stage.counts["unanswered"] = sum(file.unanswered for file in unanswered)
    check_books().insist()
    if unanswered:
        told = "; ".join(f"{file.file}: {file.unanswered} of {file.charges} charges" for file in unanswered)
        raise Unanswered(
            f"the billing system has not answered within {within} days: {told}. Ask what became of them; its "
            "answers are taken as soon as they come, and nobody lapses for want of one before"
        )
    return stage.counts


class _Step(NamedTuple):
    """What a step works with."""

    connection: Connection
    moment: Moment
    rules: FeeRules


@contextmanager
def _step(cycle: str, name: str, run_id: str | None) -> Iterator[tuple[_Step, dict[str, Any]]]:
    """Open the transaction of a step, and record its counts once it is committed."""
    moment = Moment.now(run_id)
    rules = fee_rules_on(moment.day)
    with recorded_stage(cycle_id_of(cycle), name, run_id=run_id) as stage, locked(LOCK) as connection:
        yield _Step(connection, moment, rules), stage.counts


def preview(*, month: str = "") -> dict[str, Any]:
    """Tell what a run would do now, as counts; nothing is kept, written or sent."""
    moment = Moment.now("trial run")
    rules, only = fee_rules_on(moment.day), month_of(month)
    with locked(LOCK) as connection:
        counts: dict[str, Any] = {"taken_up": take_up(connection, moment)}
        counts |= announce_years(connection, moment, rules, month=only)
        counts |= charge_years(connection, moment, rules, month=only)
        name = make_file(connection, moment, rules)
        told = connection.execute(
            text("SELECT charges, credits FROM fee_file WHERE name = :name"), {"name": name}
        ).one_or_none()
        counts |= {"charges_in_file": told.charges, "credits_in_file": told.credits} if told else {}
        closed, booked = settle(connection, moment, rules)
        counts |= {**booked, **closed.counts, "lapsed": lapse(connection, moment)}
        connection.rollback()
    return counts
