"""Coupons as they stand, for a person: one with all that became of it, and lists of many.

Called by the command; changes nothing. Numbers are masked unless they are asked for in full.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from fatoura.database import connect
from fatoura.enrolment.judging import evidence_of
from fatoura.errors import BadInput
from fatoura.phones_at_rest import masked, opened
from fatoura.references import format_reference, mask_reference

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

_COLUMNS = (
    "c.coupon_id, c.scan_id, c.customer_reference, c.phone, c.language, c.signed_on, c.wording_version, "
    "c.crossed_out, c.told_in AS batch, c.revision, c.outcome, c.reason, c.judged_at, c.judged_by, "
    "c.welcomed_at"
)


@dataclass(frozen=True)
class Coupons:
    """Coupons that were asked for.

    :param counts: of all of them by outcome, and by reason where they are refused.
    :param first: the first of them, by id.
    """

    counts: dict[str, int]
    first: list[dict[str, Any]]


def list_coupons(
    *,
    outcome: str | None = None,
    reason: str | None = None,
    batch: str | None = None,
    customer_reference: str | None = None,
    most: int = 50,
    unmasked: bool = False,
) -> Coupons:
    """Return coupons by what became of them; without conditions all.

    :param outcome: a code of `Outcome`, or ``unjudged``.
    :param batch: the one that brought what stands.
    """
    conditions = (
        "(CAST(:outcome AS text) IS NULL OR coalesce(c.outcome, 'unjudged') = :outcome) "
        "AND (CAST(:reason AS text) IS NULL OR c.reason = :reason) "
        "AND (CAST(:batch AS text) IS NULL OR c.told_in = :batch) "
        "AND (CAST(:reference AS text) IS NULL OR c.customer_reference = :reference)"
    )
    values = {
        "outcome": outcome,
        "reason": reason,
        "batch": batch,
        "reference": customer_reference,
        "most": most,
    }
    with connect() as connection:
        counts = connection.execute(
            text(
                "SELECT concat_ws(' ', coalesce(c.outcome, 'unjudged'), c.reason), count(*) FROM coupon c "
                f"WHERE {conditions} GROUP BY 1 ORDER BY 1"
            ),
            values,
        )
        told: dict[str, int] = dict(counts.all())
        first = connection.execute(
            text(f"SELECT {_COLUMNS} FROM coupon c WHERE {conditions} ORDER BY c.coupon_id LIMIT :most"),
            values,
        )
        return Coupons(told, [_shown(row, unmasked=unmasked) for row in first])


def show_coupon(coupon_id: str, *, unmasked: bool = False) -> dict[str, Any]:
    """Return one coupon with its decisions, the consents it gave, its messages, and how it was told before.

    :raises BadInput: when there is none of that id.
    """
    asked = {"coupon": coupon_id}
    with connect() as connection:
        row = connection.execute(
            text(f"SELECT {_COLUMNS} FROM coupon c WHERE c.coupon_id = :coupon"), asked
        ).one_or_none()
        if row is None:
            raise BadInput(f"there is no coupon {coupon_id}: none was loaded, or its row was set aside")
        return {
            **_shown(row, unmasked=unmasked),
            "decisions": _all(
                connection,
                "SELECT decided_at, decided_by, decision, reason, found FROM coupon_decision "
                "WHERE coupon_id = :coupon ORDER BY id",
                asked,
            ),
            "consents": _all(
                connection,
                "SELECT o.act, o.given_on, o.recorded_at, o.recorded_by, o.evidence FROM consent o "
                "JOIN coupon c ON c.coupon_id = :coupon AND o.channel = 'coupon' "
                f"AND o.evidence = {evidence_of('c')} ORDER BY o.id",
                asked,
            ),
            "messages": _all(
                connection,
                "SELECT id, kind, state, reason, planned_at, final_at FROM notice "
                "WHERE kind = 'welcome' AND subject = :coupon ORDER BY sequence",
                asked,
            ),
            "told_before": _all(
                connection,
                "SELECT f.name AS batch, s.superseded_at FROM superseded_row s "
                "JOIN feed f ON f.id = s.feed_id "
                "WHERE s.content = 'coupons' AND s.subject = :coupon ORDER BY s.id",
                asked,
            ),
        }


def _all(connection: Connection, query: str, values: dict[str, Any]) -> list[dict[str, Any]]:
    return [dict(row._mapping) for row in connection.execute(text(query), values)]


def _shown(row: Row[Any], *, unmasked: bool) -> dict[str, Any]:
    shown = dict(row._mapping)
    reference, phone = row.customer_reference, row.phone
    if reference is not None and not unmasked:
        shown["customer_reference"] = mask_reference(format_reference(reference, "fr"))
    if phone is not None:
        shown["phone"] = opened(phone) if unmasked else masked(phone)
    return shown
