"""What each stage of a cycle did: one row for reports, one line in the log."""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert

from fatoura import clock
from fatoura.database import begin
from fatoura.database.schema import stage as stage_table

if TYPE_CHECKING:
    from collections.abc import Iterator

log = logging.getLogger(__name__)


@dataclass
class Stage:
    """A stage under way. What it counts goes to `counts`: numbers and short words, nothing personal."""

    cycle_id: int | None = None
    counts: dict[str, Any] = field(default_factory=dict)


@contextmanager
def recorded_stage(
    cycle_id: int | None, name: str, *, supplement: int = 0, run_id: str | None = None
) -> Iterator[Stage]:
    """Time a stage, and record and log its counts when it ends well.

    A stage that raises leaves no record: the task's own log says why.

    :param cycle_id: none for the stage that registers the cycle: it sets `Stage.cycle_id` on its way.
    """
    stage, started, mark = Stage(cycle_id), clock.now(), time.monotonic()
    yield stage
    seconds = time.monotonic() - mark
    with begin() as connection:
        connection.execute(
            insert(stage_table).values(
                cycle_id=stage.cycle_id,
                supplement=supplement,
                name=name,
                run_id=run_id,
                started_at=started,
                finished_at=clock.now(),
                counts=stage.counts,
            )
        )
    told = ", ".join(f"{key} {value}" for key, value in stage.counts.items())
    log.info("%s: %s in %.1f s", name, told or "nothing to do", seconds)
