"""What becomes of the rows of payment feeds: each in one bucket, and which of two stands."""

from __future__ import annotations

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from fatoura.database import connect
from fatoura.feeds import FeedRefused
from fatoura.feeds.refusal import FeedDiffers
from fatoura.payments import load_payments_feed, watermarks
from tests.payments import load_payments, payment, reversal, write_payments


@pytest.fixture(autouse=True)
def _day(database, configure):
    configure(now="2026-06-29T09:00:00+01:00")


def rows(statement: str) -> list[tuple]:
    with connect() as connection:
        return [tuple(row) for row in connection.execute(text(statement))]


def standing() -> list[tuple]:
    return rows("SELECT payment_id, invoice_number, counts_millimes, outcome FROM payment ORDER BY 1, 2")


def pending() -> list[tuple]:
    return rows(
        "SELECT f.name, s.row_number, s.invoice_number FROM set_aside_row s JOIN feed f ON f.id = s.feed_id "
        "WHERE s.settled_at IS NULL ORDER BY 1, 2"
    )


MORNING, NOON, EVENING = (f"2026-06-28T{hour}:00:00+01:00" for hour in ("08", "12", "18"))


def test_every_row_is_in_one_bucket():
    loaded = load_payments(
        "f1",
        payment("P1", "F1", 5000),
        payment("P1", "F2", 700),
        payment("P1", "F1", 5000),
        payment("P2", "F1", 0),
        b"P3,F1",
    )
    assert loaded.counts == {"new": 2, "repeated": 1, "set_aside": 2}
    assert loaded.rows == 5
    assert rows("SELECT counts, applied_at FROM feed") == [({"rows": 5, **loaded.counts}, None)]
    assert [(row.row, row.reasons) for row in loaded.set_aside] == [
        (4, ("amount_millimes: not_positive",)),
        (5, ("row: wrong_number_of_fields",)),
    ]
    assert standing() == [("P1", "F1", 5000, "counted"), ("P1", "F2", 700, "counted")]


def test_rows_set_aside_are_kept_as_they_came():
    folder = write_payments(
        "f1",
        [payment("P1", " f1 ", 5000) | {"till": "3"}, b"garbage"],
        columns=[*payment("", "", ""), "till"],
    )
    load_payments_feed(folder)
    kept = rows(
        "SELECT row_number, part, part_row, content, reasons, fields, subject, invoice_number, "
        "customer_reference FROM set_aside_row ORDER BY 1"
    )
    assert kept[0][:5] == (1, "payments.csv", 1, "payments", ["invoice_number: form"])
    assert kept[0][5]["till"] == "3"
    assert kept[0][6:] == ("P1", "F1", None)  # whom it probably means is spared
    assert kept[1][4:] == (["row: wrong_number_of_fields"], {"payment_id": "garbage"}, "garbage", None, None)


def test_the_same_feed_again_does_nothing():
    folder = write_payments("f1", [payment("P1", "F1", 5000)], until=NOON)
    first = load_payments_feed(folder)
    again = load_payments_feed(folder)
    assert (again.outcome, again.feed_id, again.rows) == ("already loaded", first.feed_id, 1)
    assert standing() == [("P1", "F1", 5000, "counted")]


def test_another_feed_under_the_same_name_is_refused():
    load_payments("f1", payment("P1", "F1", 5000), until=NOON)
    with pytest.raises(FeedDiffers, match="another feed was loaded under this name"):
        load_payments("f1", payment("P1", "F1", 6000), until=NOON)
    assert standing() == [("P1", "F1", 5000, "counted")]


@pytest.mark.parametrize("order", [("f1", "f2"), ("f2", "f1")])
def test_of_two_versions_the_one_under_the_later_watermark_stands(order):
    feeds = {"f1": (5000, MORNING), "f2": (6000, NOON)}
    for name in order:
        amount, until = feeds[name]
        load_payments(name, payment("P1", "F1", amount), until=until)
    assert standing() == [("P1", "F1", 6000, "counted")]
    [(was, told, instead, revision)] = rows(
        "SELECT s.was, f.name, b.name, p.revision FROM superseded_row s JOIN feed f ON f.id = s.feed_id "
        "JOIN feed b ON b.id = s.superseded_by JOIN payment p ON p.payment_id = s.subject"
    )
    assert (was["amount_millimes"], told, instead, revision) == (5000, "f1", "f2", 1)


def test_under_the_same_watermark_the_later_name_stands():
    load_payments("b", payment("P1", "F1", 6000), until=NOON)
    assert load_payments("a", payment("P1", "F1", 5000), until=NOON).counts == {"superseded": 1}
    assert load_payments("c", payment("P1", "F1", 7000), until=NOON).counts == {"corrected": 1}
    assert standing() == [("P1", "F1", 7000, "counted")]


