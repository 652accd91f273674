"""Customers as a content of feeds: what tells rows apart, and which of two stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fatoura.customers.records import COLUMNS, FORM, TYPED, CustomersManifest, row_check
from fatoura.feeds.content import Content
from fatoura.feeds.delivery import open_folder
from fatoura.feeds.loading import FeedLoaded, load_feed
from fatoura.landing import landing_path

if TYPE_CHECKING:
    from fatoura.landing import LandingPath

CUSTOMERS = Content(
    name="customers",
    folder="customers",
    columns=COLUMNS,
    amounts=None,
    manifest=CustomersManifest,
    form=FORM,
    check=row_check,
    table="customer",
    typed=TYPED,
    key=("customer_reference",),
    values=("district", "contract"),
    rank=("told_in",),
    settles='t.told_in COLLATE "C" > f.name COLLATE "C"',
    bears_on_warnings=False,
)


def load_customers_feed(folder: str | LandingPath, *, run_id: str | None = None) -> FeedLoaded:
    """Load the feed of customers that lies in a folder, which may be any.

    :param folder: a path object, a path, or a URL such as ``s3://bucket/customers/2026-06-29``.
    :raises FeedRefused: with everything that is wrong.
    """
    path = landing_path(folder)
    return load_feed(CUSTOMERS, open_folder(CUSTOMERS, path, named=False, subject=str(folder)), run_id=run_id)
