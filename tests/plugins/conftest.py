"""What tests of the plugins share: connections, a task's context, and a gateway that runs beside them."""

from __future__ import annotations

import asyncio
import json
import threading
import uuid
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.bases.operator import ExecutorSafeguard

from fatoura.gateways.sandbox import Sandbox, SandboxOptions
from tests.conformance.query_string import KEY, L2TFake

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RUN = "manual__2026-05-20T10:00:00+01:00"
PASSWORD = "a-secret-password"


@pytest.fixture(autouse=True)
def _operators_run_outside_airflow_s_task_runner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ExecutorSafeguard, "test_mode", True)


@pytest.fixture
def connect_as(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Define an Airflow connection: ``connect_as("fatoura_sms", host="gateway", extra={…})``."""

    def define(conn_id: str, **fields: Any) -> None:
        fields = {"conn_type": "http", **fields}
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(fields))

    return define


@pytest.fixture
def context() -> dict[str, Any]:
    """The few things of a running task's context that the operators ask for."""
    pushed: dict[str, Any] = {}
    instance = SimpleNamespace(
        id=uuid.uuid4(),
        map_index=-1,
        dag_id="billing_cycle",
        run_id=RUN,
        xcom_push=lambda key, value: pushed.update({key: value}),
        pushed=pushed,
    )
    return {"run_id": RUN, "ti": instance, "task_instance": instance}


class RunningGateway:
    """A sandbox gateway in a thread of its own; its options may be replaced while it runs."""

    def __init__(self, sandbox: Sandbox, loop: asyncio.AbstractEventLoop) -> None:
        self.sandbox = sandbox
        self._loop = loop
        self.port = sandbox.port

    @property
    def accepted(self) -> dict[str, int]:
        """How often each notice's id was accepted."""
        return dict(self.sandbox.accepted)

    def behave(self, **options: Any) -> None:
        """Answer in another way from now on."""
        self._loop.call_soon_threadsafe(
            setattr, self.sandbox, "options", SandboxOptions(port=0, password=PASSWORD, **options)
        )


@contextmanager
def _in_a_thread() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture
def gateway(connect_as: Callable[..., None]) -> Iterator[RunningGateway]:
    """Run the sandbox gateway, as the connection `fatoura_sms`."""
    with _in_a_thread() as loop:
        sandbox = Sandbox(SandboxOptions(port=0, password=PASSWORD, receipts=0, acknowledgements=0))
        asyncio.run_coroutine_threadsafe(sandbox.start(), loop).result(10)
        connect_as(
            "fatoura_sms",
            host="127.0.0.1",
            port=sandbox.port,
            login="fatoura",
            password=PASSWORD,
            extra={"provider": "kannel"},
        )
        yield RunningGateway(sandbox, loop)
        asyncio.run_coroutine_threadsafe(sandbox.stop(), loop).result(10)


@pytest.fixture
def aggregator(connect_as: Callable[..., None]) -> Iterator[L2TFake]:
    """Run an aggregator that never reports by itself, as the connection `l2t_sms`."""
    with _in_a_thread() as loop:
        fake = L2TFake()
        asyncio.run_coroutine_threadsafe(fake.__aenter__(), loop).result(10)
        connect_as(
            "l2t_sms",
            host="127.0.0.1",
            port=fake.port,
            password=KEY,
            extra={"provider": "query_string", "form": "l2t", "path": fake.path},
        )
        yield fake
        asyncio.run_coroutine_threadsafe(fake.__aexit__(), loop).result(10)
