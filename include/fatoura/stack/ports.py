"""Ports of the local stack: which are free, and who holds the others. Called before anything is started."""

from __future__ import annotations

import socket
from contextlib import ExitStack

import psutil

from fatoura.errors import BadInput


class PortTaken(BadInput):
    """Somebody else uses a port of the stack; names the port, its holder and the setting to change."""


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Tell whether a server could listen on a port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def holder_of(port: int) -> str:
    """Return who listens on a port, such as ``nginx (process 4711)``; empty when the system does not tell."""
    try:
        for connection in psutil.net_connections(kind="tcp"):
            listens = connection.status == psutil.CONN_LISTEN
            if listens and connection.laddr[1:] == (port,) and connection.pid:
                return f"{psutil.Process(connection.pid).name()} (process {connection.pid})"
    except (psutil.Error, OSError):
        pass
    return ""


def demand_free(port: int, host: str, setting: str, purpose: str) -> None:
    """Check that a port is free.

    :param setting: the variable that chooses the port.
    :param purpose: what needs it, for the message.
    :raises PortTaken: when it is not.
    """
    if not is_free(port, host):
        raise PortTaken(
            f"port {port}, which {purpose} needs, is taken by {holder_of(port) or 'another process'}: "
            f"stop that, or choose another port, such as {setting}={find_free(1)[0]}"
        )


def find_free(count: int) -> list[int]:
    """Return `count` different ports on loopback that are free now."""
    with ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
