"""Days and hours: what holds for every instant, and the days that people know."""

from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fatoura.calendar import Calendar, CalendarError, Decision, read_rules
from fatoura.settings import Settings

TUNIS = ZoneInfo("Africa/Tunis")


@cache
def rules():
    return read_rules(Settings.model_fields["calendar_file"].default)


def calendar(zone: ZoneInfo = TUNIS, decisions=None) -> Calendar:
    return Calendar(rules(), zone, decisions or {})


def at(text: str, zone: ZoneInfo = TUNIS) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone)


def opened(text: str) -> Decision:
    opens, closes = (time.fromisoformat(hour) for hour in text.split("-"))
    return Decision(False, opens, closes, "a reason", "a person")


CLOSED = Decision(True, None, None, "a reason", "a person")

days = st.dates(date(2024, 1, 1), date(2032, 12, 31))
# Zones with clocks that change at night, at midnight, by half an hour, and one that skipped a day.
zones = st.sampled_from(
    [
        "Africa/Tunis",
        "Europe/Paris",
        "Africa/Cairo",
        "Africa/Casablanca",
        "Australia/Lord_Howe",
        "Asia/Beirut",
    ]
).map(ZoneInfo)
instants = st.datetimes(datetime(2024, 1, 1), datetime(2032, 12, 31), timezones=st.just(UTC))
hours = (
    st.tuples(st.times(), st.times())
    .map(lambda pair: sorted(t.replace(second=0, microsecond=0, tzinfo=None) for t in pair))
    .filter(lambda pair: pair[0] < pair[1])
)
decided = st.dictionaries(
    days, st.just(CLOSED) | hours.map(lambda pair: Decision(False, *pair, "a reason", "a person")), max_size=8
)
calendars = st.builds(calendar, zones, decided)


@given(calendars, instants)
def test_the_next_opening_is_open_and_nothing_before_it_is(asked, instant):
    opening = asked.next_opening(instant)
    assert opening >= instant
    assert asked.is_open(opening)
    if opening > instant:
        wait = opening.astimezone(UTC) - instant
        assert not asked.is_open(instant)
        assert not asked.is_open(opening.astimezone(UTC) - timedelta(microseconds=1))
        assert not any(asked.is_open(instant + wait * part / 20) for part in range(20))


@given(calendars, instants)
def test_a_window_ends_with_its_closing(asked, instant):
    if not asked.is_open(instant):
        assert asked.remaining(instant) == timedelta()
        with pytest.raises(ValueError, match="outside"):
            asked.closing(instant)
        return
    closing = asked.closing(instant).astimezone(UTC)
    assert asked.remaining(instant) == closing - instant > timedelta()
    assert not asked.is_open(closing)
    assert asked.is_open(closing - timedelta(microseconds=1))


@given(calendars, instants)
def test_the_clock_on_the_wall_shows_an_hour_of_the_window(asked, instant):
    if not asked.is_open(instant):
        return
    wall = instant.astimezone(asked.zone)
    explained = asked.explain(wall.date())
    assert explained.hours.opens <= wall.time() < explained.hours.closes
    if explained.decision is None:
        assert time(9) <= wall.time() < time(20)
        assert wall.weekday() != 6
        assert explained.holidays == ()


