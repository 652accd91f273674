"""The cases that a page is about, each once and in one state, and what is counted over them.

Called by the figures of a day and of a billing cycle: each says which cases, this module says how they stand,
what was paid after a warning and what is still owed. What leaves it is counts, codes, amounts and instants.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from fatoura.cutoff.reasons import SETTLED, Reason
from fatoura.cutoff.rules import read_rules
from fatoura.settings import get_settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import date

    from sqlalchemy import Connection

DAY_EDGES = (0, 1, 2, 3, 4, 5, 6, 7, 8, 11, 15, 22)
"""Bounds between the classes of days from a warning to the payment; the first class was paid before it."""

AGE_EDGES = (1, 8, 15, 31, 61, 91)
"""Bounds between the classes of days since the last day to pay; the first class is not overdue."""

NAMED = 10
"""How many cases of a kind are named that break the identity; the rest is a count."""

# What nobody owes any more although no payment says so: another bill holds it, or the bill is void.
_VOID = (Reason.PAID_BY_LATER_BILL, Reason.CREDIT_BALANCE, Reason.CANCELLED, Reason.CORRECTED)


class Standing(StrEnum):
    """Where a case stands now. Each case is in exactly one."""

    PAID = "paid"  # without having been warned
    PAID_AFTER = "paid_after"  # a warning had been delivered
    LEFT_OUT = "left_out"
    LEFT_OUT_AFTER = "left_out_after"
    TO_COME = "to_come"  # not due yet
    DUE = "due"  # and waits for a daily run
    UNDER_WAY = "under_way"  # its warning has no final word yet
    WARNED = "warned"
    WARNED_AGAIN = "warned_again"
    HANDED_OVER = "handed_over"
    LETTER = "letter"


CLOSED_STANDINGS = (Standing.PAID, Standing.PAID_AFTER, Standing.LEFT_OUT, Standing.LEFT_OUT_AFTER)


@dataclass(frozen=True)
class Kinds:
    """The kinds of notice of the rules' steps, over all versions, for old days are reported on too."""

    reminders: list[str]
    first: list[str]
    second: list[str]

    @property
    def warnings(self) -> list[str]:
        """Those that announce a cut."""
        return [*self.first, *self.second]


@dataclass(frozen=True)
class Stood:
    """How many cases are in a standing, and what is still owed: of a bill's cases the last one owes it."""

    standing: Standing
    cases: int
    millimes: int


@dataclass(frozen=True)
class LeftOut:
    """How many cases were closed for a reason: before a warning, and later. Amounts are what was owed."""

    reason: str
    before: int
    later: int
    millimes: int

    @property
    def settled(self) -> bool:
        """Whether a payment brought it about."""
        return self.reason in SETTLED

    @property
    def cases(self) -> int:
        """All of them."""
        return self.before + self.later


@dataclass(frozen=True)
class NotWarned:
    """How many cases need a letter for a reason; how many are on a letter list, and were closed since."""

    reason: str
    cases: int
    listed: int
    closed: int
    millimes: int


@dataclass(frozen=True)
class Reaction:
    """What was paid after a warning had been delivered. Days are local days; amounts what was owed then.

    :param told: cases whose warning was delivered.
    :param classes: cases and amounts of those that were settled, by `DAY_EDGES`.
    :param median_days: over those that were settled; nothing when none was.
    :param in_time: settled before the day of the cut that they had been told.
    :param partly: not settled, but something was paid since; and how much.
    """

    told: int
    told_millimes: int
    classes: tuple[tuple[int, int], ...]
    median_days: float | None
    in_time: int
    partly: int
    partly_millimes: int

    @property
    def settled(self) -> int:
        """How many of them were settled."""
        return sum(cases for cases, _ in self.classes)

    @property
    def settled_millimes(self) -> int:
        """What was owed of those."""
        return sum(millimes for _, millimes in self.classes)

    @property
    def crossed(self) -> int:
        """How many had paid already when the warning arrived: their payment was posted later."""
        return self.classes[0][0]


