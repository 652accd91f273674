"""Plan so many notices for the bench, and write their ids to a file: ``COUNT FILE [accepted]``."""

from __future__ import annotations

import sys
from pathlib import Path

from fatoura.database import get_engine
from tests.bench.client import NAME, PHONES
from tests.notices import ids, plan_notices, register_gateway, run_sql


def main(count: int, file: Path, *, accepted: bool) -> None:
    """Plan.

    :param accepted: and let a gateway have accepted them, so that receipts settle them.
    """
    cycle = plan_notices(count, phones=PHONES)
    register_gateway(NAME)
    if accepted:
        run_sql(
            "UPDATE notice SET state = 'sending', attempts = 1, gateway = :name, submitted_at = planned_at",
            name=NAME,
        )
        run_sql("UPDATE notice SET state = 'accepted'")
        run_sql(
            "INSERT INTO attempt (notice_id, number, gateway, worker, outcome) "
            "SELECT id, 1, gateway, 'bench', 'accepted' FROM notice ORDER BY id"
        )
    file.write_text("".join(f"{one}\n" for one in ids(cycle)))
    with get_engine().connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM FULL ANALYZE")


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), accepted=sys.argv[3:] == ["accepted"])
