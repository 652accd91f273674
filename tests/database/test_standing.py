"""How things stand, looked up for metrics: doubts, queue, receipts, gateways, window."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from fatoura import clock
from fatoura.database import begin, connect
from fatoura.metrics.standing import standing_points
from tests.notices import plan_notices, run_sql
from tests.statements import Sent, known_gateway, send

pytestmark = pytest.mark.database

MORNING = "2026-05-20T10:00:00+01:00"


@pytest.fixture(autouse=True)
def _settings(database, configure):
    configure(database_url=database, now=MORNING)


def standing() -> dict[tuple[str, ...], Any]:
    with connect() as connection:
        return {(point.metric.name, *point.labels): point.value for point in standing_points(connection)}


def released(cycle_id: int, decision: str = "released") -> None:
    with begin() as connection:
        connection.execute(
            text(
                "INSERT INTO extract (id, cycle_id, source, location, manifest, digest, declared_rows, "
                "declared_total_millimes) OVERRIDING SYSTEM VALUE "
                "VALUES (1, :c, 'landing', 'x', '{}', 'x', 0, 0) ON CONFLICT DO NOTHING"
            ),
            {"c": cycle_id},
        )
        connection.execute(
            text(
                "INSERT INTO stage (cycle_id, name, started_at, finished_at, counts) "
                "VALUES (:c, 'release', now(), now(), jsonb_build_object('decision', CAST(:d AS text)))"
            ),
            {"c": cycle_id, "d": decision},
        )


def test_with_nothing_there_everything_is_nought():
    known_gateway()
    found = standing()
    assert found[("window.open",)] == 1
    assert found[("doubts.notices", "fatoura_sms")] == 0
    assert found[("queue.notices", "ordinary")] == found[("queue.oldest_seconds", "urgent")] == 0
    assert found[("receipts.parked", "fatoura_sms")] == 0


def test_doubts_have_a_count_and_an_age_for_each_gateway():
    now = clock.now()
    send(
        Sent(at=now - timedelta(hours=7), outcome="in_doubt", state="in_doubt"),
        Sent(at=now - timedelta(hours=1), outcome="in_doubt", state="in_doubt"),
        Sent(at=now, outcome=None, state="sending", gateway="other"),
        Sent(at=now - timedelta(hours=9)),
    )
    found = standing()
    assert found[("doubts.notices", "fatoura_sms")] == 2
    assert abs(found[("doubts.oldest_seconds", "fatoura_sms")] - 7 * 3600) < 60
    assert found[("doubts.notices", "other")] == found[("doubts.oldest_seconds", "other")] == 0
    assert found[("sending.under_way", "other")] == 1
    assert found[("doubts.horizon_seconds",)] == 6 * 3600


def test_only_what_may_go_grows_old():
    known_gateway()
    now = clock.now()
    opened = datetime.fromisoformat("2026-05-20T09:00:00+01:00")
    cycle = plan_notices(3)
    assert standing()[("queue.notices", "ordinary")] == 0  # nobody has released it
    released(cycle, "refused")
    assert standing()[("queue.notices", "ordinary")] == 0
    released(cycle, "approved")
    plan_notices(2, priority=10, first=10, send_from=now - timedelta(minutes=5))
    plan_notices(4, first=20, send_from=now + timedelta(hours=1))  # not yet
    plan_notices(4, first=30, send_until=now - timedelta(hours=1))  # too late
    # Planned in the night: it could not go before the window opened.
    run_sql("UPDATE notice SET planned_at = :t, send_from = :t WHERE priority = 50 AND send_from <= :now",
            t=now - timedelta(hours=9), now=now)  # fmt: skip
    run_sql("UPDATE notice SET planned_at = :t WHERE priority = 10", t=now - timedelta(hours=1))
    found = standing()
    assert (found[("queue.notices", "ordinary")], found[("queue.segments", "ordinary")]) == (3, 3)
    assert abs(found[("queue.oldest_seconds", "ordinary")] - (now - opened).total_seconds()) < 60
    assert found[("queue.notices", "urgent")] == 2
    assert abs(found[("queue.oldest_seconds", "urgent")] - 300) < 60
    run_sql("UPDATE notice SET retry_at = :t", t=now + timedelta(minutes=1))
    assert standing()[("queue.notices", "ordinary")] == 0


def test_while_the_window_is_closed_nothing_is_queued(configure, database):
    known_gateway()
    released(plan_notices(3))
    assert standing()[("queue.notices", "ordinary")] == 3
    configure(database_url=database, now="2026-05-20T21:00:00+01:00")
    found = standing()
    assert (found[("window.open",)], found[("queue.notices", "ordinary")]) == (0, 0)


def test_the_window_ends_where_sending_ends(configure, database):
    known_gateway()
    configure(database_url=database, now="2026-05-20T19:30:00+01:00")
    assert standing()[("window.open",)] == 0  # it takes no validity: nothing else keeps the night
    run_sql("""UPDATE gateway SET capabilities = '{"validity": true}'""")
    assert standing()[("window.open",)] == 1


def test_receipts_without_a_notice_are_counted():
    known_gateway()
    run_sql(
        "INSERT INTO receipt (gateway, raw, match) SELECT 'fatoura_sms', '{}', m FROM unnest(ARRAY['new', "
        "'parked', 'parked', 'moved', 'unreadable']) m"
    )
    found = standing()
    assert (found[("receipts.unmatched", "fatoura_sms")], found[("receipts.parked", "fatoura_sms")]) == (1, 2)


def test_gateways_tell_health_share_and_limit(configure, database):
    configure(database_url=database, now=MORNING, segments_per_second=40)
    known_gateway("a", "b", "old")
    run_sql("UPDATE gateway SET health = 0.5, segments_per_second = 30 WHERE name = 'a'")
    run_sql("UPDATE gateway SET in_use = false WHERE name = 'old'")
    found = standing()
    assert [found[("gateway.share", one)] for one in ("a", "b", "old")] == [0.25, 0.75, 0]
    assert [found[("gateway.limit", one)] for one in ("a", "b")] == [30, 40]
    assert (found[("gateway.health", "a")], found[("gateway.in_use", "old")]) == (0.5, 0)
