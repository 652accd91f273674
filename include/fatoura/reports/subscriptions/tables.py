"""The figures about subscriptions as plain tables: one CSV file and one sheet of the workbook each.

Called by the writer. Codes, integers and millimes for programs; the words for people are the catalogue's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fatoura.notices.states import State
from fatoura.reports.subscriptions.page import cost_class
from fatoura.reports.tables import Field, Said, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fatoura.fees.figures import ChargesInState, Churn, CostClass, MessageCost, MonthOfFees, Outstanding
    from fatoura.reports.subscriptions.enrolment import Left
    from fatoura.reports.subscriptions.figures import (
        DayCount,
        District,
        Forgone,
        MonthFigures,
        ServiceFigures,
    )
    from fatoura.reports.words import Words

_COST = Field("cost_millimes", "millimes")
_MONTH = Field("month", "day")
_REASON = Field("reason", "text", "fee_because", 44)


def month_tables(f: MonthFigures, words: Words) -> list[Table]:
    """Return all tables of a month. Tables without rows are there too: a reader finds the same files."""
    return [
        _summary(_month_summary(f, words)),
        _counts("subscribers_by_day", "day", "state", f.days, "subscription_state"),
        Table(
            "groups_of_subscribers",
            (
                Field("dimension", "text", "subscription_dimension", 20),
                Field("group", "text", "", 26),
                Field("before"),
                Field("now"),
            ),
            [
                (name, Said(one.code, words.of_code(_HEADINGS[name], one.code)), one.before, one.now)
                for name, rows in f.standings.items()
                for one in rows
            ],
        ),
        _districts(f.districts),
        Table(
            "came",
            (Field("channel", "text", "subscription_channel"), Field("first_time"), Field("anew")),
            [tuple(one) for one in f.came],
        ),
        _left("left", f.left),
        Table(
            "coupons",
            (
                Field("coupon_outcome", "text", "coupon_outcome", 40),
                Field("reason", "text", "coupon_reason", 56),
                Field("coupons"),
            ),
            [tuple(one) for one in f.enrolment.coupons],
        ),
        Table(
            "web_acts",
            (
                Field("web_action", "text", "web_action", 36),
                Field("web_outcome", "text", "web_outcome", 46),
                Field("visits"),
            ),
            [(one.action, one.outcome or "unfinished", one.visits) for one in f.enrolment.web],
        ),
        Table(
            "welcomes",
            (Field("state", "text", "state", 30), Field("messages")),
            [(state.value, f.enrolment.welcomes.states[state]) for state in State],
        ),
        Table(
            "resting",
            (Field("reason", "text", "suspended_because", 44), Field("subscriptions")),
            [(one.code or "unknown", one.number) for one in f.enrolment.suspended],
        ),
        Table(
            "departures",
            (Field("departure_outcome", "text", "departure_outcome", 44), Field("count")),
            [tuple(one) for one in f.enrolment.departures],
        ),
        Table(
            "inbound",
            (Field("inbound_outcome", "text", "inbound_outcome", 44), Field("count")),
            [tuple(one) for one in f.enrolment.inbound],
        ),
        Table(
            "fee_movements",
            (Field("movement", "text", "fee_movement", 52), Field("amount_millimes", "millimes")),
            [
                ("opening", f.opening.balance),
                *((name, getattr(f.fees, name)) for name in f.fees._fields if name != "month"),
                ("closing", f.closing.balance),
            ],
        ),
        _forgone(f.forgone),
        Table(
            "answers",
            (
                Field("answer", "text", "fee_answer", 36),
                Field("answers"),
                Field("unclear"),
                Field("amount_millimes", "millimes"),
            ),
            [(one.result, one.answers, one.unclear, one.millimes) for one in f.answers],
        ),
        _charges("years", f.years),
        _costs(f.costs, f.segment_price_millimes),
    ]


def service_tables(f: ServiceFigures, words: Words) -> list[Table]:
    """Return all tables of the whole service."""
    return [
        _summary(_service_summary(f)),
        *(
            _counts(f"over_time_{name}", "day", name, [one for one in rows if one], _HEADINGS[name])
            for name, rows in f.counted.items()
        ),
        _churn(f.churn),
        Table(
            "enrolment_by_month",
            (
                _MONTH,
                *map(Field, ("coupons", "refused_coupons", "web", "delivered", "undelivered", "proven")),
            ),
            [tuple(one) for one in f.enrolment],
        ),
        _left("left_so_far", f.left),
        _fees(f.fees, f.outstanding),
        _forgone(f.forgone),
        _charges("charges", f.charges),
        _costs(f.costs, f.segment_price_millimes),
        _classes(f.classes, words),
        _districts(f.districts),
        Table(
            "districts_over_time",
            (Field("code", "text"), _MONTH, Field("subscribers")),
            [
                (one.code, month, subscribers)
                for one in f.districts
                for month, subscribers in zip(f.months, one.over_time, strict=True)
                if subscribers is not None
            ],
        ),
    ]


_HEADINGS = {"state": "subscription_state", "channel": "subscription_channel", "language": "language"}


def _summary(facts: list[tuple[str, Any]]) -> Table:
    return Table("summary", (Field("fact", "text", "fact", 56), Field("value", "text", "", 24)), facts)


def _month_summary(f: MonthFigures, words: Words) -> list[tuple[str, Any]]:
    return [
        ("month", Said(f"{f.month:%Y-%m}", words.month(f.month))),
        ("as_of", f.as_of),
        ("phase", Said(f.phase.value, words("subscription_phase", f.phase.value))),
        ("figures_agree", not f.missing),
        ("counted_on", f.counted_on),
        ("at_start", f.churn.at_start),
        ("joined", f.churn.joined),
        ("anew", f.churn.anew),
        ("left", f.churn.left),
        ("opted_out", f.churn.opted_out),
        ("contracts_ended", f.churn.contracts_ended),
        ("at_end", f.churn.at_end),
        ("lapsed", f.churn.lapsed),
        ("back", f.churn.back),
        ("left_lapsed", f.churn.left_lapsed),
        ("lost", f.churn.lost),
        ("set_aside", f.enrolment.set_aside),
        ("proven", f.enrolment.proven),
        ("unproven", f.enrolment.unproven),
        ("owed_millimes", f.closing.owed),
        ("owed_back_millimes", f.closing.owed_back),
        ("kept_millimes", f.fees.kept),
        ("segments", f.segments),
        ("segment_price_millimes", f.segment_price_millimes),
        ("cost_millimes", f.cost_millimes),
        ("annual_fee_millimes", f.annual_fee_millimes),
    ]


def _service_summary(f: ServiceFigures) -> list[tuple[str, Any]]:
    segments = sum(one.segments for one in f.costs)
    return [
        ("as_of", f.as_of),
        ("since", f.began),
        ("figures_agree", not f.missing),
        ("counted_on", f.counted_on),
        ("subscribers", f.subscribers),
        ("charges_compared", f.books.charges),
        ("owed_millimes", f.outstanding[-1].owed),
        ("owed_back_millimes", f.outstanding[-1].owed_back),
        ("costs_from", f.costs_from),
        ("segments", segments),
        ("segment_price_millimes", f.segment_price_millimes),
        ("cost_millimes", segments * f.segment_price_millimes),
        ("kept_millimes", sum(one.kept for one in f.fees if one.month >= f.costs_from)),
        ("annual_fee_millimes", f.annual_fee_millimes),
    ]


def _counts(name: str, time: str, dimension: str, rows: Sequence[DayCount], heading: str) -> Table:
    return Table(
        name,
        (Field(time, "day"), Field(dimension, "text", heading), Field("subscribers")),
        [(one.day, code, subscribers) for one in rows for code, subscribers in sorted(one.groups.items())],
    )


def _districts(rows: Sequence[District]) -> Table:
    return Table(
        "subscription_districts",
        (
            Field("code", "text"),
            Field("district", "text"),
            Field("district_ar", "arabic"),
            *map(Field, ("before", "now", "active", "suspended", "lapsed")),
        ),
        [
            (
                one.code,
                one.name_fr,
                one.name_ar,
                one.before,
                one.now,
                *(one.states.get(state, 0) for state in ("active", "suspended", "lapsed")),
            )
            for one in rows
        ],
    )


def _churn(rows: Sequence[Churn]) -> Table:
    names = ("at_start", "joined", "anew", "left", "opted_out", "contracts_ended", "left_lapsed")
    return Table(
        "churn",
        (_MONTH, *map(Field, (*names, "lapsed", "back", "lost")), Field("churn", "share")),
        [
            (one.month, *(getattr(one, name) for name in names), one.lapsed, one.back, one.lost, one.share)
            for one in rows
        ],
    )


def _left(name: str, rows: Sequence[Left]) -> Table:
    return Table(
        name,
        (
            Field("reason", "text", "ended_because", 44),
            Field("told_by", "text", "told_by", 30),
            Field("subscriptions"),
        ),
        [(one.reason or "unknown", one.channel or "unknown", one.subscriptions) for one in rows],
    )


def _fees(rows: Sequence[MonthOfFees], outstanding: Sequence[Outstanding]) -> Table:
    names = ("charged", "waived", "given_up", "credited", "paid", "taken_back", "refunded")
    return Table(
        "fees_by_month",
        (
            _MONTH,
            *(Field(f"fees_{name}", "millimes") for name in names),
            Field("owed_millimes", "millimes"),
            Field("owed_back_millimes", "millimes"),
        ),
        [
            (one.month, *(getattr(one, name) for name in names), *closing)
            for one, closing in zip(rows, outstanding, strict=True)
        ],
    )


def _forgone(rows: Sequence[Forgone]) -> Table:
    return Table(
        "forgone",
        (
            Field("account", "text", "fee_account", 30),
            _REASON,
            Field("charges"),
            Field("amount_millimes", "millimes"),
        ),
        [tuple(one) for one in rows],
    )


def _charges(name: str, rows: Sequence[ChargesInState]) -> Table:
    return Table(
        name,
        (
            Field("charge_state", "text", "charge_state", 34),
            Field("charges"),
            Field("amount_millimes", "millimes"),
            Field("owed_millimes", "millimes"),
            Field("kept_millimes", "millimes"),
        ),
        [tuple(one) for one in rows],
    )


def _costs(rows: Sequence[MessageCost], price: int) -> Table:
    return Table(
        "message_costs",
        (
            _MONTH,
            Field("kind", "text", "kind", 30),
            *map(Field, ("messages", "segments", "doubtful_segments")),
            _COST,
        ),
        [
            (one.month, one.kind, one.messages, one.segments, one.doubtful_segments, one.segments * price)
            for one in rows
        ],
    )


def _classes(rows: Sequence[CostClass], words: Words) -> Table:
    return Table(
        "cost_classes",
        (
            Field("cost_class", "text", "", 30),
            *map(Field, ("subscriptions", "messages", "segments")),
            _COST,
            Field("kept_millimes", "millimes"),
        ),
        [
            (
                Said(str(one.from_millimes), cost_class(one.from_millimes, words)),
                one.subscriptions,
                one.messages,
                one.segments,
                one.cost_millimes,
                one.kept_millimes,
            )
            for one in rows
        ],
    )
