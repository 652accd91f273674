"""A feed of payments as one JSON document, as other systems push it. Knows nothing of HTTP."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fatoura.feeds.delivery import Delivery
from fatoura.feeds.loading import FeedLoaded, load_feed
from fatoura.feeds.records import BEYOND_THE_HEADER, RawRow, is_storable, storable
from fatoura.feeds.refusal import FeedRefused
from fatoura.manifests import ManifestError, Part, decode, validated
from fatoura.payments.loading import PAYMENTS
from fatoura.payments.manifest import PaymentsManifest

if TYPE_CHECKING:
    from collections.abc import Iterator

_FORM = (
    '{"feed": "web-20260629T0600", "rows": 1, "total_amount_millimes": 85352, '
    '"complete_until": {"web": "2026-06-29T05:00:00+01:00"}, '
    '"payments": [{"payment_id": "…", "invoice_number": "…", "amount_millimes": 85352, '
    '"paid_at": "2026-06-28T11:02:00+01:00", "channel": "web", "kind": "payment"}]}'
)


@dataclass
class _Pushed:
    """The payments of a document, as rows of text."""

    name: str
    payments: list[Any]
    sha256: str | None

    def rows(self) -> Iterator[RawRow]:
        """Read the rows, in order."""
        for one in self.payments:
            if not isinstance(one, dict):
                yield storable({BEYOND_THE_HEADER: _as_text(one)}), "not_an_object"
                continue
            fields = {name: _as_text(value) for name, value in one.items()}
            if all(is_storable(text) for pair in fields.items() for text in pair):
                yield fields, None
            else:
                yield storable(fields), "not_utf8"


def load_pushed(body: bytes, *, location: str) -> FeedLoaded:
    """Load a feed that was pushed; it is stored when this returns.

    :param body: the document.
    :param location: who pushed it.
    :raises FeedRefused: with everything that is wrong.
    :raises FeedDiffers: when another feed was loaded under its name.
    """
    return load_feed(PAYMENTS, _open(body, location))


def _open(body: bytes, location: str) -> Delivery[PaymentsManifest]:
    subject = "payments, pushed,"
    try:
        document = decode(body, "the document", _FORM)
        if not isinstance(document, dict) or not isinstance(document.get("payments"), list):
            raise ManifestError(f"payments is not a list; a feed is pushed as {_FORM}")
        payments = document.pop("payments")
        name = document.get("feed")
        subject = PAYMENTS.called(name) if isinstance(name, str) and len(name) <= 100 else subject
        # The same payments, however they are written.
        canonical = json.dumps(payments, sort_keys=True, separators=(",", ":")).encode()
        part = Part(name="payments", rows=len(payments), sha256=hashlib.sha256(canonical).hexdigest())
        if "parts" in document:
            raise ManifestError("parts is not a field of a push; take it out")
        manifest = validated({**document, "parts": [part]}, PaymentsManifest, "", _FORM)
    except ManifestError as error:
        raise FeedRefused(subject, error.problems) from None
    problems = list(manifest.problems())
    if manifest.rows != len(payments):
        problems.append(f"rows is {manifest.rows:,}, but payments holds {len(payments):,}")
    if problems:
        raise FeedRefused(subject, problems)
    return Delivery(manifest, "push", location, [_Pushed("payments", payments, part.sha256)])


def _as_text(value: Any) -> str:
    """Write a value as a CSV would hold it; what is neither text nor a whole number is none there either."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return json.dumps(value)
