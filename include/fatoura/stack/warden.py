"""Stop a stack when the command that keeps it is gone, however it went: killed, crashed, terminal closed.

Started by `LocalStack.guarded`, which holds the other end of its standard input: that end closes with the
command's process, whatever ends it.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path


def main() -> None:
    """Wait for the end of standard input; stop the stack below the folder given, unless told that it is."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if sys.stdin.read() == "stopped":
        return
    from fatoura.settings import Settings
    from fatoura.stack.local import LocalStack

    LocalStack(Settings(var=Path(sys.argv[1]))).down()  # type: ignore[call-arg]


if __name__ == "__main__":
    main()