@dataclass(frozen=True)
class Debts:
    """What was owed, and is owed now, in one district or class of age.

    :param code: the district's code, or the number of the class of `AGE_EDGES`.
    :param cases: bills that something is still owed of.
    :param open_millimes: owed, and on its way to a warning, a letter or a team.
    :param left_out_millimes: owed, and left out by a rule.
    :param gone_millimes: paid since, or void.
    """

    code: str
    cases: int
    bills: int
    open_millimes: int
    left_out_millimes: int
    gone_millimes: int
    name_fr: str | None = None
    name_ar: str | None = None

    @property
    def owed_millimes(self) -> int:
        """What is owed now."""
        return self.open_millimes + self.left_out_millimes

    @property
    def whole_millimes(self) -> int:
        """What was owed to begin with."""
        return self.owed_millimes + self.gone_millimes


@dataclass(frozen=True)
class Chosen:
    """Runs statements over the cases that were laid out, with the values that all of them may name."""

    connection: Connection
    values: dict[str, Any]

    def rows(self, statement: str, **more: Any) -> Sequence[Any]:
        """Return all rows of a statement."""
        return self.connection.execute(text(statement), {**self.values, **more}).all()


def kinds_of_steps() -> Kinds:
    """Return the kinds of notice that the rules name.

    :raises RulesError: when the file of rules is missing or wrong.
    """
    steps = [step for version in read_rules(get_settings().cutoff_rules).versions for step in version.steps]
    return Kinds(
        reminders=sorted({step.notice for step in steps if step.days_before_due}),
        first=sorted({step.notice for step in steps if step.overdue}),
        second=sorted({step.notice for step in steps if step.days_before_cut}),
    )


def _listed(*codes: str) -> str:
    return ", ".join(f"'{code}'" for code in sorted(codes))


_SETTLED = _listed(*SETTLED)

# One row a case; on a day, one row a case and kind of warning.
_LAY_OUT = f"""
CREATE TEMPORARY TABLE line ON COMMIT DROP AS
WITH base AS MATERIALIZED (
    SELECT c.invoice_number, c.sequence, c.district, c.due_date, c.state, c.reason, c.state_since, c.cut_from,
        c.amount_due_millimes, c.opened_because, c.warned_at, {{columns}},
        CASE WHEN asked.message_state = 'delivered' THEN
            CASE asked.message_id WHEN c.warning_id THEN c.warned_at
                WHEN c.second_warning_id THEN c.warned_again_at ELSE asked.final_at END END AS told_at,
        c.under_way IS NOT NULL AS is_under_way, c.under_way = asked.message_id AS is_awaited,
        c.warn_from > :today AS is_to_come,
        c.sequence = max(c.sequence) OVER (PARTITION BY c.invoice_number) AS is_last_here
    FROM cutoff_case c {{join}} ({{asked}}) asked USING (invoice_number, sequence) WHERE {{which}}
), paid AS (
    SELECT base.invoice_number, base.sequence, sum(p.counts_millimes) AS millimes,
        max(p.paid_at) FILTER (WHERE p.counts_millimes > 0 AND p.paid_at <= base.state_since) AS last_at
    FROM base JOIN payment p USING (invoice_number)
    GROUP BY base.invoice_number, base.sequence
)
SELECT base.*, coalesce(paid.last_at, base.state_since) AS paid_at,
    CASE WHEN base.state = 'excluded' AND base.reason IN ({_listed(*_VOID)}) THEN 0
        ELSE greatest(base.amount_due_millimes - coalesce(paid.millimes, 0), 0) END AS owed_millimes,
    CASE
        WHEN state = 'scheduled' THEN CASE WHEN is_under_way THEN '{Standing.UNDER_WAY}'
            WHEN is_to_come THEN '{Standing.TO_COME}' ELSE '{Standing.DUE}' END
        WHEN state IN ('warned', 'warned_again', 'handed_over') THEN state
        WHEN state = 'not_warned' THEN '{Standing.LETTER}'
        WHEN reason IN ({_listed(*SETTLED)}) THEN
            CASE WHEN told_at IS NULL THEN '{Standing.PAID}' ELSE '{Standing.PAID_AFTER}' END
        WHEN state = 'excluded' THEN
            CASE WHEN told_at IS NULL THEN '{Standing.LEFT_OUT}' ELSE '{Standing.LEFT_OUT_AFTER}' END
    END AS standing
FROM base LEFT JOIN paid USING (invoice_number, sequence)
"""


