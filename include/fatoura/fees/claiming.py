"""Looks at news of a subscription once more when it leaves: who has paid since is not told that it lapsed.

Called by sending, inside the transaction of a claim, through `fatoura.sending.checks`. What it returns is
cancelled there. Who has left, or has another number, is looked at by the claim itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from fatoura.fees.books import number_in
from fatoura.fees.charging import ANNOUNCEMENT
from fatoura.fees.telling import LAPSED, RENEWED

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from sqlalchemy import Connection

_NO_LONGER_SO = f"""
SELECT n.id, CASE
    WHEN n.kind = '{ANNOUNCEMENT}' AND (c.state <> 'announced' OR s.state <> 'active')
        THEN 'no_longer_charged'
    WHEN n.kind = '{RENEWED}' AND (c.state <> 'paid' OR s.state <> 'active') THEN 'no_longer_paid'
    WHEN n.kind = '{LAPSED}' AND s.state <> 'lapsed' THEN 'not_lapsed'
    WHEN c.id IS NULL OR s.id IS NULL THEN 'no_longer_charged'
END
FROM notice n
LEFT JOIN fee_charge c ON c.id = {number_in("n.subject")}
LEFT JOIN subscription s ON s.id = c.subscription_id
WHERE n.id = ANY(:ids)
"""


def no_longer_so(connection: Connection, notice_ids: Sequence[UUID]) -> dict[UUID, str]:
    """Return which news must not go out, and why.

    :param notice_ids: planned notices that this transaction holds.
    """
    rows = connection.execute(text(_NO_LONGER_SO), {"ids": list(notice_ids)})
    return {notice: reason for notice, reason in rows if reason}
