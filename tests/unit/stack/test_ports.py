"""Ports: a taken one is refused with its number, its holder, and the setting to change."""

from __future__ import annotations

import os
import re
import socket
from typing import TYPE_CHECKING

import pytest

from fatoura.stack import ports

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_taken_port_is_refused_with_its_holder_and_the_setting_to_change(taken: int) -> None:
    with pytest.raises(ports.PortTaken) as refusal:
        ports.demand_free(taken, "127.0.0.1", "FATOURA_AIRFLOW_PORT", "the api-server")
    message = str(refusal.value)
    assert f"port {taken}" in message
    assert "the api-server" in message
    assert f"(process {os.getpid()})" in message
    other = re.search(r"FATOURA_AIRFLOW_PORT=(\d+)", message)
    assert other
    assert ports.is_free(int(other[1]))


def test_a_free_port_passes() -> None:
    (port,) = ports.find_free(1)
    ports.demand_free(port, "127.0.0.1", "FATOURA_AIRFLOW_PORT", "the api-server")


def test_free_ports_are_all_different() -> None:
    assert len(set(ports.find_free(5))) == 5
