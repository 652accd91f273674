"""What lands is taken, whatever its form; what cannot be read is refused in words, and stops nothing else."""

from __future__ import annotations

import json
from datetime import date, timedelta

import pytest
from sqlalchemy import text

from fatoura import clock
from fatoura.database import begin
from fatoura.enrolment.intake import cycles_to_welcome, take_customers_and_coupons, what_is_to_do
from fatoura.enrolment.judging import judge_coupons
from fatoura.enrolment.lists import write_lists
from fatoura.enrolment.welcoming import conclude_welcomes, plan_welcomes
from fatoura.sending.taking_up import take_up
from fatoura.settings import get_settings
from tests.coupons import ANNA, BOB, CORA, coupon, outcomes, phone, subscribed, write_coupons, write_customers

MORNING = "2026-05-20T10:00:00+01:00"


@pytest.fixture(autouse=True)
def _day(database, configure):
    configure(now=MORNING)
    write_customers("c1", dict.fromkeys((ANNA, BOB, CORA), "open"))


def take() -> dict[str, str]:
    return {refused.feed: " ".join(refused.problems) for refused in take_customers_and_coupons().refused}


def test_a_workbook_is_taken_as_people_fill_one_in():
    write_coupons(
        "b1",
        [
            # Numbers as numbers, days as days, flags as flags.
            coupon("C1", phone=20000001, signed=True, crossed_out=False, signed_on=date(2026, 5, 1)),
            coupon("C2", BOB, phone=20000002.0, language=" fr "),
            # Zero lost, and a formula that nobody has reckoned: set aside.
            coupon("C3", int(CORA), phone=20000003),
            coupon("C4", CORA, phone='="2000"&"0004"'),
        ],
        part="coupons.xlsx",
    )
    assert take() == {}
    assert judge_coupons().counts == {"enrolled": 2}
    assert subscribed() == {ANNA: (phone(1), "ar", "active"), BOB: (phone(2), "fr", "active")}
    assert write_lists().counts["corrections"] == 2


@pytest.mark.parametrize(
    ("part", "spoil", "said"),
    [
        ("coupons.csv", lambda content: content.decode().encode("utf-16"), "UTF-8"),
        ("coupons.csv", lambda content: content.replace(b",", b";"), "something other than a comma"),
        ("coupons.csv", lambda content: content[:-40], "sha256"),
        ("coupons.xlsx", lambda content: content[:-40], "no XLSX workbook"),
        ("coupons.xlsx", lambda _: b"coupon_id,scan_id\n", "no XLSX workbook"),
    ],
)
def test_a_batch_that_cannot_be_read_is_refused_and_the_others_are_taken(part, spoil, said):
    folder = write_coupons("b1", [coupon("C1")], part=part)
    content = (folder / part).read_bytes()
    (folder / part).write_bytes(spoil(content))
    write_coupons("b2", [coupon("C2", BOB)])
    refused = take()
    assert list(refused) == ["b1"]
    assert said in refused["b1"]
    assert part in refused["b1"]
    assert outcomes() == {"C2": ""}


def test_a_batch_with_too_many_bad_rows_is_refused_as_a_whole(configure):
    rows = [coupon(f"C{number}", signed="no") for number in range(11)]
    write_coupons("b1", [*rows, coupon("C99")])
    assert "more than FATOURA_GUARD_BAD_COUPONS_SHARE allows" in take()["b1"]
    configure(guard_bad_coupons_share=1)
    assert take() == {}
    assert outcomes() == {"C99": ""}


def test_a_look_tells_what_there_is_to_do_and_in_the_end_nothing():
    assert what_is_to_do() == ["take feeds", "write lists"]
    write_coupons("b1", [coupon("C1")])
    take()
    assert what_is_to_do() == ["judge coupons", "write lists"]
    judge_coupons()
    write_lists()
    assert what_is_to_do() == ["plan welcomes"]
    plan_welcomes()
    assert what_is_to_do() == ["send welcomes"]
    (cycle,) = cycles_to_welcome()
    take_up(cycle)
    assert what_is_to_do() == []
    with begin() as connection:
        for state in ("sending", "undeliverable"):
            connection.execute(text("UPDATE notice SET state = :s, attempts = 1"), {"s": state})
    assert what_is_to_do() == ["conclude welcomes"]
    conclude_welcomes()
    assert what_is_to_do() == ["write lists"]
    write_lists()
    assert what_is_to_do() == []


def test_a_refused_batch_is_looked_at_again_now_and_then_and_at_once_when_it_was_mended(configure):
    folder = write_coupons("b1", [coupon("C1")], batch="b2")
    assert list(take()) == ["b1"]
    write_lists()
    assert what_is_to_do() == []
    configure(now=(clock.now() + get_settings().feed_poll + timedelta(seconds=1)).isoformat())
    assert what_is_to_do() == ["take feeds"]
    take()
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"batch": "b1"}))
    assert take() == {}
    assert outcomes() == {"C1": ""}
