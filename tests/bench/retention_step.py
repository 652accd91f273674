"""The task `erase` of the workflow `retention` in a process of its own; prints what it took, as JSON."""

from __future__ import annotations

import json
import sys
import time

from tests.bench.task import become_a_task, peak


def main() -> None:
    """Erase what is due."""
    become_a_task("retention")
    began = time.monotonic()
    from fatoura.privacy.retention import erase_due

    erased = erase_due()
    json.dump({"erased": erased, "seconds": time.monotonic() - began, "peak": peak()}, sys.stdout)


if __name__ == "__main__":
    main()
