"""Makes the pages about subscriptions out of their figures: chooses what is said and drawn.

Called by the writer. The words come from the catalogue, shapes and shell from the other reports.
"""

from __future__ import annotations

from math import ceil, floor, log10
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fatoura.fees.figures import COST_BOUNDS
from fatoura.notices.states import State
from fatoura.reports import charts
from fatoura.reports.charts import Column, Mark, Part, Stack, Tick
from fatoura.reports.page import MESSAGE_STATES, above, legend
from fatoura.reports.subscriptions.figures import STATES
from fatoura.reports.templates import environment
from fatoura.reports.words import NO_VALUE

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence
    from datetime import date

    from fatoura.fees.figures import ChargesInState, CostClass, MessageCost
    from fatoura.reports.subscriptions.figures import (
        DayCount,
        District,
        Forgone,
        MonthFigures,
        ServiceFigures,
        Standing,
    )
    from fatoura.reports.words import Words

_STYLES = {
    "language": {"ar": "in_arabic", "fr": "in_french"},
    "channel": {"coupon": "coupon", "web": "web"},
    "state": {state: state for state in STATES},
}
_PURPOSES = {
    "billing": "of_bills",
    "cutoff": "of_cutoff",
    "payment_received": "of_cutoff",
    "welcome": "of_subscriptions",
    "codes": "of_subscriptions",
    "subscription_news": "of_subscriptions",
}
COST_GROUPS = ("of_bills", "of_cutoff", "of_subscriptions")
"""What messages are about, in the order in which their costs are drawn."""

# The order of a year's way: what went well first, what is under way, what failed, what nobody asks for.
_CHARGES = {
    "paid": "kept",
    "accepted": "accepted_fee",
    "filed": "sending",
    "due": "filed",
    "announced": "to_come",
    "refused": "lapsed",
    "taken_back": "stopped",
    "rejected": "rejected",
    "refunded": "paid",
    "waived": "forgone",
    "withdrawn": "left_out_after",
}
_MOST_TICKS = 6
_FEWEST_LEVELS = 3


def render_month_page(
    figures: MonthFigures,
    words: Words,
    *,
    workbook: str,
    tables: Sequence[str],
    neighbours: tuple[date | None, date | None] = (None, None),
    has_service: bool = False,
) -> str:
    """Return the page of a month, as one HTML document.

    :param workbook: the workbook's file name, and
    :param tables: the names of the CSV files beside the page, for its links.
    :param neighbours: the months before and after, where their pages are there.
    :param has_service: whether the page of the service is there.
    """
    return _render(
        "month.html.j2",
        figures,
        words,
        workbook=workbook,
        tables=tables,
        neighbours=neighbours,
        has_service=has_service,
        tiles=_month_tiles(figures, words),
        days=_days(figures, words),
        standings={name: _standings(rows, name, words) for name, rows in figures.standings.items()},
        districts=_districts(figures.districts, words),
        years=_charges(figures.years, words),
        welcomes=legend(
            [
                Part(state.value, words.state(state), figures.enrolment.welcomes.states[state])
                for state in MESSAGE_STATES
            ],
            words,
        ),
        costs=_kinds(figures.costs, figures.segment_price_millimes, words),
        cost_said=_month_cost(figures, words),
        State=State,
    )


def render_service_page(
    figures: ServiceFigures,
    words: Words,
    *,
    workbook: str,
    tables: Sequence[str],
    month_pages: Collection[date] = (),
) -> str:
    """Return the page of the whole service, as one HTML document.

    :param month_pages: months whose pages are there, for links to them.
    """
    return _render(
        "service.html.j2",
        figures,
        words,
        workbook=workbook,
        tables=tables,
        month_pages=month_pages,
        tiles=_service_tiles(figures, words),
        counted={name: _counted(figures, name, words) for name in figures.counted},
        districts=_districts(figures.districts, words, over_time=True),
        churn_chart=_churn(figures, words),
        enrolment_chart=_enrolment(figures, words),
        fees_chart=_fees(figures, words),
        charges=_charges(figures.charges, words),
        cost_chart=_cost_chart(figures, words),
        classes=_classes(figures.classes, figures.annual_fee_millimes, words),
        cost_said=_service_cost(figures, words),
        costs=_kinds(figures.costs, figures.segment_price_millimes, words),
    )


