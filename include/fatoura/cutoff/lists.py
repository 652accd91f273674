"""Lists for people: letters to write, teams to send, teams to call back. Made in the database, once a day.

Called by the workflows and the command. A list that is made again on its day takes up what has come since.
How a list is written down for people is `fatoura.cutoff.list_files`' work.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import text

from fatoura import clock
from fatoura.calendar import load_calendar
from fatoura.cutoff.cases import LOCK, Moment, close_cases
from fatoura.cutoff.freshness import (
    Freshness,
    freshness,
    freshness_of_morning,
    insist,
    is_at_stake,
    watermarks_document,
)
from fatoura.cutoff.rules import Version, rules_on
from fatoura.cutoff.standing import weigh
from fatoura.database import connect, locked

if TYPE_CHECKING:
    from datetime import date

    from sqlalchemy import Connection


class ListKind(StrEnum):
    """What a list is for."""

    LETTERS = "letters"  # customers whom no message could warn
    HAND_OVER = "hand_over"  # warned, past their day, still unpaid this morning: for the field teams
    CALL_BACK = "call_back"  # handed over, and settled or left out since: nobody goes there any more


@dataclass(frozen=True)
class ListMade:
    """A list as it stands now.

    :param list_id: null when there is nothing to list, and no list was made.
    :param added: lines that this run has added.
    :param lines: all of them.
    :param closed: cases that were found to be settled or left out, and are not on it.
    """

    kind: ListKind
    day: date
    list_id: int | None
    added: int
    lines: int
    closed: int = 0


# Each case is looked up by its key, never by its state: the planner's statistics know nothing of those that
# have moved just now, and it would go through all that was weighed once for each of them.
_CASES = """standing s CROSS JOIN LATERAL (
            SELECT * FROM cutoff_case k
            WHERE k.invoice_number = s.invoice_number AND k.sequence = s.sequence OFFSET 0
        ) c"""
_ADD = {
    ListKind.LETTERS: f"""
        SELECT c.invoice_number, c.sequence, s.balance_millimes, d.notice_id, NULL::timestamptz, NULL::bigint
        FROM {_CASES}
        LEFT JOIN LATERAL (
            SELECT notice_id FROM cutoff_decision d
            WHERE d.invoice_number = c.invoice_number AND d.sequence = c.sequence AND d.verdict = 'letter'
            ORDER BY d.id DESC LIMIT 1
        ) d ON true
        WHERE c.state = 'not_warned'
    """,
    ListKind.HAND_OVER: f"""
        SELECT c.invoice_number, c.sequence, s.balance_millimes, c.warning_id, c.warned_at, r.id
        FROM {_CASES}
        LEFT JOIN LATERAL (
            SELECT id FROM receipt WHERE notice_id = c.warning_id AND status = 'delivered'
            ORDER BY match = 'moved' DESC, id LIMIT 1
        ) r ON true
        WHERE c.state = 'handed_over'
    """,
    ListKind.CALL_BACK: f"""
        SELECT c.invoice_number, c.sequence, s.balance_millimes, c.warning_id, c.warned_at, NULL::bigint
        FROM {_CASES}
    """,
}
_NOT_LISTED = """NOT EXISTS (
    SELECT FROM cutoff_list_line l JOIN cutoff_list k ON k.id = l.list_id
    WHERE k.kind = '{kind}' AND l.invoice_number = c.invoice_number AND l.sequence = c.sequence
)"""
_WHICH = {
    ListKind.LETTERS: "c.state = 'not_warned' AND " + _NOT_LISTED.format(kind=ListKind.LETTERS),
    ListKind.CALL_BACK: "c.state IN ('paid', 'excluded') AND "
    + _NOT_LISTED.format(kind=ListKind.CALL_BACK)
    + " AND NOT "
    + _NOT_LISTED.format(kind=ListKind.HAND_OVER),
}


def list_letters(*, run_id: str | None = None) -> ListMade:
    """List those whom no message could warn, and who still owe: each case once.

    :raises FeedStale: when the payments of a channel are not known up to now.
    """
    return _make(ListKind.LETTERS, run_id)


def list_call_backs(*, run_id: str | None = None) -> ListMade:
    """List the handed-over cases that have been settled or left out since. Each once; needs no fresh feed."""
    return _make(ListKind.CALL_BACK, run_id)


def _make(kind: ListKind, run_id: str | None) -> ListMade:
    day = clock.today()
    rules = rules_on(day)
    with locked(LOCK) as connection:
        channels = freshness(connection, rules)
        if kind is ListKind.LETTERS:
            insist(connection, channels, "no letters are listed")
        weigh(connection, _WHICH[kind], day=day, rules=rules)
        closed = 0
        if kind is ListKind.LETTERS:
            closed = sum(
                close_cases(connection, Moment("due", day, rules.version, run_id), letters=False).values()
            )
        return _write(connection, kind, day, rules, channels, run_id, closed)


def why_no_hand_over() -> str | None:
    """Tell why nothing can be handed over today, whatever the feeds say; null when something may be."""
    day = clock.today()
    with connect() as connection:
        if not load_calendar(connection).may_cut(day, rules_on(day).no_cut_on):
            return "supply is not cut on this day"
    return None if is_at_stake() else "no feed of payments has ever come, and no case is due"


def hand_over(*, run_id: str | None = None) -> ListMade:
    """Hand over to the field teams who was warned, is past the day that was told, and owes it this morning.

    That is: every warning that the rules ask for was delivered, the notice period has run in full since the
    first was, today supply may be cut, and no payment or fact stands against it. Nothing is cut by this: it
    is a list, with the proof of notice of each line.

    :raises FeedStale: when the payments are not known up to this morning: nothing is handed over.
    """
    day = clock.today()
    rules = rules_on(day)
    with locked(LOCK) as connection:
        channels = freshness_of_morning(connection, rules)
        insist(connection, channels, "nothing is handed over")
        closed = 0
        if load_calendar(connection).may_cut(day, rules.no_cut_on):
            weigh(
                connection,
                _MAY_BE_CUT,
                day=day,
                rules=rules,
                state="warned_again" if rules.second_warning else "warned",
                notice_days=rules.warning.notice_days,
                zone=clock.zone().key,
            )
            moment = Moment("hand_over", day, rules.version, run_id)
            closed = sum(close_cases(connection, moment, letters=False).values())
            connection.execute(text(_HAND_OVER), moment.values)
        else:
            weigh(connection, "false", day=day, rules=rules)
        return _write(connection, ListKind.HAND_OVER, day, rules, channels, run_id, closed)


# Who was warned under rules without a second warning waits for it where rules with one are in force now.
_MAY_BE_CUT = """c.state IN ('warned', 'warned_again')
    AND (c.state = :state OR c.state = 'warned_again') AND c.under_way IS NULL AND c.cut_from <= :day
    AND (c.warned_at AT TIME ZONE :zone)::date + CAST(:notice_days AS int) <= CAST(:day AS date)"""
_HAND_OVER = """
WITH handed AS (
    UPDATE cutoff_case c SET state = 'handed_over', state_since = :now
    FROM standing s
    WHERE c.invoice_number = s.invoice_number AND c.sequence = s.sequence AND s.reason IS NULL
        AND c.state IN ('warned', 'warned_again')
    RETURNING c.invoice_number, c.sequence, c.cut_from, c.warning_id, s.balance_millimes, s.evidence
)
INSERT INTO cutoff_decision (invoice_number, sequence, day, decided_at, moment, verdict, notice_id,
    balance_millimes, cut_from, evidence, rules_version, run_id)
