"""Makes the report's page out of figures: chooses what is said and drawn. The words come from the catalogue.

Called by the writer. The page is one file: styles and charts lie inside, nothing is fetched, no script runs.
"""

from __future__ import annotations

from itertools import pairwise
from math import floor, log10
from typing import TYPE_CHECKING, Any

from fatoura.ledger.balance import BUCKETS
from fatoura.notices.states import State
from fatoura.reports import charts
from fatoura.reports.charts import Column, Mark, Part, Tick
from fatoura.reports.figures import (
    AGE_EDGES,
    DELIVERY_EDGES,
    FEW,
    UNMATCHED,
    Bin,
    DeliveryTime,
    Figures,
    Group,
    Phase,
    Speed,
)
from fatoura.reports.templates import environment
from fatoura.settings import get_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fatoura.reports.words import Words

# The order of the bars: what went well first, what waits, what failed, what never left.
_BUCKETS = ("noticed", "unsubscribed", "suppressed", "held_out", "rejected")
MESSAGE_STATES = (
    State.DELIVERED,
    State.ACCEPTED,
    State.SENDING,
    State.PLANNED,
    State.IN_DOUBT,
    State.UNDELIVERABLE,
    State.EXPIRED,
    State.REJECTED,
    State.CANCELLED,
)
"""The order in which message states are drawn."""

_RECEIPTS = ("moved", "noted", "repeated", "contradicted")
_TOLD_SHARE = 0.03  # columns of a smaller share have no text above
_MOST_TICKS = 7  # so many fit below a chart on a phone


def render_page(figures: Figures, words: Words, *, workbook: str, tables: Sequence[str]) -> str:
    """Return the report's page, as one HTML document.

    :param workbook: the workbook's file name, and
    :param tables: the names of the CSV files beside the page, for its links.
    """
    return (
        environment()
        .get_template("page.html.j2")
        .render(
            f=figures,
            w=words,
            workbook=workbook,
            tables=tables,
            tiles=_headline(figures, words),
            ledger=_ledger(figures, words),
            changes=[(state, words.state(state), words.change(by)) for state, by in figures.changes.items()],
            districts=group_rows(
                figures.districts, words, lambda group: (words.district(group), group.name_ar)
            ),
            languages=group_rows(
                figures.languages, words, lambda group: (words.of_code("language", group.code), None)
            ),
            kinds=group_rows(figures.kinds, words, lambda group: (words.of_code("kind", group.code), None)),
            gateways=group_rows(figures.gateways, words, lambda group: (group.code, None)),
            lacks=[(group.code, words("lacks", what)) for group in figures.gateways for what in group.lacks],
            few=FEW,
            delivery_time=figures.delivery_time and _delivery_time(figures.delivery_time, words),
            speed=figures.speed and _speed(figures.speed, figures.contract_rate, words),
            cost=_cost(figures, words),
            open=[
                (words.state(ages.state), ages.oldest, _age_rows(ages.classes, words))
                for ages in figures.open
            ],
            decisions=[
                (words("decided", decision.value), words.count(count))
                for decision, count in figures.decisions.items()
            ],
            receipts=[(match, figures.receipts.get(match, 0)) for match in _RECEIPTS],
            unmatched=[(match, figures.receipts_unmatched.get(match, 0)) for match in UNMATCHED],
            State=State,
        )
    )


def _headline(figures: Figures, words: Words) -> list[tuple[str, str, str, str]]:
    """Return the figures that a reader looks for first: number, name, note, style."""
    overall = figures.overall
    rows = words.count(figures.ledger.extracted)
    tiles = [
        (
            words.count(overall.states.total()),
            words("headline", "notices"),
            words("headline", "notices_note", rows=rows),
            "plain",
        )
    ]
    if overall.sent:
        sent = words.count(overall.sent)
        tiles += [
            (
                words.share(overall.delivered, overall.sent),
                words("headline", "delivered"),
                words("headline", "delivered_note", count=words.count(overall.delivered), sent=sent),
                "delivered",
            ),
            (
                words.count(overall.failed),
                words("headline", "failed"),
                words("headline", "failed_note", share=words.share(overall.failed, overall.sent)),
                "undeliverable",
            ),
            (
                words.count(overall.unconfirmed),
                words("headline", "unconfirmed"),
                words("headline", "unconfirmed_note", count=words.count(overall.states[State.IN_DOUBT])),
                "accepted",
            ),
            (
                words.money(figures.cost_millimes),
                words("headline", "cost"),
                words("headline", "cost_note", count=words.count(figures.segments)),
                "plain",
            ),
        ]
    return tiles