def _render(template: str, figures: MonthFigures | ServiceFigures, words: Words, **more: Any) -> str:
    return (
        environment(Path(__file__).parent)
        .get_template(template)
        .render(
            f=figures,
            w=words,
            forgone=_forgone(figures.forgone, words),
            left=[
                (words.of_code("ended_because", one.reason or "unknown"), _told_by(one.channel, words), one)
                for one in figures.left
            ],
            lost_share=lost_share,
            signed=_signed,
            **more,
        )
    )


def _told_by(channel: str, words: Words) -> str:
    return words.of_code("told_by", channel or "unknown")


# --- What stands at the top ------------------------------------------------------------------------------


def _dinars(millimes: int, words: Words) -> str:
    """Write an amount for a tile or a chart: whole dinars, but for small sums."""
    return words.money(millimes) if abs(millimes) < 100_000 else words.count(round(millimes / 1000))


def _month_tiles(f: MonthFigures, words: Words) -> list[tuple[str, str, str, str]]:
    change = f.churn.joined - f.churn.left
    return [
        (
            words.count(f.subscribers),
            words("subscription_tile", "subscribers"),
            words("subscription_tile", "change", change=words.change(change) if change else "±0"),
            "plain",
        ),
        (
            words.count(f.churn.joined),
            words("subscription_tile", "joined"),
            words("subscription_tile", "joined_note", anew=words.count(f.churn.anew)),
            "delivered",
        ),
        (
            words.count(f.churn.left),
            words("subscription_tile", "left"),
            words(
                "subscription_tile",
                "left_note",
                share=lost_share(f.churn.lost, f.churn.at_start, words),
            ),
            "undeliverable",
        ),
        (
            _dinars(f.fees.kept, words),
            words("subscription_tile", "kept"),
            words("subscription_tile", "kept_note", charged=_dinars(f.fees.charged - f.fees.waived, words)),
            "accepted",
        ),
        (
            _dinars(f.cost_millimes, words),
            words("subscription_tile", "cost"),
            words("subscription_tile", "cost_note", segments=words.count(f.segments)),
            "plain",
        ),
    ]


def _service_tiles(f: ServiceFigures, words: Words) -> list[tuple[str, str, str, str]]:
    now = f.counted["state"][-1] if f.counted["state"] else None
    active = now.groups.get("active", 0) if now else 0
    year = f.churn[-12:]
    joined, left = sum(one.joined for one in year), sum(one.left for one in year)
    recent = [one for one in f.fees if one.month >= f.costs_from]
    kept, charged = sum(one.kept for one in recent), sum(one.charged - one.waived for one in recent)
    cost = sum(one.segments for one in f.costs) * f.segment_price_millimes
    return [
        (
            words.count(f.subscribers),
            words("subscription_tile", "subscribers"),
            words("subscription_tile", "active", share=words.share(active, now.total if now else 0)),
            "plain",
        ),
        (
            words.count(joined),
            words("subscription_tile", "joined_year"),
            _in_months(len(year), words),
            "delivered",
        ),
        (
            words.count(left),
            words("subscription_tile", "left_year"),
            words(
                "subscription_tile",
                "left_note",
                share=lost_share(sum(one.lost for one in year), _at(year), words),
            ),
            "undeliverable",
        ),
        (
            _dinars(kept, words),
            words("subscription_tile", "kept"),
            words("subscription_tile", "kept_note", charged=_dinars(charged, words)),
            "accepted",
        ),
        (
            _dinars(cost, words),
            words("subscription_tile", "cost"),
            _in_months(len(year), words),
            "plain",
        ),
    ]


def _in_months(months: int, words: Words) -> str:
    if months == 1:
        return words("subscription_tile", "one_month")
    return words("subscription_tile", "months", months=months)


def lost_share(lost: int, start: int, words: Words) -> str:
    """Write which part was lost; below nought where more came back than were lost."""
    return "−" + words.share(-lost, start) if lost < 0 and start else words.share(lost, start)


def _at(churn: Sequence[Any]) -> int:
    """Return how many there were on average when months began; a service's first month began with none."""
    starts = [one.at_start for one in churn if one.at_start]
    return round(sum(starts) / len(starts)) if starts else 0


# --- Subscribers -----------------------------------------------------------------------------------------


