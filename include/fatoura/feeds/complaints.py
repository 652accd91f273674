"""What is wrong with feeds and was told already. Called by the workflow that looks for feeds again and again.

A feed lies there until somebody takes it away: its alert must come, and must not come at each look.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from sqlalchemy import text

from fatoura import clock
from fatoura.database import locked

if TYPE_CHECKING:
    from collections.abc import Mapping


def new_complaints(complaints: Mapping[str, str], teller: str = "") -> dict[str, str]:
    """Return the complaints that are new, or say something else than before; they count as told from now on.

    What is not complained of any more is forgotten: should it come back, it is new.

    :param complaints: all that is wrong now, by what it is about.
    :param teller: which workflow complains, where it is not the one of payments: each forgets its own only.
    """
    prefix = f"{teller}: " if teller else ""
    digests = {
        f"{prefix}{about}": hashlib.sha256(said.encode()).hexdigest() for about, said in complaints.items()
    }
    with locked("complaints of feeds") as connection:
        connection.execute(
            text(
                "DELETE FROM complaint WHERE NOT subject = ANY(:subjects) "
                "AND coalesce(substring(subject FROM '^\\w+: '), '') = :prefix"
            ),
            {"subjects": list(digests), "prefix": prefix},
        )
        new = connection.scalars(
            text(
                "INSERT INTO complaint (subject, digest, told_at) "
                "SELECT subject, digest, :now "
                "FROM unnest(CAST(:subjects AS text[]), CAST(:digests AS text[])) AS said (subject, digest) "
                "ON CONFLICT (subject) DO UPDATE SET digest = excluded.digest, told_at = excluded.told_at "
                "WHERE complaint.digest <> excluded.digest RETURNING subject"
            ),
            {"subjects": list(digests), "digests": list(digests.values()), "now": clock.now()},
        ).all()
    return {about: said for about, said in complaints.items() if f"{prefix}{about}" in new}