@given(zones, days, hours)
@example(ZoneInfo("Europe/Paris"), date(2026, 3, 29), (time(2, 10), time(4)))
@example(ZoneInfo("Europe/Paris"), date(2026, 3, 29), (time(1, 50), time(2, 10)))
@example(ZoneInfo("Europe/Paris"), date(2026, 10, 25), (time(2, 10), time(2, 50)))
@example(ZoneInfo("Asia/Beirut"), date(2026, 3, 29), (time(0, 10), time(0, 50)))
@example(ZoneInfo("Australia/Lord_Howe"), date(2026, 4, 5), (time(1), time(1, 45)))
def test_a_day_on_which_the_clocks_change_keeps_its_hours(zone, day, pair):
    """Whatever the hours: inside them it is open, save at most the hour that the change makes doubtful."""
    asked = calendar(zone, {day: Decision(False, *pair, "a reason", "a person")})
    window = asked.window(day)
    start = datetime.combine(day, time(), zone).astimezone(UTC)
    for minutes in range(0, 24 * 60, 7):
        instant = start + timedelta(minutes=minutes)
        if asked.is_open(instant):
            assert pair[0] <= instant.astimezone(zone).time() < pair[1]
    if window is None:
        assert datetime.combine(day, pair[1]) - datetime.combine(day, pair[0]) <= timedelta(hours=1)


@given(st.builds(calendar), days, st.integers(0, 12))
def test_working_days_add_up(asked, day, number):
    reached = asked.add_working_days(day, number)
    between = [day + timedelta(days=n) for n in range(1, (reached - day).days + 1)]
    assert sum(map(asked.is_working_day, between)) == number
    assert number == 0 or asked.is_working_day(reached)


@given(calendars, days)
def test_the_last_closing_lies_on_the_last_open_day(asked, day):
    closing = asked.last_closing_on_or_before(day)
    last = closing.astimezone(asked.zone).date()
    assert last <= day
    assert asked.window(last)[1] == closing
    assert not any(asked.window(last + timedelta(days=n)) for n in range(1, (day - last).days + 1))


@given(calendars, days)
def test_a_warning_waits_for_the_grace_and_for_an_open_day(asked, due):
    first = asked.warn_from(due)
    waited = [due + timedelta(days=n) for n in range(1, (first - due).days + 1)]
    assert asked.window(first) is not None
    assert sum(map(asked.is_working_day, waited)) >= 3


@given(days)
@settings(max_examples=500)
@example(date(2030, 1, 5))
@example(date(2030, 12, 26))
def test_ramadan_and_holidays_shorten_or_close_a_day(day):
    asked = calendar()
    window = asked.window(day)
    if window and asked.is_ramadan(day):
        assert (window[0].time(), window[1].time()) == (time(10), time(16))
    elif window:
        assert (window[0].time(), window[1].time()) == (time(9), time(20))


@pytest.mark.parametrize(
    "day",
    ["01-01", "03-20", "04-09", "05-01", "07-25", "08-13", "10-15", "12-17"],
)
@pytest.mark.parametrize("year", range(2024, 2031))
def test_the_fixed_holidays_are_closed(year, day):
    holiday = date.fromisoformat(f"{year}-{day}")
    assert calendar().holidays(holiday)
    assert calendar().window(holiday) is None
    assert not calendar().is_working_day(holiday)


def test_the_revolution_is_remembered_in_december():
    assert not calendar().holidays(date(2026, 1, 14))
    assert "Revolution Day" in calendar().holidays(date(2026, 12, 17))
    assert calendar().holidays(date(2020, 1, 14))
    assert not calendar().holidays(date(2020, 12, 17))


@pytest.mark.parametrize(
    ("day", "holiday"),
    [
        ("2026-03-20", "Eid al-Fitr (provisional)"),
        ("2026-03-21", "Eid al-Fitr (provisional)"),  # the second of its two possible days
        ("2026-03-23", "Eid al-Fitr Holiday (provisional)"),
        ("2026-05-27", "Eid al-Adha (provisional)"),
        ("2026-05-28", "Eid al-Adha (provisional)"),
        ("2026-06-16", "Islamic New Year (provisional)"),
        ("2026-06-17", "Islamic New Year (provisional)"),
        ("2026-08-25", "Prophet's Birthday (provisional)"),
        ("2026-08-26", "Prophet's Birthday (provisional)"),
    ],
)
def test_both_possible_days_of_a_lunar_holiday_are_closed(day, holiday):
    assert holiday in calendar().holidays(date.fromisoformat(day))
    assert calendar().window(date.fromisoformat(day)) is None


