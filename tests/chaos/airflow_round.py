"""One round with real Airflow: an extract lands, its cycle is sent, and Airflow's own parts are struck.

The stack is that of `make up`; only the way to its gateway and back leads through proxy and relay. Ids of
notices are the database's own here: the seed decides on strikes and shares, not on which message gets what.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psutil
import psycopg

from fatoura.stack import processes
from fatoura.stack.airflow_api import AirflowApiError
from fatoura.stack.keys import GATEWAY_USER, Keys
from tests.chaos.evidence import Evidence, Planned
from tests.chaos.reading import LIST_DOUBTS, ledger_faults, read_listed, read_rows
from tests.chaos.round import Round
from tests.chaos.services import accepted_by_sandbox, leaks, own_port, sandbox_drained, wait_until
from tests.e2e.running import DAG, RunningStack

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AsyncExitStack

    from tests.chaos.scenario import Strike

GATEWAY = "fatoura_sms"
CYCLE = "2026-05-T1"

_RATE = 30
_LOOK_SECONDS = 15
_QUIET_SECONDS = 2.5
_ACTIVE = "state IN ('queued', 'running')"
_PARTS = {"kill scheduler": "scheduler", "kill triggerer": "triggerer", "kill API server": "api-server"}


class AirflowRound(Round):
    """See `Round`. All its notices are bills, which may go out again once after a doubt."""

    KIND = "airflow"
    REQUEST_TIMEOUT = 2.0
    LEASE = 10.0
    HORIZON = 10.0
    PATIENCE = 480.0

    # --- Setting up

    async def _set_up(self, stack: AsyncExitStack) -> None:
        receiver_port, gateway_port = own_port(), own_port()
        await self._open_relay(stack, receiver_port)
        await self._open_proxy(stack, GATEWAY, gateway_port)
        self._gateway_port = gateway_port
        self._running = RunningStack(self._folder, self._settings(receiver_port, gateway_port))
        self._turn = asyncio.Lock()
        self._over = False
        stack.push_async_callback(asyncio.to_thread, self._running.command, "stack", "down")
        await self._up()
        expected = await asyncio.to_thread(self._land)
        async with asyncio.timeout(self.PATIENCE):
            while not self._gate.count("seen"):
                await asyncio.sleep(0.1)
        rows = await asyncio.to_thread(self._running.query, "SELECT id FROM notice")
        if len(rows) != expected:
            raise RuntimeError(f"{len(rows)} notices were planned, {expected} should have been")
        self._planned = [Planned(row[0], repeatable=True) for row in rows]
        self._messages = expected
        self._work.append(asyncio.create_task(self._watch()))

    def _settings(self, receiver_port: int, gateway_port: int) -> dict[str, str]:
        connection = {
            "conn_type": "http",
            "host": "127.0.0.1",
            "port": self.proxies[GATEWAY].port,
            "login": GATEWAY_USER,
            "password": Keys(self._folder / "var" / "secrets").gateway_password,
            "extra": {"provider": "kannel"},
        }
        return {
            "AIRFLOW_CONN_FATOURA_SMS": json.dumps(connection),
            # What takes minutes in production.
            "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "15",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "3",
            "FATOURA_LANDING_POLL": str(_LOOK_SECONDS),
            "FATOURA_AIRFLOW_PORT": str(own_port()),
            "FATOURA_GATEWAY_PORT": str(gateway_port),
            "FATOURA_RECEIVER_PORT": str(receiver_port),
            "FATOURA_SITE_PORT": str(own_port()),
            "FATOURA_RECEIVER_URL": f"http://127.0.0.1:{self.relay.port}",
            "FATOURA_RECEIPT_SECRET_FILE": str(self._folder / "receipt_secret"),
            "FATOURA_SEGMENTS_PER_SECOND": str(_RATE),
            "FATOURA_CLAIM_SIZE": "60",
            "FATOURA_REQUEST_TIMEOUT": str(self.REQUEST_TIMEOUT),
            "FATOURA_LEASE": str(self.LEASE),
            "FATOURA_DOUBT_HORIZON": str(self.HORIZON),
            "FATOURA_SETTLE_HORIZON": "30",
        }

    async def _up(self) -> None:
        """Start whatever of the stack is not there."""
        await asyncio.to_thread(self._running.command, "stack", "up")

    def _land(self) -> int:
        """Let an extract come in; return how many messages it must become."""
        options = ("--invoices", str(self._messages), "--subscribed", "1", "--seed", str(self._dice.round))
        expected = self._running.sample(CYCLE, *options)
        self._running.land(CYCLE)
        return int(expected["noticed"])

    # --- Striking

    async def _watch(self) -> None:
        """Keep up whether any run of the cycle is still under way; PostgreSQL may be away meanwhile."""
        while True:
            with contextlib.suppress(psycopg.OperationalError):
                self._over = not await asyncio.to_thread(self._active_runs)
            await asyncio.sleep(1)

    def _active_runs(self) -> int:
        ((active,),) = self._running.query(
            f"SELECT count(*) FROM dag_run WHERE {_ACTIVE} AND (dag_id = %s OR run_type = 'backfill')",
            "airflow",
            DAG,
        )
        return int(active)

    def _sending_is_over(self) -> bool:
        return self._over

    async def _strike(self, strike: Strike) -> None:
        async with self._turn:
            match strike.what:
                case "kill scheduler" | "kill triggerer" | "kill API server":
                    await asyncio.to_thread(self._kill_part, _PARTS[strike.what])
                    await asyncio.sleep(strike.pause)
                    await self._up()
                case "kill task" | "kill worker":
                    if not await asyncio.to_thread(self._kill_sending, strike.what == "kill worker"):
                        self._faults[strike.what] -= 1
                case "kill stack":
                    await asyncio.to_thread(self._kill, self._running.stack.leftovers)
                    self.relay.drop_connections()
                    await asyncio.sleep(strike.pause)
                    await self._up()
                case "clear sending":
                    await self._ask(self._clear, task_ids=["send"])
                case "clear all":
                    await self._ask(self._clear)
                case "run by hand":
                    await self._ask(self._running.stack.api.trigger, DAG, {"cycle": CYCLE})
                case "run by event":
                    await self._ask(self._announce_again)
                case "backfill":
                    await self._ask(self._backfill)
                case unknown:
                    raise ValueError(unknown)

    def _kill_part(self, name: str) -> None:
        """Kill a part's first process alone: the scheduler's tasks live on until the next one is there."""
        record = json.loads((self._folder / "var" / "run" / f"{name}.json").read_text())
        with contextlib.suppress(psutil.Error):
            psutil.Process(record["pid"]).kill()

    def _kill(self, living: Callable[[], list[psutil.Process]]) -> None:
        while found := living():
            for process in found:
                with contextlib.suppress(psutil.Error):
                    process.kill()
            psutil.wait_procs(found, timeout=5)

    def _kill_sending(self, supervisor: bool) -> bool:
        """Kill a send task that runs; tell whether one did within a while."""
        mark = self._running.stack.environment.mark

        def sending() -> list[psutil.Process]:
            tasks = self._running.query(
                "SELECT pid FROM task_instance WHERE dag_id = %s AND task_id = 'send' AND state = 'running'",
                "airflow",
                DAG,
            )
            pids = {pid for (pid,) in tasks}
            return [one for one in processes.marked(mark, ["scheduler"]) if one.pid in pids]

        if not wait_until(lambda: bool(sending()), 30) or not (found := sending()):
            return False
        with contextlib.suppress(psutil.Error):
            victim = self._dice.random("victim").choice(found)
            # Its parent may be gone, and the machine's first process have taken its place.
            if supervisor and (parent := victim.parent()) in processes.marked(mark, ["scheduler"]):
                parent.kill()
            victim.kill()
            return True
        return False

    async def _ask(self, request: Callable[..., object], *arguments: Any, **more: Any) -> None:
        """Ask Airflow for something; again while its API is not there."""
        for _ in range(30):
            try:
                await asyncio.to_thread(request, *arguments, **more)
                return
            except AirflowApiError as error:
                refusal = error
                await asyncio.sleep(1)
        raise refusal

    def _clear(self, run: str | None = None, **which: Any) -> None:
        """Clear tasks of a run, of the newest one by default, as an operator does."""
        api = self._running.stack.api
        run = run or api.runs(DAG)[0]["dag_run_id"]
        body = {"dry_run": False, "only_failed": False, "dag_run_id": run, **which}
        api._request("POST", f"/dags/{DAG}/clearTaskInstances", json=body)

    def _announce_again(self) -> None:
        api = self._running.stack.api
        (asset,) = api._request("GET", "/assets", params={"name_pattern": "billing_extract"})["assets"]
        event = {"asset_id": asset["id"], "partition_key": CYCLE}
        api._request("POST", "/assets/events", json=event)

    def _backfill(self) -> None:
        now = datetime.now(UTC)
        body = {
            "from_date": (now - timedelta(seconds=4 * _LOOK_SECONDS)).isoformat(),
            "to_date": now.isoformat(),
            "max_active_runs": 2,
        }
        api = self._running.stack.api
        refused = api._request("POST", "/backfills", json=body | {"dag_id": DAG}, accept={422})
        if "id" in refused:
            raise RuntimeError("Airflow has taken a backfill of the billing cycle")
        # Refused while one is under way: then there is one.
        api._request("POST", "/backfills", json=body | {"dag_id": "extract_landing"}, accept={409})

    # --- Coming to an end

    async def _settled(self) -> bool:
        end = time.monotonic() + self.PATIENCE
        while time.monotonic() < end:
            await asyncio.sleep(1)
            if await asyncio.to_thread(self._active_runs):
                continue
            if failed := await asyncio.to_thread(self._failed_runs):
                self._faults["cleared after it had failed"] += 1
                await self._ask(self._clear, failed[0], only_failed=True)
                continue
            if self.relay.holds or not sandbox_drained(self._gateway_port):
                continue
            if time.monotonic() - self.relay.last_at < _QUIET_SECONDS:
                continue
            if await asyncio.to_thread(self._left):
                await self._ask(self._clear, task_ids=["send"])
                continue
            return True
        return False

    def _failed_runs(self) -> list[str]:
        rows = self._running.query(
            "SELECT run_id FROM dag_run WHERE dag_id = %s AND state = 'failed'", "airflow", DAG
        )
        return [run for (run,) in rows]

    def _left(self) -> int:
        """Count what somebody still has to do."""
        ((left,),) = self._running.query(
            "SELECT (SELECT count(*) FROM receipt WHERE match = 'new') "
            "+ (SELECT count(*) FROM notice WHERE state IN ('planned', 'sending')) "
            "+ (SELECT count(*) FROM notice n WHERE state = 'in_doubt' AND 2 > "
            "(SELECT count(*) FROM attempt a WHERE a.notice_id = n.id AND a.outcome = 'in_doubt'))"
        )
        return int(left)

    # --- Looking back

    def _gather_evidence(self) -> Evidence:
        postgres = self._running.stack.environment.postgres
        evidence = Evidence(
            horizon=timedelta(seconds=self.HORIZON),
            lease=timedelta(seconds=self.LEASE),
            clock_offset=timedelta(seconds=float(self._running.variables["FATOURA_NOW"])),
            planned=self._planned,
        )
        with psycopg.connect(host=str(postgres.socket), user="postgres", dbname="fatoura") as db:
            read_rows(db, evidence)
        evidence.listed = read_listed(self._running.command(*LIST_DOUBTS))
        evidence.ledger = ledger_faults(postgres.url("fatoura"), CYCLE)
        var = self._folder / "var"
        evidence.reached_network = accepted_by_sandbox(var / "sandbox" / "requests.jsonl")
        evidence.leaked = leaks((var / "logs").rglob("*.log*"))
        return evidence
