"""Captured coupons: the form of their batches and the check of a row. Pure: keeps nothing.

What is wrong with a row is told by field and code, never with its values. Of a coupon that is crossed out
only the id is asked for: it gives no consent, and whatever else is wrong with it must not keep it from taking
back the consent that it had given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from fatoura import clock
from fatoura.enrolment.wordings import coupon_wordings
from fatoura.extracts.values import read_day
from fatoura.feeds.manifest import FeedManifest, FeedName
from fatoura.feeds.records import Flaw
from fatoura.feeds.values import is_identifier
from fatoura.languages import LANGUAGES
from fatoura.phones import PhoneError, parse_mobile
from fatoura.phones_at_rest import PREFIX, opened, sealed
from fatoura.references import is_reference

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from fatoura.enrolment.wordings import CouponWording
    from fatoura.feeds.content import RowCheck
    from fatoura.feeds.records import Record

COLUMNS = (
    "coupon_id",
    "scan_id",
    "customer_reference",
    "phone",
    "language",
    "signed",
    "signed_on",
    "wording_version",
    "crossed_out",
)
"""The columns of the contract, in its order."""

TYPED = {
    "coupon_id": "text",
    "scan_id": "text",
    "customer_reference": "text",
    "phone": "text",
    "language": "text",
    "signed_on": "date",
    "wording_version": "text",
    "crossed_out": "boolean",
}
"""The typed columns of a good row: one that is not crossed out is signed."""

FORM = '{"batch": "2026-06-29-A", "rows": 2, "parts": [{"name": "coupons.csv", "rows": 2, "sha256": "…"}]}'

_FLAGS = {"true": True, "false": False}


class CouponsManifest(FeedManifest):
    """What a batch of coupons says of itself."""

    NAME: ClassVar[str] = "batch"

    feed: FeedName = Field(alias="batch")


def row_check(_manifest: CouponsManifest) -> RowCheck:
    """Return the check of a batch's rows: the clock and the wordings are looked at once."""
    today, wordings = clock.today(), coupon_wordings()
    return lambda record: check(record, today, wordings)


def check(record: Record, today: date, wordings: Mapping[str, CouponWording]) -> tuple[Any, ...] | list[Flaw]:
    """Check one row: its typed values, or everything that is wrong with it.

    :param today: local day; nobody has signed in the future.
    :param wordings: the texts that were printed on coupons, by version.
    """
    if record.flaw is not None:
        return [Flaw("row", record.flaw)]
    values = [record.text(column).strip() for column in COLUMNS]
    coupon_id, scan_id, reference, phone, language, signed, signed_on, version, crossed = values
    flaws = []
    if not is_identifier(coupon_id):
        flaws.append(Flaw("coupon_id", "form"))
    if crossed not in _FLAGS:
        flaws.append(Flaw("crossed_out", "unreadable"))
    day, wording = read_day(signed_on), wordings.get(version)
    if _FLAGS.get(crossed):
        return flaws or (
            coupon_id,
            scan_id if is_identifier(scan_id) else None,
            reference if is_reference(reference) else None,
            None,  # nobody is written to
            language if language in LANGUAGES else None,
            day,
            version if wording else None,
            True,
        )
    if not is_identifier(scan_id):
        flaws.append(Flaw("scan_id", "form"))
    if not is_reference(reference):
        flaws.append(Flaw("customer_reference", "not_nine_digits"))
    try:
        phone = parse_mobile(phone)
    except PhoneError as error:
        flaws.append(Flaw("phone", error.code))
    if language not in LANGUAGES:
        flaws.append(Flaw("language", "unknown"))
    if wording is None:
        flaws.append(Flaw("wording_version", "unknown"))
    if signed not in _FLAGS:
        flaws.append(Flaw("signed", "unreadable"))
    elif not _FLAGS[signed]:
        flaws.append(Flaw("signed", "not_signed"))
    elif day is None:
        flaws.append(Flaw("signed_on", "not_a_date"))
    elif day > today:
        flaws.append(Flaw("signed_on", "in_the_future"))
    elif wording is not None and day < wording.begins:
        flaws.append(Flaw("signed_on", "before_its_wording"))
    return flaws or (coupon_id, scan_id, reference, sealed(phone), language, day, version, False)


def as_kept(fields: Mapping[str, Any], flaw: str | None) -> Mapping[str, Any]:
    """Return a row that is set aside as it is kept: its number sealed; of a broken one, all cells."""
    return {
        name: _sealed(value) if flaw is not None or name == "phone" else value
        for name, value in fields.items()
    }


def as_it_came(kept: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `as_kept` was given."""
    return {name: _opened(value) for name, value in kept.items()}


_NOT_OURS = "'"
"""What is put before a text from outside that looks sealed and is not."""


def _sealed(value: Any) -> Any:
    if isinstance(value, list):
        return [_sealed(one) for one in value]
    if isinstance(value, str) and value:
        return sealed(f"{_NOT_OURS}{value}" if value.startswith(PREFIX) else value)
    return value


def _opened(value: Any) -> Any:
    if isinstance(value, list):
        return [_opened(one) for one in value]
    return opened(value) if isinstance(value, str) else value
