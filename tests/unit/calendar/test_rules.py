"""The calendar's file: data that a person edits, and that says what is wrong with it."""

from datetime import date, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import yaml

from fatoura.calendar import Calendar, CalendarError, Hours, read_rules
from fatoura.calendar.moon import public_holidays
from fatoura.settings import Settings

# A day earlier than the package reckons.
EARLY_2027 = (date(2027, 2, 7), date(2027, 3, 8))
SHIPPED = Settings.model_fields["calendar_file"].default


@pytest.fixture
def edited(tmp_path: Path):
    def edit(change) -> Path:
        content = yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))
        change(content)
        path = tmp_path / "calendar.yaml"
        path.write_text(yaml.safe_dump(content), encoding="utf-8")
        return path

    return edit


def announce(content, first, last=None) -> None:
    """Write a Ramadan into the file as it was announced."""
    known = {"first": first, "last": last} if last else {"first": first}
    content["ramadan"].setdefault("announced", []).append(known)


def test_a_version_holds_from_its_day_until_the_next(edited):
    def add_version(content):
        content["versions"].append(
            {**content["versions"][0], "from": date(2027, 1, 1), "sending": "10:00-18:00"}
        )

    rules = read_rules(edited(add_version))
    assert rules.on(date(2015, 1, 1)).sending == Hours(time(9), time(20))
    assert rules.on(date(2026, 12, 31)).sending == Hours(time(9), time(20))
    assert rules.on(date(2027, 1, 1)).sending == Hours(time(10), time(18))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda c: c["versions"][0].update(sending=1200), "versions.0.sending: hours are written like"),
        (lambda c: c["versions"][0].update(sending="20:00-09:00"), "the second hour must come after"),
        (lambda c: c["versions"][0].update(sending="09:00-24:00"), "hours are written like"),
        (lambda c: c["versions"][0].update(no_sending_on=["dimanche"]), "versions.0.no_sending_on.0"),
        (lambda c: c["versions"][0].pop("weekend"), "versions.0.weekend: Field required"),
        (lambda c: c["versions"].append(c["versions"][0]), "in the order of their days"),
        (lambda c: c["versions"].clear(), "versions"),
        (lambda c: c.update(holiday={}), "holiday: Extra inputs"),
        (lambda c: c["holidays"]["provisional"].update(after=9), "holidays.provisional.after"),
        (lambda c: c["holidays"]["add"][0].update(day=32), "holidays.add.0.day"),
        (lambda c: c["holidays"]["add"][0].update(month=2, day=30), "no month 2 has a day 30"),
        (lambda c: c["holidays"]["add"][0].update(until=date(2020, 1, 1)), "it ends before it begins"),
        (lambda c: c["holidays"]["add"][0].pop("name"), "holidays.add.0.name: Field required"),
        (lambda c: c["holidays"]["except"].append({"name": "Revolution"}), "holidays.except.1.name: 'Revol"),
        (lambda c: c["holidays"].update(country="XX"), "no holidays of 'XX' are known"),
        (lambda c: announce(c, date(2027, 2, 8), date(2027, 4, 9)), "ramadan.announced.0: from its first"),
        (lambda c: announce(c, date(2027, 2, 8)), "ramadan.announced.0.last: Field required"),
        (
            lambda c: (announce(c, *EARLY_2027), announce(c, *EARLY_2027)),
            "those announced must be in the order",
        ),
    ],
)
def test_a_wrong_file_names_the_field(edited, change, told):
    with pytest.raises(CalendarError, match=told.replace(".", r"\.")):
        read_rules(edited(change))


def test_a_file_that_is_not_there_or_not_yaml_is_refused(tmp_path):
    with pytest.raises(CalendarError, match="cannot be read"):
        read_rules(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("versions: [", encoding="utf-8")
    with pytest.raises(CalendarError, match="not readable YAML"):
        read_rules(tmp_path / "bad.yaml")
    (tmp_path / "empty.yaml").write_text("", encoding="utf-8")
    with pytest.raises(CalendarError, match="is wrong"):
        read_rules(tmp_path / "empty.yaml")


def test_a_changed_file_is_read_again(edited):
    import os

    path = edited(lambda c: None)
    assert read_rules(path) is read_rules(path)
    edited(lambda c: c["versions"][0].update(posting_grace_working_days=5))
    os.utime(path, ns=(1, 1))
    assert read_rules(path).versions[0].posting_grace_working_days == 5


def test_an_unknown_country_is_refused():
    with pytest.raises(CalendarError, match="'XX'"):
        public_holidays("XX", 2026)


def test_a_dropped_holiday_is_one_that_the_package_lists():
    listed = {holiday.name for holidays in public_holidays("TN", 2026).values() for holiday in holidays}
    assert {dropped.name for dropped in read_rules(SHIPPED).holidays.drop} <= listed


def test_an_announced_ramadan_replaces_the_reckoned_one(edited):
    def ramadan(rules) -> list[date]:
        days = [date(2026, 12, 1) + timedelta(days=n) for n in range(150)]
        asked = Calendar(rules, ZoneInfo("Africa/Tunis"))
        return [day for day in days if asked.is_ramadan(day)]

    reckoned = ramadan(read_rules(SHIPPED))
    assert (reckoned[0], reckoned[-1]) == (date(2027, 2, 7), date(2027, 3, 9))  # a day before and after
    known = ramadan(read_rules(edited(lambda c: announce(c, *EARLY_2027))))
    assert (known[0], known[-1], len(known)) == (*EARLY_2027, 30)
