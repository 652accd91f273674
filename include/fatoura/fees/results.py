"""The billing system's answers as a content of feeds: what tells rows apart, and what follows from them.

An amount is a part of what is told: a wrong one is another row than the right one, so that it does not matter
which of them arrives first. All that follows is done in the transaction that loads a feed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fatoura.database import lock
from fatoura.feeds.content import Content
from fatoura.feeds.delivery import open_folder
from fatoura.feeds.loading import FeedLoaded, load_feed
from fatoura.fees.booking import book
from fatoura.fees.books import LOCK, Moment, number_in
from fatoura.fees.records import COLUMNS, FORM, TYPED, ResultsManifest, row_check
from fatoura.landing import landing_path

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from fatoura.feeds.content import NewFeed
    from fatoura.landing import LandingPath

_TOUCHED = f"SELECT {number_in('charge_id')} FROM merging WHERE verdict IN ('new', 'corrected')"


def _after(connection: Connection, feed: NewFeed) -> None:
    lock(connection, LOCK)
    book(connection, _TOUCHED, Moment.now(f"feed {feed.name}", feed.id))


FEE_RESULTS = Content(
    name="fee_results",
    folder="fee_results",
    columns=COLUMNS,
    amounts="amount_millimes",
    manifest=ResultsManifest,
    form=FORM,
    check=row_check,
    table="fee_result",
    typed=TYPED,
    key=("charge_id", "result", "amount_millimes"),
    values=("at", "reason"),
    rank=("told_in",),
    settles='t.told_in COLLATE "C" > f.name COLLATE "C"',
    after=_after,
)


def load_results_feed(folder: str | LandingPath, *, run_id: str | None = None) -> FeedLoaded:
    """Load the feed of answers that lies in a folder, which may be any.

    :param folder: a path object, a path, or a URL such as ``s3://bucket/fee_results/2026-07-05``.
    :raises FeedRefused: with everything that is wrong.
    """
    path = landing_path(folder)
    delivery = open_folder(FEE_RESULTS, path, named=False, subject=str(folder))
    return load_feed(FEE_RESULTS, delivery, run_id=run_id)
