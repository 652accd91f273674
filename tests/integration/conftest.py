"""Real gateways for integration tests. Absent programs skip by name, with the reason."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.kannel.stack import KannelStack, why_not

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="session")
def _kannel_can_run() -> None:
    reason = why_not()
    if reason:
        pytest.skip(f"real Kannel: {reason}")


@pytest.fixture(scope="session")
def _kannel_folder(_kannel_can_run: None) -> Iterator[Callable[[], Path]]:
    """Give folders on a tmpfs where there is one: Kannel's spool is two to three times faster there."""
    memory = Path("/dev/shm")
    root = Path(tempfile.mkdtemp(prefix="kannel-", dir=memory if os.access(memory, os.W_OK) else None))
    yield lambda: Path(tempfile.mkdtemp(dir=root))
    shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="session")
def kannel(_kannel_folder: Callable[[], Path]) -> Iterator[KannelStack]:
    """Run one Kannel with an SMPP centre behind it for the session. Tests tell their messages apart by id."""
    stack = KannelStack(_kannel_folder())
    try:
        yield stack.start()
    finally:
        stack.stop()


@pytest.fixture
def own_kannel(_kannel_folder: Callable[[], Path]) -> Iterator[KannelStack]:
    """Run a Kannel for one test, which may stop or kill parts of it."""
    stack = KannelStack(_kannel_folder())
    try:
        yield stack.start()
    finally:
        stack.stop()
