"""The gate before anybody is warned: every channel's payments are known, or each that is not is named."""

from datetime import UTC, datetime, timedelta

import pytest

from fatoura import clock
from fatoura.cutoff.freshness import (
    FeedStale,
    Freshness,
    check_freshness,
    freshness,
    freshness_of_morning,
    insist,
    watermarks_document,
)
from fatoura.cutoff.rules import Channel, rules_on
from fatoura.database import connect
from fatoura.errors import NeedsAPerson
from tests.cutoff import CHANNELS, watermark
from tests.notices import run_sql


@pytest.fixture(autouse=True)
def _morning(database, configure):
    configure(now="2026-06-30T09:30:00+01:00")


def now_known(ask=freshness) -> dict[Channel, Freshness]:
    with connect() as connection:
        return {one.channel: one for one in ask(connection, rules_on(clock.today()))}


def test_a_channel_that_no_feed_has_ever_told_of_is_stale():
    watermark(channels=CHANNELS[:-1])
    assert [channel for channel, one in now_known().items() if one.is_stale] == [Channel.DEBIT]
    with pytest.raises(FeedStale) as refused:
        check_freshness()
    assert str(refused.value).startswith(
        "nobody is warned: the payments are not known up to now. "
        "debit is never told by any feed, needed until 2026-06-29 03:30. "
    )


def test_all_that_is_stale_is_named_each_with_its_hours():
    watermark()
    watermark(datetime(2026, 6, 28, 18, tzinfo=UTC), channels=("post", "bank"))
    with pytest.raises(FeedStale) as refused:
        check_freshness()
    assert (
        "post is complete until 2026-06-28 19:00, needed until 2026-06-29 03:30; "
        "bank is complete until 2026-06-28 19:00, needed until 2026-06-29 03:30"
    ) in str(refused.value)
    assert "counter" not in str(refused.value)


def test_nothing_but_a_person_or_a_feed_helps():
    assert issubclass(FeedStale, NeedsAPerson)


def test_the_hour_is_kept_to_the_microsecond():
    hours = timedelta(hours=rules_on(clock.today()).fresh_within_hours[Channel.WEB])
    watermark()
    asked = now_known()[Channel.WEB]
    known = Freshness(Channel.WEB, asked.needed, asked.needed)
    assert not known.is_stale
    assert Freshness(Channel.WEB, asked.needed - timedelta(microseconds=1), asked.needed).is_stale
    assert timedelta() <= clock.now() - hours - asked.needed < timedelta(seconds=30)


@pytest.mark.parametrize(("until", "stale"), [("04:59:59", True), ("05:00:00", False), ("07:00:00", False)])
def test_the_hand_over_wants_the_same_morning_by_the_local_clock(until, stale):
    watermark(datetime.fromisoformat(f"2026-06-30T{until}+01:00"))
    assert {one.is_stale for one in now_known(freshness_of_morning).values()} == {stale}
    assert not any(one.is_stale for one in now_known().values())


def test_what_was_enough_yesterday_is_not_today(configure):
    watermark()
    check_freshness()
    configure(now="2026-07-01T15:31:00+01:00")
    with pytest.raises(FeedStale):
        check_freshness()


def test_records_hold_each_channel_also_those_that_were_never_told_of():
    watermark(datetime(2026, 6, 30, 7, tzinfo=UTC), channels=("counter",))
    with connect() as connection:
        document = watermarks_document(freshness(connection, rules_on(clock.today())))
    assert set(document) == set(CHANNELS)
    assert datetime.fromisoformat(document["counter"]) == datetime(2026, 6, 30, 7, tzinfo=UTC)
    assert document["debit"] is None


def test_insisting_says_what_does_not_happen():
    watermark()
    run_sql("DELETE FROM watermark WHERE channel = 'app'")
    channels = list(now_known().values())
    with connect() as connection:
        with pytest.raises(FeedStale, match=r"^no letters are listed: .*app is never told"):
            insist(connection, channels, "no letters are listed")
        insist(connection, [], "nothing")


def test_nobody_is_warned_while_what_is_known_of_accounts_is_not_understood():
    """A refused feed of facts may protect the very customer who is to be warned."""
    watermark()
    refuse = (
        "INSERT INTO feed_refusal (content, name, location, problems, first_refused_at, refused_at) "
        "VALUES (:content, :content || '-1', 'x', '{}', now(), now())"
    )
    run_sql(refuse, content="payments")  # holds back the watermarks of its channels, and that is enough
    check_freshness()
    run_sql(refuse, content="facts")
    with pytest.raises(FeedStale, match="still in the landing folder: facts-1 "):
        check_freshness()
    run_sql("DELETE FROM feed_refusal")
    check_freshness()
