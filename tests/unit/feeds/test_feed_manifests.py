"""The manifest of a feed is read strictly, and everything wrong with it is said at once."""

from __future__ import annotations

import json
import pickle

import pytest

from fatoura.accounts.loading import FACTS
from fatoura.feeds.manifest import read_feed_manifest
from fatoura.feeds.records import RowFlaws
from fatoura.feeds.refusal import FeedDiffers, FeedRefused
from fatoura.payments.loading import PAYMENTS

SUM = "ab" * 32
GOOD = {
    "feed": "2026-06-29-0600",
    "rows": 2,
    "total_amount_millimes": 97852,
    "parts": [{"name": "payments.csv", "rows": 2, "sha256": SUM}],
    "complete_until": {"counter": "2026-06-29T05:00:00+01:00", "post": "2026-06-28T18:00:00Z"},
}


@pytest.fixture(autouse=True)
def _morning(configure):
    configure(now="2026-06-29T06:00:00+01:00")


def read(document: object, *, folder: str | None = "2026-06-29-0600", content=PAYMENTS):
    return read_feed_manifest(
        json.dumps(document).encode(), content.manifest, content.form, folder=folder, subject="payments/x"
    )


def problems_of(document: object, **options) -> str:
    with pytest.raises(FeedRefused) as refused:
        read(document, **options)
    return "\n".join(refused.value.problems)


def test_the_contract_s_manifest_is_read():
    manifest = read(GOOD)
    assert manifest.document()["complete_until"] == {
        "counter": "2026-06-29T04:00:00+00:00",
        "post": "2026-06-28T18:00:00+00:00",
    }
    assert read(manifest.document()).digest == manifest.digest


def test_the_example_in_the_refusals_is_of_the_right_form():
    for content in (PAYMENTS, FACTS):
        document = json.loads(content.form.replace("…", SUM))
        read(document, folder=None, content=content)


def test_a_feed_without_rows_tells_its_watermarks():
    assert read(GOOD | {"rows": 0, "parts": [], "total_amount_millimes": 0}).rows == 0


@pytest.mark.parametrize("field", list(GOOD))
def test_a_missing_field_is_named(field):
    assert problems_of({k: v for k, v in GOOD.items() if k != field}) == f"manifest.json: {field} is missing"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rows": 3}, "rows is 3, but the parts' rows make 2"),
        ({"feed": "another"}, "feed is 'another', but the folder is '2026-06-29-0600'"),
        ({"feed": "~typed"}, "feed must be a name of 1 to 100 letters"),
        ({"note": 1}, "note is not a field of a manifest"),
        ({"total_amount_millimes": "1"}, "total_amount_millimes must be a whole number"),
        ({"complete_until": {}}, "complete_until names no channel"),
        ({"complete_until": {"till": "2026-06-29T05:00:00+01:00"}}, "is not a channel; they are counter"),
        ({"complete_until": {"web": "2026-06-29T05:00:00"}}, "complete_until.web is not a time with offset"),
        ({"complete_until": {"web": None}}, "complete_until.web is not a time with offset"),
        ({"complete_until": {"web": "2026-06-29T06:16:00+01:00"}}, "which lies in the future"),
        ({"parts": [{"name": "payments.parquet", "rows": 2, "sha256": SUM}]}, "is not .csv"),
    ],
)
def test_a_wrong_field_is_named_with_what_is_wrong(change, said):
    assert said in problems_of(GOOD | change)


def test_a_clock_that_is_a_little_ahead_is_no_lie():
    assert read(GOOD | {"complete_until": {"web": "2026-06-29T06:14:00+01:00"}})


def test_the_digest_changes_with_what_is_said_and_not_with_the_name():
    said = read(GOOD).digest
    assert read(GOOD | {"feed": "later"}, folder="later").digest == said
    for change in (
        {"total_amount_millimes": 1},
        {"complete_until": {"counter": "2026-06-29T05:00:00+01:00"}},
        {"parts": [{"name": "payments.csv", "rows": 2, "sha256": "cd" * 32}]},
    ):
        assert read(GOOD | change).digest != said


def test_facts_have_neither_amounts_nor_watermarks():
    facts = {"feed": "2026-06-29", "rows": 2, "parts": [{"name": "facts.csv", "rows": 2, "sha256": SUM}]}
    assert read(facts, folder="2026-06-29", content=FACTS).document() == facts
    assert "is not a field" in problems_of(facts | {"total_amount_millimes": 1}, content=FACTS)


def test_a_refusal_crosses_processes():
    refused = FeedDiffers("payments/x", ["one", "two"], [RowFlaws(1, ("kind: unknown",))])
    again = pickle.loads(pickle.dumps(refused))
    assert (type(again), str(again), again.rows) == (FeedDiffers, str(refused), refused.rows)
    assert "feed payments/x is refused for 2 reasons" in str(refused)
