"""Notices in doubt that a statement counts: the provider itself says that it took them.

Called by the command, when a person decides so. What a decision is, `fatoura.sending.doubts` knows; here is
only which notices it is about, and how the person knows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fatoura.notices.states import Decision
from fatoura.sending.doubts import Resolution, resolve
from fatoura.statements.comparing import compared

if TYPE_CHECKING:
    from fatoura.statements.periods import Period


def resolve_doubts(gateway: str, period: Period, *, by: str) -> Resolution:
    """Take the notices in doubt that a line of the statement counts for accepted, and record why.

    Their receipts still count. What has moved on meanwhile, or went out again, is not touched.

    :param by: who decides.
    :raises BadInput: when there is no such statement, or no name.
    """
    with compared(gateway, period) as opened:
        asked = {doubt["notice_id"]: doubt["attempt"] for doubt in opened.doubts()}
        return resolve(
            opened.connection,
            asked,
            Decision.ACCEPTED,
            reason=f"counted in the statement of {gateway} for {period}",
            by=by,
        )