def test_a_row_that_is_told_again_holds_against_what_was_said_in_between():
    load_payments("f1", payment("P1", "F1", 5000), until=MORNING)
    load_payments("f3", payment("P1", "F1", 5000), until=EVENING)
    assert load_payments("f2", payment("P1", "F1", 6000), until=NOON).counts == {"superseded": 1}
    assert standing() == [("P1", "F1", 5000, "counted")]
    assert rows("SELECT f.name, told_in FROM payment p JOIN feed f ON f.id = p.feed_id") == [("f1", "f3")]


def test_what_came_too_late_leaves_one_trace_however_often_it_is_told():
    load_payments("f9", payment("P1", "F1", 5000), until=EVENING)
    for name in ("f1", "f2", "f3"):
        load_payments(name, payment("P1", "F1", 6000), until=NOON)
    assert rows("SELECT count(*) FROM superseded_row") == [(1,)]


def test_two_different_rows_of_one_payment_in_a_feed_are_set_aside_and_nothing_changes():
    load_payments("f1", payment("P1", "F1", 5000), until=MORNING)
    loaded = load_payments(
        "f2",
        payment("P1", "F1", 6000),
        payment("P2", "F1", 1),
        payment("P1", "F1", 7000),
        until=NOON,
    )
    assert loaded.counts == {"new": 1, "set_aside": 2}
    assert {reason for row in loaded.set_aside for reason in row.reasons} == {"payment_id: conflicting_rows"}
    assert pending() == [("f2", 1, "F1"), ("f2", 3, "F1")]
    assert standing()[0] == ("P1", "F1", 5000, "counted")


# --- Reversals ---------------------------------------------------------------------------------------


def test_a_reversal_puts_back_what_was_paid():
    load_payments("f1", payment("P1", "F1", 5000), reversal("R1", "P1", "F1", 5000))
    assert standing()[1] == ("R1", "F1", -5000, "counted")


def test_reversals_put_back_no_more_than_was_paid_each_in_its_turn():
    load_payments(
        "f1",
        payment("P1", "F1", 5000),
        reversal("R2", "P1", "F1", 3000, paid_at="2026-06-24T10:00:00Z"),
        reversal("R1", "P1", "F1", 3000, paid_at="2026-06-25T10:00:00Z"),
        reversal("R3", "P1", "F1", 3000, paid_at="2026-06-26T10:00:00Z"),
    )
    assert standing()[1:] == [
        ("R1", "F1", -2000, "exceeds_payment"),
        ("R2", "F1", -3000, "counted"),
        ("R3", "F1", 0, "exceeds_payment"),
    ]


def test_a_reversal_waits_for_its_payment_and_for_the_same_invoice():
    load_payments("f1", reversal("R1", "P1", "F1", 5000), reversal("R2", "P1", "F2", 5000))
    assert [row[2:] for row in standing()] == [(0, "waits_for_payment")] * 2
    load_payments("f2", payment("P1", "F1", 4000))
    assert standing() == [
        ("P1", "F1", 4000, "counted"),
        ("R1", "F1", -4000, "exceeds_payment"),
        ("R2", "F2", 0, "waits_for_payment"),
    ]


def test_a_corrected_payment_or_reversal_is_counted_anew():
    load_payments("f1", payment("P1", "F1", 5000), reversal("R1", "P1", "F1", 5000), until=MORNING)
    load_payments("f2", payment("P1", "F1", 2000), until=NOON)
    assert standing()[1] == ("R1", "F1", -2000, "exceeds_payment")
    load_payments("f3", reversal("R1", "P9", "F1", 5000), until=EVENING)
    assert standing() == [("P1", "F1", 2000, "counted"), ("R1", "F1", 0, "waits_for_payment")]
    load_payments("f4", payment("R1", "F1", 5000), until="2026-06-28T20:00:00+01:00")
    assert standing() == [("P1", "F1", 2000, "counted"), ("R1", "F1", 5000, "counted")]


def test_a_reversal_of_a_reversal_waits():
    load_payments(
        "f1", payment("P1", "F1", 5000), reversal("R1", "P1", "F1", 5000), reversal("R2", "R1", "F1", 5000)
    )
    assert standing()[2] == ("R2", "F1", 0, "waits_for_payment")


# --- Rows set aside and settled ----------------------------------------------------------------------


def test_a_later_good_row_of_the_same_id_and_invoice_settles_one_that_was_set_aside():
    load_payments("f1", payment("P1", "F1", "5,0"), payment("P1", "F2", "x"), until=MORNING)
    loaded = load_payments("f2", payment("P1", "F1", 5000), until=NOON)
    assert loaded.counts == {"new": 1, "settled": 1}
    assert pending() == [("f1", 2, "F2")]
    assert rows("SELECT settled_by, settlement FROM set_aside_row WHERE row_number = 1") == [("feed", "f2")]


