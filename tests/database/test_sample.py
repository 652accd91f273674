"""What a sample says of its rows comes true: loaded, validated and matched, each ends where it must."""

from __future__ import annotations

import json
from collections import defaultdict

import pytest
from sqlalchemy import text

from fatoura.cycles.keys import ExtractKey
from fatoura.database import connect
from fatoura.enrolment.intake import take_customers_and_coupons
from fatoura.enrolment.judging import judge_coupons
from fatoura.enrolment.sample import COUPON_DEFECTS, deliver_enrolment
from fatoura.enrolment.showing import list_coupons
from fatoura.extracts import ExtractRefused, load_extract
from fatoura.extracts.sample import BATCH_DEFECTS, ROW_DEFECTS, Sample, deliver, write_sample
from fatoura.quality import validate_extract
from fatoura.subscriptions import import_subscribers, match_extract

KEY = ExtractKey("2026-05-T1")


@pytest.fixture(autouse=True)
def _in_may(database, configure, tmp_path):
    configure(now="2026-05-21T10:00:00+01:00", landing=str(tmp_path / "landing"))


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_each_row_of_a_sample_ends_in_the_bucket_it_names(tmp_path, form):
    defects = {kind: 0.015 for kind in ROW_DEFECTS if form == "csv" or kind not in {"ragged", "not_utf8"}}
    sample = Sample("2026-05-T1", 2000, subscribed=0.6, defects=defects, format=form, parts=2)
    write_sample(tmp_path / "sample", sample)
    deliver(tmp_path / "sample")
    import_subscribers(tmp_path / "sample" / "subscribers.csv")

    loaded = load_extract(KEY, run_id=None)
    validate_extract(KEY, run_id=None)
    match_extract(KEY, run_id=None)

    expected = json.loads((tmp_path / "sample" / "expected.json").read_text())
    wanted = {
        (one["bucket"], one["reason"]): set(one["row_numbers"])
        for one in expected["rows"]
        if one["bucket"] != "rejected"
    }
    found = defaultdict(set)
    with connect() as connection:
        invoices = connection.execute(text("SELECT bucket, reason, row_number FROM invoice"))
        for bucket, reason, number in invoices:
            found[bucket, reason].add(number)
        rejected = connection.execute(text("SELECT row_number, reasons FROM rejected_row")).all()
        reasons = {row.row_number: row.reasons for row in rejected}
    assert found == wanted
    codes = {
        number: one["reason"]
        for one in expected["rows"]
        if one["bucket"] == "rejected"
        for number in one["row_numbers"]
    }
    assert reasons.keys() == codes.keys()
    assert [number for number, code in codes.items() if code not in reasons[number]] == []
    assert loaded.rows == expected["extracted"] == len(codes) + sum(map(len, wanted.values()))


@pytest.mark.parametrize("kind", BATCH_DEFECTS)
def test_an_extract_that_must_be_refused_is(tmp_path, kind):
    write_sample(tmp_path / "sample", Sample("2026-05-T1", 500, defects={kind: 0.1}))
    deliver(tmp_path / "sample")
    with pytest.raises(ExtractRefused):
        load_extract(KEY, run_id=None)


def test_the_coupons_of_a_sample_become_what_it_says_and_its_subscribers_are_the_same(tmp_path):
    defects = dict.fromkeys(COUPON_DEFECTS, 0.03)
    sample = Sample("2026-05-T1", 400, subscribed=0.6, coupon_defects=defects)
    written = write_sample(tmp_path / "sample", sample)
    expected = json.loads((tmp_path / "sample" / "expected.json").read_text())["coupons"]
    assert expected == written.coupons.document()
    assert len(expected["each"]) >= len(COUPON_DEFECTS)
    deliver_enrolment(tmp_path / "sample", sample.cycle)
    [_, coupons] = take_customers_and_coupons().loaded
    judge_coupons()
    assert coupons.rows == expected["rows"]
    assert coupons.counts["set_aside"] == sum(expected["set_aside"].values())
    assert list_coupons().counts == expected["outcomes"]
    with connect() as connection:
        reasons = connection.execute(
            text("SELECT array_to_string(reasons, '; '), count(*) FROM set_aside_row GROUP BY 1")
        )
        assert dict(reasons.all()) == expected["set_aside"]
        by_row = dict(
            connection.execute(
                text(
                    "SELECT row_number, concat_ws(' ', outcome, reason) FROM coupon UNION ALL "
                    "SELECT row_number, reasons[1] FROM set_aside_row"
                )
            ).all()
        )
        billed = "SELECT customer_reference, phone, language, consent_date FROM subscription WHERE "
        enrolled = set(connection.execute(text(f"{billed} phone < '+21620000400'")).all())
        connection.execute(text("TRUNCATE subscription"))
        connection.commit()
    for end in expected["each"]:
        for first, last in end["row_numbers"]:
            assert {by_row.get(row, end["end"]) for row in range(first, last + 1)} == {end["end"]}
    import_subscribers(tmp_path / "sample" / "subscribers.csv")
    with connect() as connection:
        imported = set(connection.execute(text(f"{billed} true")).all())
    assert imported <= enrolled
