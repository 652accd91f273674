"""What the metrics are called and what they say: the one place. Mapping, dashboard and alerts follow it.

Called by whoever counts. Labels have few values by their nature: gateways, outcomes, states. Nothing here may
ever hold a number, an id or words of a provider.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Metric:
    """A metric.

    :param name: below the prefix, in StatsD's form; the labels' values follow it, each after a dot.
    :param kind: a `counter` is sent as what was added, a `timer` as single lengths of time, a `gauge` as what
        is.
    :param says: what it counts, for the documentation.
    """

    name: str
    kind: Literal["counter", "gauge", "timer"]
    labels: tuple[str, ...]
    says: str

    @property
    def prometheus(self) -> str:
        """Its name in Prometheus, as the mapping of docker/metrics gives it."""
        ending = {"counter": "_total", "timer": "_seconds", "gauge": ""}[self.kind]
        return f"fatoura_{self.name.replace('.', '_')}{ending}"

    @property
    def pattern(self) -> str:
        """How the mapping finds it."""
        return ".".join(("fatoura", self.name, *("*" for _ in self.labels)))


# --- Where it happens: the sender, the receiver, the settling ------------------------------------------

MESSAGES = Metric(
    "sending.messages",
    "counter",
    ("gateway", "outcome"),
    "Messages that were handed over, by what became of it: `accepted`, `refused` (it may go again), "
    "`rejected` (it never will), `in_doubt`, `stop` (everything is refused).",
)
SEGMENTS = Metric("sending.segments", "counter", ("gateway",), "Segments of the accepted messages.")
REFUSALS = Metric(
    "sending.refusals",
    "counter",
    ("gateway", "reason"),
    "Messages that were not accepted, by why: `rejected`, `in_doubt`, `busy`, `no_balance`, `no_token`, "
    "`unreachable`, the provider's code (`code_POL0001`) or HTTP status (`status_503`), and without either "
    "`stopped` (everything is refused) or `refused`.",
)
UNWRITTEN = Metric(
    "sending.unwritten",
    "counter",
    ("gateway",),
    "Outcomes that could not be written: their messages come into doubt.",
)
RECEIVED = Metric(
    "receipts.received", "counter", ("gateway", "readable"), "Receipts that were stored: `yes` or `no`."
)
MATCHED = Metric(
    "receipts.matched",
    "counter",
    ("gateway", "match"),
    "Receipts that were looked at, by what became of them: `moved`, `noted`, `repeated`, `contradicted`, "
    "`parked`.",
)
DELIVERY = Metric(
    "receipts.delivery",
    "timer",
    ("gateway", "state"),
    "From handing over to the final state, as receipts say.",
)
WAIT = Metric("receipts.wait", "timer", ("gateway",), "From a receipt's arrival to its matching.")

# --- The web site ---------------------------------------------------------------------------------------

SITE_ANSWERS = Metric(
    "site.answers",
    "counter",
    ("page", "status"),
    "Pages that were answered, by status: `2xx`, `4xx`, `5xx` and so on.",
)
SITE_SECONDS = Metric("site.answer", "timer", ("page",), "From a request to its answer.")
SITE_ASKED = Metric(
    "site.asked",
    "counter",
    ("action", "result"),
    "Codes and departures that were asked for: `asked`, or the limit that forbade it (`phone`, `reference`, "
    "`address`, `all`).",
)
SITE_JUDGED = Metric(
    "site.judged",
    "counter",
    ("action", "verdict"),
    "Those of them that were `due`, and those where what was told is not right: `no_match`.",
)
SITE_TRIED = Metric(
    "site.tried",
    "counter",
    ("action", "result"),
    "Codes that came back: `right`, `wrong`, `locked`, `expired`.",
)
SITE_CODES = Metric("site.code", "timer", (), "From asking for a code until a provider had taken it.")

# --- How things stand: looked up by the receiver every few seconds ----------------------------------------

BEATS = Metric("receiver.beats", "counter", (), "The receiver lives, and its database answers.")
DOUBTS = Metric("doubts.notices", "gauge", ("gateway",), "Notices in doubt.")
OLDEST_DOUBT = Metric("doubts.oldest_seconds", "gauge", ("gateway",), "How long the oldest is in doubt.")
DOUBT_HORIZON = Metric(
    "doubts.horizon_seconds", "gauge", (), "After this long the policy of its kind acts (a setting)."
)
UNDER_WAY = Metric("sending.under_way", "gauge", ("gateway",), "Notices that senders hold now.")
QUEUE = Metric(
    "queue.notices",
    "gauge",
    ("priority",),
    "Planned notices that may go now, `urgent` and `ordinary`: released, in their time, in an open window.",
)
QUEUE_SEGMENTS = Metric("queue.segments", "gauge", ("priority",), "Their segments.")
OLDEST_QUEUED = Metric(
    "queue.oldest_seconds",
    "gauge",
    ("priority",),
    "How long the oldest of them could have gone, and has not; the time of closed windows left out.",
)
WINDOW = Metric(
    "window.open",
    "gauge",
    (),
    "1 while messages may go, else 0: it ends a little before the hour, for delivery.",
)
UNMATCHED = Metric("receipts.unmatched", "gauge", ("gateway",), "Receipts that were not looked at yet.")
PARKED = Metric("receipts.parked", "gauge", ("gateway",), "Receipts whose notice is not known.")
IN_USE = Metric("gateway.in_use", "gauge", ("gateway",), "1 when new messages may go through it, else 0.")
HEALTH = Metric("gateway.health", "gauge", ("gateway",), "From 0 to 1: how much of its share it gets.")
SHARE = Metric("gateway.share", "gauge", ("gateway",), "From 0 to 1: its part of new messages now.")
LIMIT = Metric(
    "gateway.limit", "gauge", ("gateway",), "The contract's rate, in segments a second, over all senders."
)
BALANCE = Metric(
    "gateway.balance",
    "gauge",
    ("gateway", "unit"),
    "What was left of the account, as its provider told when a cycle last began to be sent.",
)
LOOK = Metric("receiver.look_seconds", "gauge", (), "How long looking up these figures took.")

METRICS: tuple[Metric, ...] = (
    MESSAGES,
    SEGMENTS,
    REFUSALS,
    UNWRITTEN,
    RECEIVED,
    MATCHED,
    DELIVERY,
    WAIT,
    SITE_ANSWERS,
    SITE_SECONDS,
    SITE_ASKED,
    SITE_JUDGED,
    SITE_TRIED,
    SITE_CODES,
    BEATS,
    DOUBTS,
    OLDEST_DOUBT,
    DOUBT_HORIZON,
    UNDER_WAY,
    QUEUE,
    QUEUE_SEGMENTS,
    OLDEST_QUEUED,
    WINDOW,
    UNMATCHED,
    PARKED,
    IN_USE,
    HEALTH,
    SHARE,
    LIMIT,
    BALANCE,
    LOOK,
)
"""All of them."""