def _scale(
    top: float, bottom: float, say: Callable[[float], str], least: float = 0
) -> list[tuple[float, str]]:
    """Return the lines that give a scale: at round values, three to seven of them.

    :param least: lines are never closer than this: counts have no halves.
    """
    whole = top + bottom
    if not whole:
        return []
    power = 10.0 ** floor(log10(whole / _FEWEST_LEVELS))
    step = max(power * max(one for one in (1, 2, 2.5, 5) if power * one <= whole / _FEWEST_LEVELS), least)
    return [
        (number * step, say(abs(number * step)))
        for number in range(-floor(bottom / step), floor(top / step) + 1)
        if number
    ]


def _ticks(names: Sequence[str], most: int = _MOST_TICKS) -> list[Tick]:
    """Return names below columns, as many as fit on a phone; the last one is always told."""
    width, every = 100 / max(len(names), 1), max(ceil(len(names) / most), 1)
    shown = reversed(range(len(names) - 1, -1, -every))
    middles = {number: (number + 0.5) * width for number in shown}
    # Of narrow columns, the name of the last one would stand out over the edge.
    return [
        Tick(100, names[number], "end") if middle > 95 else Tick(middle, names[number])
        for number, middle in middles.items()
    ]


def _short(month: date) -> str:
    return f"{month:%m/%y}"


def _parts(groups: dict[str, int], dimension: str, words: Words) -> list[Part]:
    styles = _STYLES[dimension]
    return [
        Part(styles.get(code, "to_come"), words.of_code(_heading(dimension), code), groups.get(code, 0))
        for code in (*styles, *(code for code in groups if code not in styles))
    ]


def _heading(dimension: str) -> str:
    return {"state": "subscription_state", "channel": "subscription_channel"}.get(dimension, dimension)


def _stack(name: str, count: DayCount | None, dimension: str, words: Words) -> Stack | None:
    if count is None:
        return None
    parts = _parts(count.groups, dimension, words)
    return Stack(
        parts, _pointed(name, [(part.name, words.count(part.value)) for part in parts if part.value], words)
    )


def _pointed(name: str, said: Iterable[tuple[str, str]], words: Words) -> str:
    """Say what a column shows, for who points at it."""
    return words("page", "colon").join((name, ", ".join(f"{what} {number}" for what, number in said)))


def _keys(parts: Sequence[Part]) -> list[tuple[str, str]]:
    return [(part.style, part.name) for part in parts]


def _days(f: MonthFigures, words: Words) -> dict[str, Any] | None:
    """Return the subscribers of each day by state; a day that was not counted leaves a gap."""
    if not f.days:
        return None
    counted = {one.day: one for one in f.days}
    whole = [f.month.replace(day=number) for number in range(1, f.last.day + 1)]
    columns = [_stack(words.day(day), counted.get(day), "state", words) for day in whole]
    return {
        "chart": charts.stacks(
            columns,
            words("section", "subscribers_by_day"),
            ticks=_ticks([f"{day:%d/%m}" for day in whole]),
            levels=_scale(max(one.total for one in f.days), 0, words.count, least=1),
        ),
        "keys": _keys(_parts({}, "state", words)),
        "uncounted": len(whole) - len(f.days),
    }


def _standings(rows: Sequence[Standing], dimension: str, words: Words) -> dict[str, Any]:
    total = sum(one.now for one in rows)
    before = None if any(one.before is None for one in rows) else sum(one.before or 0 for one in rows)
    styles = _STYLES[dimension]
    parts = [
        Part(styles.get(one.code, "to_come"), words.of_code(_heading(dimension), one.code), one.now)
        for one in rows
    ]
    return {
        "bar": charts.share_bar(parts, ", ".join(f"{part.name} {words.count(part.value)}" for part in parts)),
        "rows": [
            (
                part.style,
                part.name,
                words("subscription_state_meaning", one.code) if dimension == "state" else "",
                _number(one.before, words),
                words.count(one.now),
                _change(one.before, one.now, words),
                words.share(one.now, total),
            )
            for one, part in zip(rows, parts, strict=True)
        ],
        "total": (_number(before, words), words.count(total), _change(before, total, words)),
    }


def _number(count: int | None, words: Words) -> str:
    return NO_VALUE if count is None else words.count(count)


def _signed(millimes: int, words: Words) -> str:
    """Write an amount with its sign."""
    return f"{'−' if millimes < 0 else '+' if millimes else ''}{words.money(abs(millimes))}"


def _amount(millimes: int, words: Words) -> str:
    return words.money(millimes) if millimes else NO_VALUE


def _change(before: int | None, now: int, words: Words) -> str:
    if before is None or before == now:
        return NO_VALUE if before is None else "0"
    return words.change(now - before)