def lay_out_decided(
    connection: Connection, decided: str, columns: Sequence[str], *, today: date, **values: Any
) -> Chosen:
    """Leave the cases that something was decided of in a table `line` of this transaction, as they stand now.

    :param decided: a query of `invoice_number`, `sequence`, of the warning `message_id`, `message_state` and
        `final_at`, of `asked_millimes` (owed when it was decided), and of
    :param columns: whatever else the caller counts by.
    """
    named_columns = ", ".join(f"asked.{name}" for name in (*_ASKED, *columns))
    return _lay_out(
        connection, decided, columns=named_columns, join="JOIN", which="true", today=today, **values
    )


def lay_out_cycle(connection: Connection, warned: str, *, today: date, **values: Any) -> Chosen:
    """Leave all cases of a billing cycle, the value `cycle`, in a table `line`, as they stand now.

    :param warned: of those that a warning was planned for, a query as `lay_out_decided` takes it.
    """
    named_columns = ", ".join(f"asked.{name}" for name in _ASKED)
    named_columns = named_columns.replace(
        "asked.asked_millimes", "coalesce(asked.asked_millimes, c.amount_due_millimes) AS asked_millimes"
    )
    return _lay_out(
        connection,
        warned,
        columns=named_columns,
        join="LEFT JOIN",
        which="c.cycle_id = :cycle",
        today=today,
        **values,
    )


_ASKED = ("message_id", "message_state", "asked_millimes")


def _lay_out(
    connection: Connection,
    asked: str,
    *,
    columns: str,
    join: str,
    which: str,
    today: date,
    **values: Any,
) -> Chosen:
    statement = _LAY_OUT.format(asked=asked, columns=columns, join=join, which=which)
    connection.execute(text(statement), {"today": today, **values})
    connection.execute(text("ANALYZE line"))
    return Chosen(connection, {"today": today, **values})


def count_standings(chosen: Chosen, condition: str = "true") -> list[Stood]:
    """Count the cases of a condition on `line` by how they stand, in the order of `Standing`."""
    found = {
        code: Stood(Standing(code), cases, int(millimes))
        for code, cases, millimes in chosen.rows(
            "SELECT standing, count(*), coalesce(sum(owed_millimes) FILTER (WHERE is_last_here), 0) "
            f"FROM line WHERE standing IS NOT NULL AND {condition} GROUP BY standing"
        )
    }
    return [found[standing] for standing in Standing if standing in found]


def count_reaction(chosen: Chosen) -> Reaction | None:
    """Count what was paid after the warnings of `line`; nothing when none was delivered."""
    told, told_millimes, median, in_time, partly, partly_millimes = chosen.rows(
        f"""
        SELECT count(*), coalesce(sum(asked_millimes), 0),
            percentile_cont(0.5) WITHIN GROUP (ORDER BY days) FILTER (WHERE settled AND days >= 0),
            count(*) FILTER (WHERE settled AND paid_on < cut_from),
            count(*) FILTER (WHERE NOT settled AND less > 0),
            coalesce(sum(less) FILTER (WHERE NOT settled AND less > 0), 0)
        FROM ({_REACTION}) told
        """,
        zone=get_settings().timezone,
    )[0]
    if not told:
        return None
    by_class = {
        number: (cases, int(millimes))
        for number, cases, millimes in chosen.rows(
            f"SELECT width_bucket(days, CAST(:edges AS int[])), count(*), sum(asked_millimes) "
            f"FROM ({_REACTION}) told WHERE settled GROUP BY 1",
            zone=get_settings().timezone,
            edges=list(DAY_EDGES),
        )
    }
    return Reaction(
        told=told,
        told_millimes=int(told_millimes),
        classes=tuple(by_class.get(number, (0, 0)) for number in range(len(DAY_EDGES) + 1)),
        median_days=median,
        in_time=in_time,
        partly=partly,
        partly_millimes=int(partly_millimes),
    )


