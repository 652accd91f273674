"""Samples of payments: seeded, as realistic as feeds are, and what must have been paid in the end."""

from __future__ import annotations

import json
from datetime import datetime

import pytest
from sqlalchemy import text

from fatoura.database import connect
from fatoura.errors import BadInput
from fatoura.extracts.sample import Sample, write_sample
from fatoura.feeds import take_feeds
from fatoura.payments.sample import SHARES, PaymentsSample, deliver_feed, write_payments_sample

UNTIL = datetime.fromisoformat("2026-07-20T10:00:00+01:00")


@pytest.fixture
def extract(tmp_path, configure):
    configure(now="2026-07-20T10:00:00+01:00")
    write_sample(tmp_path / "extract", Sample("2026-05-T1", invoices=400, defects={"ragged": 0.02}))
    return tmp_path / "extract"


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_same_sample_gives_the_same_bytes_also_over_another_one(extract, tmp_path):
    sample = PaymentsSample(extract, until=UNTIL, feeds_a_day=1)
    write_payments_sample(tmp_path / "one", sample)
    write_payments_sample(tmp_path / "two", PaymentsSample(extract, seed=2, until=UNTIL))
    assert contents(tmp_path / "one") != contents(tmp_path / "two")
    write_payments_sample(tmp_path / "two", sample)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_what_is_expected_is_what_becomes_of_it(database, extract, tmp_path):
    shares = {**SHARES, "in_time": 0.45, "flawed": 0.02, "reversed": 0.1}
    written = write_payments_sample(
        tmp_path / "feeds", PaymentsSample(extract, until=UNTIL, feeds_a_day=1, shares=shares)
    )
    assert set(written.kinds) == {*SHARES, "unpaid"}
    for name in written.feeds:
        deliver_feed(tmp_path / "feeds" / name)
    taken = take_feeds()
    assert (len(taken.loaded), taken.refused) == (len(written.feeds), ())
    assert sum(one.rows for one in taken.loaded) == written.rows
    counts = {how for one in taken.loaded for how in one.counts}
    assert counts == {"new", "repeated", "corrected", "set_aside", "settled"}
    with connect() as connection:
        paid = dict(
            connection.execute(
                text("SELECT invoice_number, sum(counts_millimes) FROM payment GROUP BY 1 ORDER BY 1")
            ).all()
        )
        pending = connection.scalar(text("SELECT count(*) FROM set_aside_row WHERE settled_at IS NULL"))
    assert pending == 0
    assert paid == json.loads((tmp_path / "feeds" / "expected.json").read_text())["paid"]
    assert sum(paid.values()) == written.paid_millimes


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"shares": {"gift": 1}}, "gift is no kind of payment"),
        ({"shares": {"late": 2}}, "the share of late lies between 0 and 1"),
        ({"shares": {"in_time": 1.0}}, "the shares make more than 1"),
        ({"feeds_a_day": 0}, "1 to 24 feeds come a day"),
        ({"until": datetime.fromisoformat("2026-05-21T05:00:00+01:00")}, "no feed lies between"),
    ],
)
def test_what_cannot_be_is_refused(extract, tmp_path, change, said):
    with pytest.raises(BadInput, match=said):
        write_payments_sample(tmp_path / "feeds", PaymentsSample(extract, **change))
    assert not (tmp_path / "feeds").exists()


def test_production_writes_no_invented_payments(extract, tmp_path, configure):
    configure(profile="production", now="")
    with pytest.raises(BadInput, match="the profile is production"):
        write_payments_sample(tmp_path / "feeds", PaymentsSample(extract, until=UNTIL))
