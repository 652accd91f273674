"""All providers that the checks are run against: add a line for a new one."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.conformance.kannel import KannelItself, SandboxProvider, kannel_stack
from tests.conformance.orange import Orange
from tests.conformance.query_string import L2TFake, TunisieSmsFake, WinSmsFake

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conformance.provider import Provider

FAKES: tuple[type[Provider], ...] = (SandboxProvider, Orange, L2TFake, TunisieSmsFake, WinSmsFake)
"""Those that run anywhere; at least one for each adapter."""


@contextmanager
def providers(*, real: bool) -> Iterator[dict[str, Callable[[], Provider]]]:
    """Give all providers by their names; real ones are started once.

    :param real: also those that need installed programs.
    """
    found: dict[str, Callable[[], Provider]] = {fake.name: fake for fake in FAKES}
    if not real:
        yield found
        return
    with kannel_stack() as stack:
        yield found | {KannelItself.name: lambda: KannelItself(stack)}