def test_ramadan_is_shorter_and_may_begin_twice_a_year():
    asked = calendar()
    # 2026: reckoned from 18 February to 19 March, give or take a day.
    ramadan = [date(2026, 2, 17) + timedelta(days=n) for n in range(32)]
    assert all(map(asked.is_ramadan, ramadan))
    assert not asked.is_ramadan(date(2026, 2, 16))
    assert not asked.is_ramadan(date(2026, 3, 21))
    assert asked.window(date(2026, 2, 18)) == (at("2026-02-18T10:00"), at("2026-02-18T16:00"))
    assert asked.is_ramadan(date(2030, 1, 4))
    assert asked.is_ramadan(date(2030, 12, 31))
    assert asked.is_ramadan(date(2031, 1, 1))


def test_an_instant_that_is_open_is_its_own_opening():
    noon = datetime(2026, 5, 20, 11, tzinfo=UTC)
    assert calendar().next_opening(noon) is noon


def test_after_closing_on_a_saturday_it_opens_on_monday():
    assert calendar().next_opening(at("2026-05-23T20:00")) == at("2026-05-25T09:00")
    assert calendar().last_closing_on_or_before(date(2026, 5, 24)) == at("2026-05-23T20:00")


def test_hours_are_local_not_utc():
    assert not calendar().is_open(datetime(2026, 5, 20, 7, 59, tzinfo=UTC))
    assert calendar().is_open(datetime(2026, 5, 20, 8, 0, tzinfo=UTC))
    assert not calendar().is_open(datetime(2026, 5, 20, 19, 0, tzinfo=UTC))


def test_summer_time_moves_the_window_where_there_is_one():
    paris = calendar(ZoneInfo("Europe/Paris"))
    assert paris.window(date(2026, 3, 28))[0].astimezone(UTC).hour == 8
    assert paris.window(date(2026, 3, 30))[0].astimezone(UTC).hour == 7
    # Clocks go back at 03:00 on 25 October: the first 02:30 closes, the second opens.
    night = {date(2026, 10, 25): opened("01:00-02:30"), date(2026, 3, 29): opened("02:10-04:00")}
    paris = calendar(ZoneInfo("Europe/Paris"), night)
    assert paris.window(date(2026, 10, 25))[1].astimezone(UTC) == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    # Clocks go forward at 02:00 on 29 March: there is no 02:10.
    assert paris.window(date(2026, 3, 29))[0].time() == time(3, 10)


def test_a_decision_wins_over_sundays_holidays_and_plain_days():
    asked = calendar(
        decisions={
            date(2026, 5, 24): opened("10:00-12:00"),  # a Sunday
            date(2026, 3, 23): opened("09:00-20:00"),  # provisional, and the moon was seen
            date(2026, 5, 20): CLOSED,
            date(2026, 5, 21): Decision(False, None, None, "the usual hours", "a person"),
        }
    )
    assert asked.window(date(2026, 5, 24)) == (at("2026-05-24T10:00"), at("2026-05-24T12:00"))
    assert not asked.is_working_day(date(2026, 5, 24))
    assert asked.is_working_day(date(2026, 3, 23))
    assert asked.window(date(2026, 5, 20)) is None
    assert not asked.is_working_day(date(2026, 5, 20))
    assert asked.window(date(2026, 5, 21)) == (at("2026-05-21T09:00"), at("2026-05-21T20:00"))


def test_the_warning_comes_three_working_days_after_the_deadline():
    # Monday 15 June; the 16th and 17th may be the Hijri new year; then the 18th, 19th and Monday the 22nd.
    assert calendar().warn_from(date(2026, 6, 15)) == date(2026, 6, 22)
    # A deadline on a Thursday: Friday, Monday, Tuesday.
    assert calendar().warn_from(date(2026, 7, 2)) == date(2026, 7, 7)


