"""The send task of a process round: the real sender, run until its cycle is done, as the operator and its
trigger would. Killed and started again from outside. ``python -m tests.chaos.sender CYCLE-ID WORKER``.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys

from fatoura.database import connect
from fatoura.gateways import GatewayConfig, create_gateway
from fatoura.receipts.secret import receipt_secret
from fatoura.sending.outlook import Wait, sending_outlook
from fatoura.sending.sender import Sender
from fatoura.settings import get_settings

GATEWAYS = "CHAOS_GATEWAYS"
"""Names the variable that holds the gateways as JSON: adapter, name, base_url, username, password, extra."""

BLIND = "CHAOS_BLIND"
"""Set, whatever is in doubt counts as refused: what the harness has to find out."""

_PATIENCE_SECONDS = 0.25


async def main(cycle: int, worker: str) -> None:
    """Send until there is nothing more to send, or somebody asks to stop."""
    gateways = [
        create_gateway(one.pop("adapter"), GatewayConfig(**one)) for one in json.loads(os.environ[GATEWAYS])
    ]
    receiver = (get_settings().receiver_url, receipt_secret())
    if os.environ.get(BLIND):
        _go_blind()
    sender: Sender | None = None
    stopped = False

    def stop() -> None:
        nonlocal stopped
        stopped = True
        if sender is not None:
            sender.stop()

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop)
    while not stopped:
        sender = Sender(cycle, gateways, receiver=receiver, worker=worker)
        result = await sender.run()
        if stopped or result.outlook.wait is Wait.DONE:
            return
        while not stopped:  # as the trigger waits in the operator's stead
            await asyncio.sleep(_PATIENCE_SECONDS)
            with connect() as connection:
                if sending_outlook(connection, cycle).wait in (Wait.NOTHING, Wait.DONE):
                    break


def _go_blind() -> None:
    """Make the sender what this project must never be."""
    from fatoura.gateways import session
    from fatoura.gateways.interface import Outcome

    real = vars(session)["outcome_of"]

    def blind(*arguments: object) -> Outcome:
        outcome: Outcome = real(*arguments)
        return Outcome("refused", None, outcome.answer) if outcome.kind == "in_doubt" else outcome

    vars(session)["outcome_of"] = blind


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
