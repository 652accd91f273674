"""Bounds beyond which a person is asked before anything is sent. Called by the release task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import text

from fatoura.database import connect
from fatoura.errors import BadInput
from fatoura.money import format_amount
from fatoura.quality import tripped_guard_rails
from fatoura.settings import get_settings

if TYPE_CHECKING:
    from fatoura.cycles.keys import ExtractKey


@dataclass(frozen=True)
class Figures:
    """What a run is about to send: planned notices of its cycle, and the extract that they came from."""

    extracted: int
    rejected: int
    messages: int
    segments: int
    amount_millimes: int
    cost_millimes: int

    @property
    def rejected_share(self) -> float:
        """Share of the extract's rows that the quality gate set aside."""
        return self.rejected / self.extracted if self.extracted else 0.0


def cycle_figures(key: ExtractKey) -> Figures:
    """Count what is planned for a cycle, and the rows of this extract.

    :raises BadInput: when the extract was never loaded.
    """
    with connect() as connection:
        extract = connection.execute(
            text(
                "SELECT e.declared_rows, coalesce(e.rejected_rows, 0) AS rejected FROM extract e "
                "JOIN cycle c ON c.id = e.cycle_id "
                "WHERE c.key = :cycle AND e.supplement = :supplement"
            ),
            {"cycle": key.cycle, "supplement": key.supplement},
        ).one_or_none()
        if extract is None:
            raise BadInput(f"there is no extract {key}: it has to be loaded first")
        planned = connection.execute(
            text(
                """
                SELECT count(*) AS messages, coalesce(sum(n.segments), 0) AS segments,
                    coalesce(sum(i.amount_due_millimes), 0) AS amount
                FROM notice n
                JOIN cycle c ON c.id = n.cycle_id
                JOIN invoice i ON i.invoice_number = n.subject AND i.revision + 1 = n.sequence
                WHERE c.key = :cycle AND n.state = 'planned'
                """
            ),
            {"cycle": key.cycle},
        ).one()
    segments = int(planned.segments)
    return Figures(
        extracted=int(extract.declared_rows),
        rejected=int(extract.rejected),
        messages=planned.messages,
        segments=segments,
        amount_millimes=int(planned.amount),
        cost_millimes=segments * get_settings().segment_price_millimes,
    )


def refusal_of(key: ExtractKey) -> str | None:
    """Return who refused to release this extract, when that was the last decision on it; else nothing."""
    with connect() as connection:
        decision = connection.scalar(
            text(
                "SELECT s.counts FROM stage s JOIN cycle c ON c.id = s.cycle_id "
                "WHERE c.key = :cycle AND s.supplement = :supplement AND s.name = 'release' "
                "ORDER BY s.id DESC LIMIT 1"
            ),
            {"cycle": key.cycle, "supplement": key.supplement},
        )
    return decision["by"] if decision and decision["decision"] == "refused" else None


def tripped(key: ExtractKey, figures: Figures) -> list[str]:
    """Return why a person must be asked, in sentences with figures; empty for a normal cycle."""
    settings = get_settings()
    reasons = [rail.sentence for rail in tripped_guard_rails(key)]
    if figures.messages > settings.guard_messages:
        reasons.append(
            f"{figures.messages} messages are more than the {settings.guard_messages} of a usual cycle "
            "(FATOURA_GUARD_MESSAGES)."
        )
    if figures.cost_millimes > settings.guard_cost_millimes:
        reasons.append(
            f"They cost {format_amount(figures.cost_millimes, 'fr')} DT, more than the "
            f"{format_amount(settings.guard_cost_millimes, 'fr')} DT of a usual cycle "
            "(FATOURA_GUARD_COST_MILLIMES)."
        )
    return reasons