def test_a_year_without_an_open_day_is_refused():
    shut = calendar(decisions={date(2026, 1, 1) + timedelta(days=n): CLOSED for n in range(500)})
    for ask in (
        lambda: shut.next_opening(at("2026-01-01T12:00")),
        lambda: shut.next_sending_day(date(2026, 1, 1)),
        lambda: shut.add_working_days(date(2026, 1, 1), 1),
        lambda: shut.last_closing_on_or_before(date(2027, 5, 1)),
    ):
        with pytest.raises(CalendarError, match="no day of a whole year"):
            ask()


def test_an_instant_without_a_zone_is_refused():
    with pytest.raises(ValueError, match="time zone"):
        calendar().is_open(datetime(2026, 5, 20, 12))


# --- Cutting supply

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
no_cut_days = st.sets(st.sampled_from(WEEKDAYS), max_size=6)
NO_CUT_ON = ("friday", "saturday", "sunday")


@given(calendars, days, st.integers(0, 30), no_cut_days)
def test_the_earliest_cut_keeps_the_notice_and_no_earlier_day_would_do(asked, day, notice, no_cut_on):
    cut = asked.earliest_cut(day, notice, no_cut_on)
    assert cut >= day + timedelta(days=notice)
    assert asked.may_cut(cut, no_cut_on)
    waited = (cut - day).days
    assert not any(asked.may_cut(day + timedelta(days=number), no_cut_on) for number in range(notice, waited))


@given(calendars, days, no_cut_days)
def test_supply_is_cut_on_no_forbidden_weekday_no_holiday_and_no_eve_of_one(asked, day, no_cut_on):
    if not asked.may_cut(day, no_cut_on):
        return
    assert WEEKDAYS[day.weekday()] not in no_cut_on
    for one in (day, day + timedelta(days=1)):
        explained = asked.explain(one)
        # A person's decision that a day is open wins over the holiday that it may be.
        assert not explained.holidays or explained.decision is not None
        assert explained.decision is None or not explained.decision.closed


@given(calendars, days, st.integers(0, 30), st.integers(0, 30), no_cut_days)
def test_longer_notice_or_a_later_warning_never_makes_the_cut_earlier(asked, day, notice, more, no_cut_on):
    cut = asked.earliest_cut(day, notice, no_cut_on)
    assert asked.earliest_cut(day, notice + more, no_cut_on) >= cut
    assert asked.earliest_cut(day + timedelta(days=more), notice, no_cut_on) >= cut


@pytest.mark.parametrize(
    ("warned", "cut"),
    [
        ("2026-06-29", "2026-07-09"),  # a Thursday
        ("2026-06-30", "2026-07-13"),  # ten days on is a Friday
        ("2026-07-01", "2026-07-13"),
        ("2026-07-14", "2026-07-27"),  # the 24th is a Friday and the eve of Republic Day
        ("2026-08-02", "2026-08-17"),  # the 12th is the eve of Women's Day, itself a Thursday
        ("2026-06-05", "2026-06-18"),  # Monday the 15th is the eve of what may be the Hijri new year
    ],
)
def test_the_day_of_the_cut_is_at_least_ten_days_away_and_a_day_on_which_people_can_pay(warned, cut):
    assert calendar().earliest_cut(date.fromisoformat(warned), 10, NO_CUT_ON) == date.fromisoformat(cut)


def test_a_day_that_is_closed_by_decision_moves_the_cut_and_so_does_its_eve():
    asked = calendar(decisions={date(2026, 7, 14): CLOSED})
    assert not asked.may_cut(date(2026, 7, 13), NO_CUT_ON)
    assert asked.earliest_cut(date(2026, 6, 30), 10, NO_CUT_ON) == date(2026, 7, 15)


def test_a_year_without_a_day_for_a_cut_is_refused():
    with pytest.raises(CalendarError, match="on no day of a whole year"):
        calendar().earliest_cut(date(2026, 6, 30), 10, WEEKDAYS)