def _counted(f: ServiceFigures, dimension: str, words: Words) -> dict[str, Any] | None:
    """Return the subscribers of each month by a dimension, as counted last in it."""
    counted = f.counted[dimension]
    if not any(counted):
        return None
    columns = [
        _stack(words.month(month), count, dimension, words)
        for month, count in zip(f.months, counted, strict=True)
    ]
    now = next((one for one in reversed(counted) if one), None)
    return {
        "chart": charts.stacks(
            columns,
            words("section", f"over_time_{dimension}"),
            ticks=_ticks([_short(month) for month in f.months]),
            levels=_scale(max(one.total for one in counted if one), 0, words.count, least=1),
        ),
        "legend": legend(_parts(now.groups if now else {}, dimension, words), words, always=True),
    }


def _districts(rows: Sequence[District], words: Words, *, over_time: bool = False) -> list[dict[str, Any]]:
    most = max((one.now for one in rows), default=0)
    found = []
    for one in rows:
        parts = _parts(one.states, "state", words)
        said = ", ".join(f"{part.name} {words.count(part.value)}" for part in parts if part.value)
        found.append(
            {
                "name": one.name_fr or one.code or words("page", "unknown"),
                "name_ar": one.name_ar,
                "bar": charts.share_bar(parts, said, most=most),
                "spark": charts.spark(
                    one.over_time,
                    words("subscription_district", "over_time", now=words.count(one.now)),
                )
                if over_time
                else "",
                "before": _number(one.before, words),
                "now": words.count(one.now),
                "change": _change(one.before, one.now, words),
            }
        )
    return found


# --- Coming and going ------------------------------------------------------------------------------------


def _churn(f: ServiceFigures, words: Words) -> dict[str, Any] | None:
    """Return who came, above the axis, and who left or lapsed, below it, by month."""
    if not any(one.joined or one.left or one.lapsed for one in f.churn):
        return None
    names = {name: words("churn", name) for name in ("joined", "came_back", "gone", "stopped")}
    columns = []
    for one in f.churn:
        up = [
            Part("joined", names["joined"], one.joined),
            Part("came_back", names["came_back"], one.back),
        ]
        down = [
            Part("gone", names["gone"], one.left - one.left_lapsed),
            Part("stopped", names["stopped"], one.lapsed),
        ]
        said = [(part.name, words.count(part.value)) for part in (*up, *down)]
        columns.append(Stack(up, _pointed(words.month(one.month), said, words), down))
    top, bottom = max(one.height for one in columns), max(one.depth for one in columns)
    return {
        "chart": charts.stacks(
            columns,
            words("section", "churn"),
            ticks=_ticks([_short(one.month) for one in f.churn]),
            levels=_scale(top, bottom, words.count, least=1),
        ),
        "keys": list(names.items()),
    }


def _enrolment(f: ServiceFigures, words: Words) -> dict[str, Any] | None:
    """Return whose consent was taken, by month and way."""
    if not any(one.coupons or one.web for one in f.enrolment):
        return None
    columns = []
    for one in f.enrolment:
        parts = [
            Part("from_coupons", words("enrolment", "coupons"), one.coupons),
            Part("web", words("enrolment", "web"), one.web),
        ]
        said = [(part.name, words.count(part.value)) for part in parts]
        columns.append(Stack(parts, _pointed(words.month(one.month), said, words)))
    return {
        "chart": charts.stacks(
            columns,
            words("section", "enrolment_by_month"),
            ticks=_ticks([_short(one.month) for one in f.enrolment]),
            levels=_scale(max(one.height for one in columns), 0, words.count, least=1),
        ),
        "keys": [
            ("from_coupons", words("enrolment", "coupons")),
            ("web", words("enrolment", "web")),
        ],
    }


# --- Fees ------------------------------------------------------------------------------------------------


