"""A report's figures, counted by the database, against the rows that they stand for."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from statistics import quantiles

import pytest
from sqlalchemy import text

from fatoura.database import begin, connect
from fatoura.errors import BadInput
from fatoura.notices.states import Decision, State
from fatoura.reports.figures import AGE_EDGES, DELIVERY_EDGES, Figures, Phase, cycle_figures
from fatoura.sending.doubts import resolve
from tests.database.seeded_cycle import AS_OF, SeededCycle, seed_cycle
from tests.doubts import answer, claim, doubt
from tests.notices import ids

pytestmark = pytest.mark.database

NOW = datetime.fromisoformat(AS_OF)


def seeded(**options: object) -> SeededCycle:
    with begin() as connection:
        return seed_cycle(connection, **options)  # type: ignore[arg-type]


def figures(key: str = "2026-05-T1") -> Figures:
    with connect() as connection:
        return cycle_figures(connection, key, NOW)


def rows(statement: str) -> list:
    with connect() as connection:
        return connection.execute(text(statement)).all()


def test_every_figure_is_the_count_of_its_rows(database):
    seeded()
    seeded(key="another-cycle", rows=500)  # must not be counted
    cycle = "(SELECT id FROM cycle WHERE key = '2026-05-T1')"
    notices = rows(f"SELECT * FROM notice WHERE cycle_id = {cycle}")
    f = figures()

    assert f.ledger.identity_holds
    states = Counter(State(notice.state) for notice in notices)
    assert f.overall.states == states
    for groups, column in ((f.districts, "district"), (f.languages, "language"), (f.kinds, "kind")):
        expected: dict[str, Counter[State]] = {}
        for notice in notices:
            expected.setdefault(getattr(notice, column), Counter())[State(notice.state)] += 1
        assert {group.code: group.states for group in groups} == expected
    assert {group.code: group.states for group in f.gateways} == {
        "fatoura_sms": Counter(State(notice.state) for notice in notices if notice.gateway)
    }
    tunis = next(group for group in f.districts if group.code == "TUNIS")
    assert (tunis.name_fr, tunis.name_ar) == ("Tunis Ville", "تونس المدينة")
    assert tunis.sent == tunis.delivered + tunis.failed + tunis.unconfirmed

    taken = sorted(
        (notice.final_at - notice.submitted_at).total_seconds()
        for notice in notices
        if notice.state == "delivered"
    )
    assert f.delivery_time is not None
    assert f.delivery_time.delivered == len(taken) == sum(f.delivery_time.classes)
    assert f.delivery_time.longest == pytest.approx(taken[-1])
    cuts = quantiles(taken, n=100, method="inclusive")
    found = (f.delivery_time.median, f.delivery_time.p90, f.delivery_time.p99)
    assert found == pytest.approx((cuts[49], cuts[89], cuts[98]))
    by_class = Counter(sum(seconds >= edge for edge in DELIVERY_EDGES) for seconds in taken)
    assert dict(enumerate(f.delivery_time.classes)) == {
        n: by_class[n] for n in range(len(DELIVERY_EDGES) + 1)
    }

    rejected = rows(
        f"SELECT reasons FROM rejected_row r JOIN extract e ON e.id = r.extract_id WHERE e.cycle_id = {cycle}"
    )
    assert {r.code: r.rows for r in f.rejections} == Counter(code for (codes,) in rejected for code in codes)
    assert {r.code: r.alone for r in f.rejections if r.alone} == Counter(
        codes[0] for (codes,) in rejected if len(codes) == 1
    )
    unnoticed = rows(f"SELECT bucket, reason FROM invoice WHERE cycle_id = {cycle} AND bucket <> 'noticed'")
    assert {(u.bucket, u.reason): u.rows for u in f.unnoticed} == Counter(map(tuple, unnoticed))

    open_notices = [n for n in notices if n.state in ("accepted", "in_doubt", "sending")]
    assert sum(ages.notices for ages in f.open) == len(open_notices)
    accepted = next(ages for ages in f.open if ages.state is State.ACCEPTED)
    assert accepted.oldest == min(n.submitted_at for n in open_notices if n.state == "accepted")
    assert accepted.classes[3] == accepted.notices  # sent one or two days before

    assert sum(f.receipts.values()) == len(
        rows(f"SELECT FROM receipt WHERE notice_id IN (SELECT id FROM notice WHERE cycle_id = {cycle})")
    )
    assert f.receipts_unmatched == {"parked": 6, "unreadable": 4}  # of both cycles: nobody can tell which
    assert f.receipts_until == max(
        at
        for (at,) in rows(
            "SELECT received_at FROM receipt r JOIN notice n ON n.id = r.notice_id "
            f"WHERE n.cycle_id = {cycle}"
        )
    )
    assert f.warnings == states[State.DELIVERED]
    assert f.reported_before is None


def test_each_attempt_is_paid_for_doubtful_or_refused(database):
    seeded()
    f = figures()
    attempts = rows("SELECT a.outcome, n.segments FROM attempt a JOIN notice n ON n.id = a.notice_id")
    assert sum(s.accepted + s.doubtful + s.refused for s in f.spends) == len(attempts)
    assert f.segments == sum(segments for outcome, segments in attempts if outcome == "accepted")
    assert f.doubtful_segments == sum(segments for outcome, segments in attempts if outcome == "in_doubt")
    assert f.cost_millimes == f.segments * 20
    assert f.languages[0].code == "ar"


def test_a_doubt_that_a_receipt_resolves_is_paid_for(database):
    seeded()
    before = figures()
    with begin() as connection:
        one = connection.scalar(text("SELECT id FROM notice WHERE state = 'in_doubt' LIMIT 1"))
        connection.execute(text("UPDATE notice SET state = 'delivered' WHERE id = :id"), {"id": one})
    after = figures()
    assert before.doubtful_segments > after.doubtful_segments
    assert before.segments + before.doubtful_segments == after.segments + after.doubtful_segments


def test_speed_leaves_nights_out_and_counts_every_answer(database):
    seeded(rows=6000, per_second=5)
    speed = figures().speed
    assert speed is not None
    answered = rows(
        "SELECT a.answered_at, n.segments FROM attempt a JOIN notice n ON n.id = a.notice_id "
        "WHERE outcome IN ('accepted', 'rejected') ORDER BY 1"
    )
    bins = [one for session in speed.sessions for one in session]
    assert speed.messages == sum(one.messages for one in bins) == len(answered)
    assert speed.segments == sum(one.segments for one in bins) == sum(segments for _, segments in answered)
    assert len(speed.sessions) == 2
    assert sum(one.seconds for one in bins) == pytest.approx(speed.active_seconds)
    assert speed.active_seconds < 600
    assert speed.mean == pytest.approx(5, rel=0.2)
    assert len(bins) <= 125
    for session in speed.sessions:
        for one, following in pairwise(session):
            assert one.start + timedelta(seconds=one.seconds) == following.start
    assert bins[0].start == answered[0][0].replace(microsecond=0)


def test_a_long_send_is_counted_by_minutes(database):
    seeded(rows=6000, per_second=0.5)
    speed = figures().speed
    assert speed is not None
    assert speed.bin_seconds >= 60
    assert sum(one.messages for session in speed.sessions for one in session) == speed.messages
    assert all(one.seconds > 0 for session in speed.sessions for one in session)


def test_what_a_provider_quotes_of_a_customer_is_masked_and_its_codes_are_kept(database):
    seeded(rows=300, sent=False)
    words = {
        "NACK/0x00000045/Submit failed": "NACK/0x00000045/Submit failed",
        "to:+21620000017 absent": "to:*** absent",
        "tel21620000018 absent": "tel*** absent",
        "20 000 019 unknown": "*** unknown",
        "contract 300000017, err:027": "contract ***, err:027",
        "id:7f0c err:001 done 2605201001": "id:7f0c err:001 done ***",
        "": "",
    }
    with begin() as connection:
        ids = connection.scalars(
            text("SELECT id FROM notice WHERE state = 'planned' LIMIT :n"), {"n": len(words)}
        )
        for notice_id, said in zip(ids.all(), words, strict=True):
            for state in ("sending", "undeliverable"):
                connection.execute(
                    text("UPDATE notice SET state = :state, reason = :said, attempts = 1 WHERE id = :id"),
                    {"state": state, "said": said, "id": notice_id},
                )
    failed = [f for f in figures().failures if f.state is State.UNDELIVERABLE]
    assert {f.detail for f in failed} == set(words.values())


def test_a_provider_with_a_new_word_each_time_does_not_make_the_report_endless(database):
    seeded(rows=300, sent=False)
    with begin() as connection:
        for state in ("sending", "expired"):
            connection.execute(
                text(
                    "UPDATE notice SET state = :state, attempts = 1, reason = 'word ' || id "
                    "WHERE state <> 'cancelled'"
                ),
                {"state": state},
            )
        expired = connection.scalar(text("SELECT count(*) FROM notice WHERE state = 'expired'"))
    f = figures()
    assert len(f.failures) < 30
    assert sum(one.notices for one in f.failures if one.state is State.EXPIRED) == expired
    assert any(one.detail is None for one in f.failures)


def test_receipts_without_our_id_are_known_by_the_providers(database):
    seeded(rows=2000)
    before = figures().receipts
    with begin() as connection:
        connection.execute(text("UPDATE attempt SET provider_id = 'P' || notice_id || '-' || number"))
        connection.execute(
            text(
                "INSERT INTO receipt (gateway, raw, provider_id, status, match) "
                "SELECT a.gateway, '{}', a.provider_id, 'delivered', 'repeated' FROM attempt a "
                "JOIN notice n ON n.id = a.notice_id JOIN cycle c ON c.id = n.cycle_id "
                "WHERE c.key = '2026-05-T1' LIMIT 5"
            )
        )
    assert figures().receipts["repeated"] == before["repeated"] + 5


def test_the_next_report_tells_what_has_changed(database):
    seeded(rows=2000)
    with begin() as connection:
        connection.execute(
            text(
                "INSERT INTO stage (cycle_id, name, started_at, finished_at, counts) "
                "SELECT id, 'report', :at, :at, '{\"delivered\": 1, \"accepted\": 40}' FROM cycle"
            ),
            {"at": datetime(2026, 5, 21, tzinfo=UTC)},
        )
    f = figures()
    states = f.overall.states
    assert f.reported_before == datetime(2026, 5, 21, tzinfo=UTC)
    assert f.changes[State.DELIVERED] == states[State.DELIVERED] - 1
    assert f.changes[State.ACCEPTED] == states[State.ACCEPTED] - 40
    assert State.SENDING not in f.changes


def test_a_stage_that_ran_again_is_told_once_with_its_last_run(database):
    seeded(rows=300)
    with begin() as connection:
        connection.execute(
            text(
                "INSERT INTO stage (cycle_id, name, started_at, finished_at, counts) "
                "SELECT id, 'render', :at, :at, '{\"planned\": 0}' FROM cycle"
            ),
            {"at": NOW},
        )
    (render,) = [stage for stage in figures().stages if stage.name == "render"]
    assert (render.runs, render.counts) == (2, {"planned": 0})


@pytest.mark.parametrize(
    ("options", "phase"),
    [
        ({"rows": 0, "supplement": False, "sent": False}, Phase.NOTHING_TO_SEND),
        ({"rows": 200, "rejected_share": 1.0, "sent": False}, Phase.NOTHING_TO_SEND),
        ({"rows": 200, "subscribed_share": 0.0, "sent": False}, Phase.NOTHING_TO_SEND),
        ({"rows": 200, "sent": False}, Phase.DRY_RUN),
        ({"rows": 2000}, Phase.AWAITING),
    ],
)
def test_the_phase_is_read_from_the_rows(database, options, phase):
    seeded(**options)
    f = figures()
    assert f.phase is phase
    assert f.ledger.identity_holds
    assert f.ledger.extracted == f.ledger.rejected + f.ledger.unsubscribed + f.ledger.suppressed + (
        f.ledger.held_out + f.ledger.noticed
    )


def test_the_phase_follows_the_notices(database):
    seeded(rows=200, sent=False)
    with begin() as connection:
        connection.execute(text("DELETE FROM stage WHERE name = 'release'"))
    assert figures().phase is Phase.PLANNED

    def move(state: str, how_many: str) -> None:
        with begin() as connection:
            connection.execute(
                text(
                    "UPDATE notice SET state = :state, attempts = 1 WHERE id IN "
                    f"(SELECT id FROM notice WHERE state NOT IN ('cancelled', :state) {how_many})"
                ),
                {"state": state},
            )

    move("sending", "LIMIT 1")
    assert figures().phase is Phase.SENDING
    move("sending", "")
    move("accepted", "")
    assert figures().phase is Phase.AWAITING
    move("delivered", "")
    assert figures().phase is Phase.SETTLED


def test_a_cycle_that_is_not_matched_yet_is_being_prepared(database):
    with begin() as connection:
        connection.execute(text("INSERT INTO cycle (key, issue_date) VALUES ('2026-06-T1', '2026-06-20')"))
    f = figures("2026-06-T1")
    assert f.phase is Phase.PREPARING
    assert f.overall.sent == 0
    assert f.overall.rate is None
    assert (f.delivery_time, f.speed, f.open, f.spends) == (None, None, [], [])


def test_an_unknown_cycle_is_refused(database):
    with pytest.raises(BadInput, match="no cycle"):
        figures("2031-01-T1")


def test_ages_are_classed_by_their_edges(database):
    seeded()
    with begin() as connection:
        connection.execute(
            text("UPDATE notice SET submitted_at = :at WHERE state = 'in_doubt'"),
            {"at": NOW - timedelta(seconds=AGE_EDGES[0])},
        )
    doubt = next(ages for ages in figures().open if ages.state is State.IN_DOUBT)
    assert doubt.classes[1] == doubt.notices
    assert doubt.oldest == NOW - timedelta(hours=1)


def test_doubts_are_counted_by_what_becomes_of_them_and_decisions_by_what_they_are(database, configure):
    configure(now="2026-05-20T10:00:00+01:00")
    cycle = doubt(3)
    doubt(2, kind="warning", hours=7, first=10)
    doubt(1, cycle="2026-05-T2")
    f = figures()
    assert [(d.kind, d.next, d.why, d.notices) for d in f.doubts] == [
        ("bill", "resend", "harmless", 3),
        ("warning", "listed", "gives_up", 2),
    ]
    assert f.decisions == {}
    one, two, *_ = ids(cycle)
    with begin() as connection:
        for notice, decision in ((one, Decision.UNDELIVERABLE), (two, Decision.ACCEPTED)):
            resolve(connection, {notice: 1}, decision, reason="their log says so", by="amel")
    f = figures()
    assert f.decisions == {Decision.ACCEPTED: 1, Decision.UNDELIVERABLE: 1}
    assert sum(d.notices for d in f.doubts) == 3
    assert [(failure.detail, failure.notices) for failure in f.failures] == [("decided_by_hand", 1)]


def test_what_a_decision_says_of_an_attempt_decides_who_pays_for_it(database, configure):
    """Accepted is paid for, proven not taken is not; who is taken for undeliverable may be paid for still."""
    configure(now="2026-05-20T10:00:00+01:00")
    cycle = doubt(4)
    assert (figures().segments, figures().doubtful_segments) == (0, 4)
    for notice, decision in zip(ids(cycle), Decision, strict=False):
        with begin() as connection:
            resolve(connection, {notice: 1}, decision, reason="their log says so", by="amel")
    assert (figures().segments, figures().doubtful_segments) == (1, 2)
    [again] = claim(cycle)
    answer([again], "accepted")
    assert (figures().segments, figures().doubtful_segments) == (2, 2)
