"""Account facts as a content of feeds: what tells rows apart, and which of two stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fatoura.accounts.records import COLUMNS, FORM, TYPED, FactsManifest, row_check
from fatoura.feeds.content import Content
from fatoura.feeds.delivery import open_folder
from fatoura.feeds.loading import FeedLoaded, load_feed
from fatoura.landing import landing_path

if TYPE_CHECKING:
    from fatoura.landing import LandingPath

FACTS = Content(
    name="facts",
    folder="facts",
    columns=COLUMNS,
    amounts=None,
    manifest=FactsManifest,
    form=FORM,
    check=row_check,
    table="account_fact",
    typed=TYPED,
    key=("fact_id",),
    values=("customer_reference", "invoice_number", "fact", "valid_from", "valid_until", "set_by"),
    rank=("told_in",),
    settles='t.told_in COLLATE "C" > f.name COLLATE "C"',
)


def load_facts_feed(folder: str | LandingPath, *, run_id: str | None = None) -> FeedLoaded:
    """Load the feed of facts that lies in a folder, which may be any.

    :param folder: a path object, a path, or a URL such as ``s3://bucket/facts/2026-06-29``.
    :raises FeedRefused: with everything that is wrong.
    """
    path = landing_path(folder)
    return load_feed(FACTS, open_folder(FACTS, path, named=False, subject=str(folder)), run_id=run_id)
