"""Kills a step in the middle: before one of its statements or commits, as far as the database can tell."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import event

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine


class Killed(BaseException):
    """The process is gone. No `except Exception` of the product may swallow it."""


@contextmanager
def killed_at(engine: Engine, moment: int) -> Iterator[None]:
    """Kill whatever runs in the block before its statement or commit of that number, counted from 1."""
    left = moment

    def count(*_: Any) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise Killed

    for name in ("before_cursor_execute", "commit"):
        event.listen(engine, name, count)
    try:
        yield
    finally:
        for name in ("before_cursor_execute", "commit"):
            event.remove(engine, name, count)