def _ledger(figures: Figures, words: Words) -> dict[str, Any]:
    """Return the flow from rows to buckets, and from notices to states, with its verdict."""
    ledger = figures.ledger
    buckets = [Part(name, words("bucket", name), getattr(ledger, name)) for name in _BUCKETS]
    states = [Part(state.value, words.state(state), ledger.states[state]) for state in MESSAGE_STATES]
    counted = sum(part.value for part in buckets)
    if ledger.identity_holds:
        verdict = ("good", words("ledger", "holds" if ledger.extracted else "empty"))
    elif figures.phase is Phase.PREPARING:
        verdict = ("waiting", words("ledger", "unmatched"))
    elif counted != ledger.extracted:
        difference = words.count(abs(ledger.extracted - counted))
        verdict = ("bad", words("ledger", "broken", difference=difference))
    else:
        verdict = ("bad", words("ledger", "broken_names"))
    return {
        "verdict": verdict,
        "missing": ledger.missing if verdict[0] == "bad" else (),
        "sign": "=" if counted == ledger.extracted else "≠",
        "sum": " + ".join(words.count(getattr(ledger, bucket)) for bucket in BUCKETS),
        "buckets": legend(buckets, words, always=True),
        "states": legend(states, words, meaning="state_meaning"),
        "bucket_bar": flow_bar(buckets, words),
        "state_bar": flow_bar(states, words),
        "funnel": charts.funnel(buckets, "noticed") if ledger.noticed else "",
    }


def flow_bar(parts: list[Part], words: Words) -> str:
    """Return a wide bar of parts that make a whole, with their shares inside."""
    total = sum(part.value for part in parts)
    return charts.share_bar(
        parts,
        ", ".join(f"{part.name} {words.count(part.value)}" for part in parts if part.value),
        height=30,
        shares=[words.share(part.value, total) for part in parts],
    )


def legend(
    parts: list[Part], words: Words, *, always: bool = False, meaning: str = ""
) -> list[tuple[str, str, str, str, str]]:
    """Return style, name, count, share and meaning of the parts that are not nothing (or of all).

    :param meaning: the heading of the catalogue that says what the parts mean, by their styles.
    """
    total = sum(part.value for part in parts)
    return [
        (
            part.style,
            part.name,
            words.count(part.value),
            words.share(part.value, total),
            words(meaning, part.style) if meaning else "",
        )
        for part in parts
        if part.value or always
    ]


def group_rows(
    groups: Sequence[Group], words: Words, named: Callable[[Group], tuple[str, str | None]]
) -> list[dict[str, Any]]:
    """Return a row of the delivery tables for each group that has something sent."""
    rows = []
    for group in groups:
        name, name_ar = named(group)
        label = words(
            "delivery",
            "bar",
            delivered=words.count(group.delivered),
            unconfirmed=words.count(group.unconfirmed),
            failed=words.count(group.failed),
        )
        parts = [
            Part(
                "delivered",
                f"{words('outcome', 'delivered')} {words.count(group.delivered)}",
                group.delivered,
            ),
            Part(
                "accepted",
                f"{words('outcome', 'unconfirmed')} {words.count(group.unconfirmed)}",
                group.unconfirmed,
            ),
            Part("undeliverable", f"{words('outcome', 'failed')} {words.count(group.failed)}", group.failed),
        ]
        rows.append(
            {
                "name": name,
                "name_ar": name_ar,
                "few": group.sent < FEW,
                "bar": charts.share_bar(parts, label) if group.sent else "",
                "delivered": words.count(group.delivered),
                "sent": words.count(group.sent),
                "rate": words.share(group.delivered, group.sent),
            }
        )
    return rows