def _fees(f: ServiceFigures, words: Words) -> dict[str, Any] | None:
    """Return what was kept of fees, and what is left of what was charged, by month in which it was booked."""
    if not any(one.charged or one.paid for one in f.fees):
        return None
    names = {name: words("fees", name) for name in ("charged", "kept", "refunded")}
    columns: list[Stack | None] = []
    for one in f.fees:
        asked = one.charged - one.waived
        said = [
            (names["charged"], words.money(asked)),
            (names["kept"], words.money(one.paid)),
            (names["refunded"], words.money(one.taken_back + one.refunded)),
        ]
        title = _pointed(words.month(one.month), said, words)
        # Two columns a month beside each other, and a gap before the next.
        columns += [
            Stack([Part("accepted_fee", names["charged"], max(asked, 0))], title),
            Stack(
                [Part("charged", names["kept"], one.paid)],
                title,
                [Part("gone", names["refunded"], one.taken_back + one.refunded)],
            ),
            None,
        ]
    drawn = [one for one in columns if one]
    top, bottom = max(one.height for one in drawn), max(one.depth for one in drawn)
    ticks = _ticks([_short(one.month) for one in f.fees])
    shift = 100 / len(f.fees) / 6  # a month's middle lies between its two columns, before its gap
    return {
        "chart": charts.stacks(
            columns,
            words("section", "fees_by_month"),
            ticks=[Tick(tick.place - shift, tick.text, tick.anchor) for tick in ticks],
            levels=_scale(top, bottom, lambda value: _dinars(round(value), words)),
        ),
        "keys": [("accepted_fee", names["charged"]), ("charged", names["kept"]), ("gone", names["refunded"])],
    }


def _forgone(rows: Sequence[Forgone], words: Words) -> list[tuple[str, str, str, str]]:
    return [
        (
            words("fee_account", one.account),
            words.of_code("fee_because", one.reason),
            words.count(one.charges),
            words.money(one.millimes),
        )
        for one in rows
    ]


def _charges(rows: Sequence[ChargesInState], words: Words) -> dict[str, Any]:
    found = {one.state: one for one in rows}
    parts = [
        Part(style, words("charge_state", state), found[state].charges if state in found else 0)
        for state, style in _CHARGES.items()
    ]
    total = sum(one.charges for one in rows)
    return {
        "bar": charts.share_bar(
            parts,
            ", ".join(f"{part.name} {words.count(part.value)}" for part in parts if part.value),
            height=22,
        ),
        "rows": [
            (
                style,
                words("charge_state", state),
                words("charge_state_meaning", state),
                words.count(found[state].charges),
                words.share(found[state].charges, total),
                words.money(found[state].amount),
                _amount(found[state].owed, words),
                _amount(found[state].kept, words),
            )
            for state, style in _CHARGES.items()
            if state in found
        ],
        "total": (
            words.count(total),
            words.money(sum(one.amount for one in rows)),
            words.money(sum(one.owed for one in rows)),
            words.money(sum(one.kept for one in rows)),
        ),
    }


# --- Costs -----------------------------------------------------------------------------------------------


def _kinds(rows: Sequence[MessageCost], price: int, words: Words) -> dict[str, Any]:
    """Return what messages cost by kind, the dearest first."""
    kinds: dict[str, list[int]] = {}
    groups: dict[str, str] = {}
    for one in rows:
        summed = kinds.setdefault(one.kind, [0, 0, 0])
        for number, value in enumerate((one.messages, one.segments, one.doubtful_segments)):
            summed[number] += value
        groups.setdefault(one.kind, _PURPOSES.get(one.purpose, "of_subscriptions"))
    whole = sum(segments for _, segments, _ in kinds.values())
    return {
        "rows": [
            (
                groups[kind],
                words.of_code("kind", kind),
                words.count(messages),
                words.count(segments),
                words.count(doubtful) if doubtful else NO_VALUE,
                words.money(segments * price),
                words.share(segments, whole),
            )
            for kind, (messages, segments, doubtful) in sorted(kinds.items(), key=lambda one: -one[1][1])
        ],
        "total": (
            words.count(sum(messages for messages, _, _ in kinds.values())),
            words.count(whole),
            words.count(sum(doubtful for _, _, doubtful in kinds.values())),
            words.money(whole * price),
        ),
    }


def _average(start: int, end: int) -> float:
    return (start + end) / 2


def _month_cost(f: MonthFigures, words: Words) -> list[str]:
    """Return the sentences that set a month's cost beside its fees."""
    average = _average(f.churn.at_start, f.churn.at_end)
    said = [_cost_note(f.segments, f.cost_millimes, f.segment_price_millimes, words)] if f.segments else []
    if f.segments and average:
        said.append(
            words(
                "message_cost",
                "each_month",
                each=words.decimal(f.cost_millimes / average),
                fee=words.decimal(f.annual_fee_millimes / 12),
            )
        )
    return said


