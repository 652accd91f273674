"""Captured coupons as a content of feeds: what tells rows apart, and which of two stands.

A coupon that was told crossed out once stays so, whatever a later batch says: consent is never revived by a
correction. Else the row in the batch whose name sorts later stands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fatoura.enrolment.records import COLUMNS, FORM, TYPED, CouponsManifest, as_kept, row_check
from fatoura.feeds.content import Content
from fatoura.feeds.delivery import open_folder
from fatoura.feeds.loading import FeedLoaded, load_feed
from fatoura.landing import landing_path
from fatoura.settings import get_settings

if TYPE_CHECKING:
    from fatoura.landing import LandingPath

COUPONS = Content(
    name="coupons",
    folder="coupons",
    columns=COLUMNS,
    amounts=None,
    manifest=CouponsManifest,
    form=FORM,
    check=row_check,
    table="coupon",
    typed=TYPED,
    key=("coupon_id",),
    values=(
        "scan_id",
        "customer_reference",
        "phone",
        "language",
        "signed_on",
        "wording_version",
        "crossed_out",
    ),
    rank=("crossed_out", "told_in"),
    # What was judged of other words holds no longer; which subscription they were taken for is still known.
    extras={
        "outcome": "NULL",
        "reason": "NULL",
        "judged_at": "CAST(NULL AS timestamptz)",
        "judged_by": "NULL",
        "welcomed_at": "CAST(NULL AS timestamptz)",
    },
    settles='t.told_in COLLATE "C" > f.name COLLATE "C"',
    bears_on_warnings=False,
    endings=(".csv", ".xlsx"),
    kept=as_kept,
    bad_rows_share=lambda: get_settings().guard_bad_coupons_share,
    bad_rows_setting="FATOURA_GUARD_BAD_COUPONS_SHARE",
)


def load_coupons_batch(folder: str | LandingPath, *, run_id: str | None = None) -> FeedLoaded:
    """Load the batch of coupons that lies in a folder, which may be any.

    :param folder: a path object, a path, or a URL such as ``s3://bucket/coupons/2026-06-29-A``.
    :raises FeedRefused: with everything that is wrong.
    """
    path = landing_path(folder)
    return load_feed(COUPONS, open_folder(COUPONS, path, named=False, subject=str(folder)), run_id=run_id)