def test_a_row_that_arrives_late_and_broken_is_settled_by_what_stands_already():
    load_payments("f2", payment("P1", "F1", 5000), until=NOON)
    assert load_payments("f1", payment("P1", "F1", "x"), until=MORNING).counts == {
        "set_aside": 1,
        "settled": 1,
    }
    assert pending() == []


def test_an_earlier_good_row_settles_nothing():
    load_payments("f2", payment("P1", "F1", "x"), until=NOON)
    load_payments("f1", payment("P1", "F1", 5000), until=MORNING)
    assert pending() == [("f2", 1, "F1")]


# --- Watermarks --------------------------------------------------------------------------------------


def channels() -> dict[str, str]:
    with connect() as connection:
        return {channel: f"{at:%d %H:%M}" for channel, at in watermarks(connection).items()}


def test_a_watermark_is_the_latest_of_all_feeds_by_channel():
    load_payments("f2", until={"counter": NOON, "post": MORNING})
    load_payments("f1", until={"counter": MORNING, "post": EVENING})
    assert channels() == {"counter": "28 11:00", "post": "28 17:00"}


def test_a_row_of_a_channel_that_the_feed_says_nothing_of_is_set_aside():
    loaded = load_payments("f1", payment("P1", "F1", 5, channel="web"), until={"counter": NOON})
    assert loaded.set_aside[0].reasons == ("channel: not_in_complete_until",)


# --- Refusals as a whole -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"total_amount_millimes": 4999}, r"make 5,000, the manifest says 4,999 \(difference \+1\)"),
        ({"parts": [{"name": "payments.csv", "rows": 1, "sha256": "0" * 64}]}, "its sha256 is"),
        ({"parts": [{"name": "gone.csv", "rows": 1, "sha256": "0" * 64}]}, "gone.csv: named in the manifest"),
    ],
)
def test_a_feed_that_differs_from_its_manifest_leaves_nothing(change, said):
    folder = write_payments("f1", [payment("P1", "F1", 5000)], **change)
    with pytest.raises(FeedRefused, match=said):
        load_payments_feed(folder)
    assert standing() == []
    assert rows("SELECT count(*) FROM feed") == [(0,)]
    assert channels() == {}


def test_a_feed_whose_form_has_changed_is_refused_with_the_first_rows():
    dinars = [payment(f"P{n}", f"F{n}", "12.500") for n in range(11)]
    with pytest.raises(FeedRefused, match="11 of 11 rows break a rule") as refused:
        load_payments("f1", *dinars)
    assert "11 × amount_millimes: not_an_integer" in str(refused.value)
    assert [row.row for row in refused.value.rows] == list(range(1, 12))
    assert channels() == {}


def test_what_a_refusal_says_holds_no_value_of_a_row():
    bad = [payment("P1", "+21620000001", 5000) for _ in range(12)]
    with pytest.raises(FeedRefused) as refused:
        load_payments("f1", *bad)
    assert "20000001" not in str(refused.value)


def test_a_load_that_dies_on_the_way_leaves_nothing(monkeypatch):
    folder = write_payments("f1", [payment("P1", "F1", 5000), payment("P2", "F1", 0)])

    def die(*_: object) -> int:
        raise RuntimeError

    with monkeypatch.context() as dying:
        dying.setattr("fatoura.feeds.loading.settle_by_good_rows", die)  # rows and feed are written by then
        with pytest.raises(RuntimeError):
            load_payments_feed(folder)
    for table in ("feed", "payment", "set_aside_row", "watermark"):
        assert rows(f"SELECT count(*) FROM {table}") == [(0,)]
    assert load_payments_feed(folder).counts == {"new": 1, "set_aside": 1}


def test_the_same_feed_by_several_at_once_is_loaded_once():
    folder = write_payments("f1", [payment(f"P{n}", "F1", 5000) for n in range(200)], until=NOON)
    with ThreadPoolExecutor(4) as several:
        outcomes = Counter(one.outcome for one in several.map(load_payments_feed, [folder] * 4))
    assert outcomes == {"loaded": 1, "already loaded": 3}
    assert rows("SELECT count(*) FROM payment") == [(200,)]


def test_parts_are_numbered_through(tmp_path):
    folder = write_payments("f1", [payment("P1", "F1", 1)])
    manifest = json.loads((folder / "manifest.json").read_text())
    other = write_payments("x", [payment("P2", "F2", 2), payment("P3", "F3", "")], folder=tmp_path)
    (folder / "more.csv").write_bytes((other / "payments.csv").read_bytes())
    more = json.loads((other / "manifest.json").read_text())["parts"][0] | {"name": "more.csv"}
    manifest |= {"rows": 3, "total_amount_millimes": 3, "parts": [*manifest["parts"], more]}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    load_payments_feed(folder)
    assert rows("SELECT row_number, part, part_row FROM set_aside_row") == [(3, "more.csv", 2)]