SELECT invoice_number, sequence, :day, :now, :moment, 'hand_over', warning_id, balance_millimes, cut_from,
    evidence, :rules, CAST(:run_id AS text)
FROM handed
"""


def _write(
    connection: Connection,
    kind: ListKind,
    day: date,
    rules: Version,
    channels: list[Freshness],
    run_id: str | None,
    closed: int,
) -> ListMade:
    """Write the cases of `standing` onto the day's list."""
    values = {"kind": kind.value, "day": day}
    there = text("SELECT id FROM cutoff_list WHERE kind = :kind AND day = :day")
    wanted = connection.scalar(text(f"SELECT count(*) FROM ({_ADD[kind]}) wanted"))
    list_id: int | None = connection.scalar(there, values)
    if wanted and list_id is None:
        list_id = connection.scalar(
            text(
                "INSERT INTO cutoff_list (kind, day, made_at, watermarks, rules_version, run_id) "
                "VALUES (:kind, :day, :now, CAST(:watermarks AS jsonb), :rules, :run_id) RETURNING id"
            ),
            values
            | {
                "now": clock.now(),
                "watermarks": json.dumps(watermarks_document(channels)),
                "rules": rules.version,
                "run_id": run_id,
            },
        )
    if list_id is None:
        return ListMade(kind, day, None, 0, 0, closed)
    added = connection.execute(
        text(
            "INSERT INTO cutoff_list_line (list_id, invoice_number, sequence, balance_millimes, notice_id, "
            f"delivered_at, receipt_id) SELECT :list, line.* FROM ({_ADD[kind]}) line ORDER BY 1, 2 "
            "ON CONFLICT DO NOTHING"
        ),
        {"list": list_id},
    ).rowcount
    lines = connection.scalar(
        text("SELECT count(*) FROM cutoff_list_line WHERE list_id = :list"), {"list": list_id}
    )
    return ListMade(kind, day, list_id, added, lines or 0, closed)