def _cost_note(segments: int, cost: int, price: int, words: Words) -> str:
    return words(
        "message_cost",
        "note",
        segments=words.count(segments),
        price=words.count(price),
        cost=words.money(cost),
    )


def _service_cost(f: ServiceFigures, words: Words) -> list[str]:
    segments = sum(one.segments for one in f.costs)
    if not segments:
        return []
    cost = segments * f.segment_price_millimes
    kept = sum(one.kept for one in f.fees if one.month >= f.costs_from)
    churn = [one for one in f.churn if one.month >= f.costs_from]
    average = sum(_average(one.at_start, one.at_end) for one in churn) / len(churn) if churn else 0
    said = [
        _cost_note(segments, cost, f.segment_price_millimes, words),
        words("message_cost", "against_fees", kept=words.money(kept), cost=words.money(cost)),
    ]
    if average:
        said.append(
            words(
                "message_cost",
                "each",
                each=words.decimal(cost / average),
                fee=words.count(f.annual_fee_millimes),
                kept=words.decimal(kept / average),
            )
        )
    return said


def _cost_chart(f: ServiceFigures, words: Words) -> dict[str, Any] | None:
    """Return what messages cost a subscription in each month, by what they are about, beside the fee."""
    if not any(one.segments for one in f.costs):
        return None
    by_month: dict[date, dict[str, int]] = {}
    for cost in f.costs:
        group = _PURPOSES.get(cost.purpose, "of_subscriptions")
        groups = by_month.setdefault(cost.month, {})
        groups[group] = groups.get(group, 0) + cost.segments
    columns, names = [], {group: words("message_cost", group) for group in COST_GROUPS}
    churn = [one for one in f.churn if one.month >= f.costs_from]
    for one in churn:
        average = _average(one.at_start, one.at_end)
        parts = [
            Part(
                group,
                names[group],
                by_month.get(one.month, {}).get(group, 0) * f.segment_price_millimes / average
                if average
                else 0,
            )
            for group in COST_GROUPS
        ]
        said = [(part.name, words.decimal(part.value)) for part in parts if part.value]
        columns.append(Stack(parts, _pointed(words.month(one.month), said, words)))
    fee = f.annual_fee_millimes / 12
    top = max(max(one.height for one in columns), fee)
    return {
        "chart": charts.stacks(
            columns,
            words("section", "cost_each"),
            ticks=_ticks([_short(one.month) for one in churn]),
            levels=_scale(top, 0, words.decimal),
            limit=(fee, words("message_cost", "fee_line", fee=words.decimal(fee))) if fee else None,
        ),
        "keys": list(names.items()),
    }


def _classes(rows: Sequence[CostClass], fee: int, words: Words) -> dict[str, Any] | None:
    """Return how many subscriptions cost how much, beside the fee."""
    total = sum(one.subscriptions for one in rows)
    if not total:
        return None
    filled = [number for number, one in enumerate(rows) if one.subscriptions]
    shown = rows[: filled[-1] + 1]
    width = 100 / len(shown)
    columns = [
        Column(
            one.subscriptions,
            words("page", "colon").join(
                (cost_class(one.from_millimes, words), words.count(one.subscriptions))
            ),
            above(one.subscriptions / total, words),
        )
        for one in shown
    ]
    every = max(ceil(len(shown) / _MOST_TICKS), 1)
    ticks = [
        Tick(number * width, words.count(one.from_millimes))
        for number, one in enumerate(shown)
        if number and (number - 1) % every == 0
    ]
    dear = sum(one.subscriptions for one in rows if one.from_millimes >= fee)
    place = next((number for number, one in enumerate(shown) if one.from_millimes >= fee), None)
    marks = (
        [Mark(place * width, words("message_cost", "fee_mark", fee=words.count(fee)))]
        if place is not None and fee in COST_BOUNDS
        else []
    )
    return {
        "chart": charts.histogram(columns, words("section", "cost_classes"), ticks=ticks, marks=marks),
        "dear": words("message_cost", "dear", count=words.count(dear), share=words.share(dear, total)),
    }


def cost_class(low: int, words: Words) -> str:
    """Name a class of costs by its bounds, in millimes."""
    position = COST_BOUNDS.index(low)
    if position == len(COST_BOUNDS) - 1:
        return words("message_cost", "over", **{"from": words.count(low)})
    high = COST_BOUNDS[position + 1] - 1
    if low == high:
        return words("message_cost", "nothing_spent")
    return words("message_cost", "class", **{"from": words.count(low), "to": words.count(high)})
