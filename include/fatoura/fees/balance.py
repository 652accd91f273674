"""Whether the books are right: what charges hold beside the journal, and files beside what they were made of.

Called at the end of the monthly run and by the command. The journal balances by construction; what could go
wrong is a sum that was moved without its entry, or an entry without its sum: both are named. Changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from fatoura.database import connect
from fatoura.errors import NeedsAPerson
from fatoura.fees.books import charge_id
from fatoura.fees.states import Account

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAMED = 20


class BooksDiffer(NeedsAPerson):
    """The books do not agree with each other; names some of the charges and files."""


@dataclass(frozen=True)
class Books:
    """How the books stand.

    :param accounts: what is on each account, in millimes; what was taken from it is below zero.
    :param charges: that were compared with the journal.
    :param differences: what does not agree, a sentence each; the first of them.
    """

    accounts: Mapping[str, int]
    charges: int
    differences: tuple[str, ...]

    @property
    def agree(self) -> bool:
        """Whether everything agrees."""
        return not self.differences

    def insist(self) -> None:
        """Complain when something does not agree.

        :raises BooksDiffer: names it.
        """
        if self.differences:
            raise BooksDiffer(
                f"the books of the fee do not agree: {'; '.join(self.differences)}. Nothing was changed by "
                "looking; `fatoura fees show` tells the history of a charge's subscription"
            )

    def as_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {
            "accounts": dict(self.accounts),
            "charges": self.charges,
            "agree": self.agree,
            "differences": list(self.differences),
        }


# A charge holds what the journal says of it: nothing before it is charged.
_COMPARE = f"""
WITH line AS (
    SELECT charge_id, debit AS account, amount_millimes AS millimes FROM fee_entry
    UNION ALL SELECT charge_id, credit, -amount_millimes FROM fee_entry
), journal AS (
    SELECT charge_id,
        coalesce(sum(millimes) FILTER (WHERE account = '{Account.RECEIVABLE}'), 0) AS owed,
        coalesce(-sum(millimes) FILTER (WHERE account = '{Account.PAYABLE}'), 0) AS owed_back,
        coalesce(sum(millimes) FILTER (WHERE account = '{Account.COLLECTED}'), 0) AS collected,
        coalesce(-sum(millimes) FILTER (WHERE account = '{Account.INCOME}'), 0) AS charged,
        sum(millimes) AS everything
    FROM line GROUP BY charge_id
), compared AS (
    SELECT c.id, concat_ws(', ',
        CASE WHEN c.owed_millimes <> coalesce(j.owed, 0)
            THEN c.owed_millimes || ' owed, ' || coalesce(j.owed, 0) || ' in the journal' END,
        CASE WHEN c.owed_back_millimes <> coalesce(j.owed_back, 0)
            THEN c.owed_back_millimes || ' owed back, ' || coalesce(j.owed_back, 0) || ' in the journal' END,
        CASE WHEN c.paid_millimes - c.given_back_millimes <> coalesce(j.collected, 0)
            THEN (c.paid_millimes - c.given_back_millimes) || ' kept, ' || coalesce(j.collected, 0)
                || ' in the journal' END,
        CASE WHEN coalesce(j.charged, 0) <> CASE WHEN c.charged_on IS NULL AND c.state <> 'waived' THEN 0
                ELSE c.amount_millimes END
            THEN coalesce(j.charged, 0) || ' charged in the journal' END,
        CASE WHEN coalesce(j.everything, 0) <> 0 THEN 'its entries do not add up' END
    ) AS said
    FROM fee_charge c LEFT JOIN journal j ON j.charge_id = c.id
)
SELECT {charge_id("compared")} AS charge, said
FROM compared
WHERE said <> '' ORDER BY id LIMIT :most
"""
_FILES = """
SELECT f.name FROM fee_file f
LEFT JOIN (
    SELECT file_id, count(*) AS charges, sum(told_millimes) AS millimes
    FROM fee_charge WHERE file_id IS NOT NULL GROUP BY file_id
) c ON c.file_id = f.id
LEFT JOIN (
    SELECT file_id, count(*) AS credits, sum(amount_millimes) AS millimes
    FROM fee_credit WHERE file_id IS NOT NULL GROUP BY file_id
) t ON t.file_id = f.id
WHERE (f.charges, f.charged_millimes, f.credits, f.credited_millimes) <> (
    coalesce(c.charges, 0), coalesce(c.millimes, 0), coalesce(t.credits, 0), coalesce(t.millimes, 0)
)
ORDER BY f.id LIMIT :most
"""
_ACCOUNTS = """
SELECT account, sum(millimes) FROM (
    SELECT debit AS account, sum(amount_millimes) AS millimes FROM fee_entry GROUP BY debit
    UNION ALL SELECT credit, -sum(amount_millimes) FROM fee_entry GROUP BY credit
) line GROUP BY account
"""


def check_books() -> Books:
    """Compare every charge with the journal, and every file with its charges and credits."""
    with connect() as connection:
        found: dict[str, int] = dict(connection.execute(text(_ACCOUNTS)).all())
        charges = int(connection.scalar(text("SELECT count(*) FROM fee_charge")) or 0)
        wrong = connection.execute(text(_COMPARE), {"most": _NAMED}).all()
        files = connection.scalars(text(_FILES), {"most": _NAMED}).all()
    return Books(
        {account.value: int(found.get(account.value, 0)) for account in Account},
        charges,
        (
            *(f"charge {row.charge}: {row.said}" for row in wrong),
            *(f"file {name}: its totals are not those of what stands in it" for name in files),
        ),
    )