# Who paid on the day of the warning before it arrived is told apart from who paid on that day after it.
_REACTION = f"""
    SELECT asked_millimes, cut_from, standing = '{Standing.PAID_AFTER}' AS settled,
        asked_millimes - owed_millimes AS less, (paid_at AT TIME ZONE :zone)::date AS paid_on,
        CASE WHEN paid_at < told_at THEN -1
            ELSE (paid_at AT TIME ZONE :zone)::date - (told_at AT TIME ZONE :zone)::date END AS days
    FROM line WHERE told_at IS NOT NULL
"""


def count_debts(chosen: Chosen, *, whole: str, on: date) -> tuple[list[Debts], list[Debts]]:
    """Count what is owed by age, in the order of `AGE_EDGES`, and by district, the largest debt first.

    Of a bill with several cases the last one tells.

    :param whole: the column of `line` that says what was owed to begin with.
    :param on: the day on which a debt's age is counted.
    """
    left_out = f"standing IN ('{Standing.LEFT_OUT}', '{Standing.LEFT_OUT_AFTER}', '{Standing.PAID}', "
    left_out += f"'{Standing.PAID_AFTER}')"
    ages: dict[str, Counter[str]] = {}
    districts: dict[str, Counter[str]] = {}
    for age, district, *counted in chosen.rows(
        f"""
        SELECT width_bucket(CAST(:on AS date) - due_date, CAST(:edges AS int[]))::text, district,
            count(*) FILTER (WHERE owed_millimes > 0), count(*),
            coalesce(sum(owed_millimes) FILTER (WHERE NOT {left_out}), 0)::bigint,
            coalesce(sum(owed_millimes) FILTER (WHERE {left_out}), 0)::bigint,
            coalesce(sum(greatest({whole} - owed_millimes, 0)), 0)::bigint
        FROM line WHERE is_last_here GROUP BY 1, 2
        """,
        on=on,
        edges=list(AGE_EDGES),
    ):
        for groups, code in ((ages, age), (districts, district)):
            groups.setdefault(code, Counter()).update(dict(zip(_SUMS, counted, strict=True)))
    names = {code: (fr, ar) for code, fr, ar in chosen.rows("SELECT code, name_fr, name_ar FROM district")}

    def debts(groups: dict[str, Counter[str]], code: str) -> Debts:
        name_fr, name_ar = names.get(code, (None, None))
        return Debts(code, **{name: groups[code][name] for name in _SUMS}, name_fr=name_fr, name_ar=name_ar)

    by_age = [debts(ages, code) for code in sorted(ages, key=int)]
    by_district = [debts(districts, code) for code in districts]
    return by_age, sorted(by_district, key=lambda one: (-one.owed_millimes, -one.whole_millimes, one.code))


_SUMS = ("cases", "bills", "open_millimes", "left_out_millimes", "gone_millimes")


def broken_cases(chosen: Chosen) -> Iterator[str]:
    """Name cases of `line` that are in no state, or in one that their own columns deny."""
    for finding, condition in (
        ("is in no state that a report knows", "standing IS NULL"),
        (
            "counts as warned, and no warning was delivered",
            "state IN ('warned', 'warned_again', 'handed_over') AND warned_at IS NULL",
        ),
        (
            "may be cut, and no day was told",
            "state IN ('warned', 'warned_again', 'handed_over') AND cut_from IS NULL",
        ),
        ("is closed without a reason", "state IN ('paid', 'excluded', 'not_warned') AND reason IS NULL"),
    ):
        yield from named(
            chosen, f"SELECT DISTINCT invoice_number, sequence FROM line WHERE {condition}", finding
        )


def named(chosen: Chosen, broken: str, finding: str) -> Iterator[str]:
    """Name the cases that a query of `invoice_number, sequence` finds, the first ten of them."""
    rows = chosen.rows(f"SELECT *, count(*) OVER () FROM ({broken}) broken ORDER BY 1, 2 LIMIT {NAMED}")
    for invoice_number, sequence, *_ in rows:
        yield f"case {sequence} of invoice {invoice_number} {finding}"
    if rows and (more := rows[0][-1] - len(rows)):
        yield f"{more} more: {finding}"