def _delivery_time(time: DeliveryTime, words: Words) -> dict[str, Any]:
    """Return the histogram of times to delivery. Classes at both ends that are empty are left out."""
    filled = [number for number, count in enumerate(time.classes) if count]
    shown = range(filled[0], filled[-1] + 1)
    width = 100 / len(shown)
    columns = [
        Column(
            time.classes[number],
            words("page", "colon").join(
                (words.between(DELIVERY_EDGES, number), words.count(time.classes[number]))
            ),
            above(time.classes[number] / time.delivered, words),
        )
        for number in shown
    ]
    every = -(-len(shown) // _MOST_TICKS)
    ticks = [
        Tick((number - shown.start) * width, words.duration(DELIVERY_EDGES[number - 1]))
        for number in shown[1::every]
    ]
    facts = [
        (words("time", "median"), time.median),
        (words("time", "p90"), time.p90),
        (words("time", "p99"), time.p99),
    ]
    marks = [
        Mark((_place(seconds) - shown.start) * width, f"{name} {words.duration(seconds)}")
        for name, seconds in facts
    ]
    told = [*facts, (words("time", "longest"), time.longest)]
    return {
        "chart": charts.histogram(
            columns, ", ".join(f"{n} {words.duration(s)}" for n, s in told), ticks=ticks, marks=marks
        ),
        "longest": words.duration(time.longest),
    }


def above(share: float, words: Words) -> str:
    """Return what stands above a column of a histogram: its share, where it is worth saying."""
    return words.count(share * 100) + "\u00a0%" if share >= _TOLD_SHARE else ""


def _place(seconds: float) -> float:
    """Return where a duration lies on the axis of classes, in classes; evenly inside its class."""
    edges = (0, *DELIVERY_EDGES)
    for number, (low, high) in enumerate(pairwise(edges)):
        if seconds < high:
            return number + (seconds - low) / (high - low)
    return len(DELIVERY_EDGES) + 0.5


def _speed(speed: Speed, contract_rate: float, words: Words) -> dict[str, Any]:
    """Return the timeline of segments a second, and the contract's rate where it is in sight."""
    by_second = speed.bin_seconds < 10
    fastest = max(one.rate for session in speed.sessions for one in session)
    sessions = [[_bin_column(one, words, by_second) for one in session] for session in speed.sessions]
    starts, before = [], None
    for session in speed.sessions:
        first, last = words.instant(session[0].start), words.hour(session[-1].start, seconds=by_second)
        # The day is told once: later sessions of the same day give their hour only.
        day, hour = first.split(" ")
        starts.append((hour if day == before else f"{day[:5]} {hour}", last))
        before = day
    in_sight = contract_rate <= fastest * 4
    level = contract_rate if in_sight else _round_up(fastest)
    told = words("speed", "contract", rate=words.decimal(level)) if in_sight else words.decimal(level)
    return {
        "chart": charts.timeline(
            sessions, words("speed", "axis"), starts=starts, level=(level, told), is_limit=in_sight
        ),
        "note": words(
            "speed",
            "note",
            messages=words.count(speed.messages),
            active=words.duration(speed.active_seconds),
            mean=words.decimal(speed.mean),
        ),
        "paused": len(speed.sessions) > 1,
    }


def _bin_column(one: Bin, words: Words, by_second: bool) -> Column:
    at = words.hour(one.start, seconds=by_second)
    return Column(one.rate, words("page", "colon").join((at, words.decimal(one.rate))))


def _round_up(value: float) -> float:
    """Return the smallest of …, 0.1, 0.2, 0.5, 1, 2, 5, 10, … that is not below a value above nothing."""
    power = 10.0 ** floor(log10(value))
    return next(power * digit for digit in (1, 2, 5, 10) if power * digit >= value)


def _cost(figures: Figures, words: Words) -> dict[str, Any]:
    """Return the sentences about cost and the rows of its table."""
    price, settings = figures.segment_price_millimes, get_settings()
    said = []
    if figures.segments:
        said.append(
            words(
                "cost",
                "note",
                segments=words.count(figures.segments),
                price=words.count(price),
                cost=words.money(figures.cost_millimes),
            )
        )
    if figures.doubtful_segments:
        said.append(
            words(
                "cost",
                "doubtful",
                segments=words.count(figures.doubtful_segments),
                cost=words.money(figures.doubtful_cost_millimes),
            )
        )
    if figures.phase in (Phase.DRY_RUN, Phase.PLANNED, Phase.SENDING):
        said.append(
            words(
                "cost",
                "planned",
                segments=words.count(figures.ledger.segments),
                cost=words.money(figures.ledger.segments * price),
            )
        )
    if delivered := figures.overall.delivered:
        said.append(
            words(
                "cost",
                "each",
                each=words.decimal(figures.cost_millimes / delivered),
                fee=words.decimal(settings.annual_fee_millimes / settings.bills_a_year),
            )
        )
    return {"said": said, "spends": figures.spends}


def _age_rows(classes: tuple[int, ...], words: Words) -> list[tuple[str, str]]:
    return [
        (words.between(AGE_EDGES, number), words.count(count))
        for number, count in enumerate(classes)
        if count
    ]
