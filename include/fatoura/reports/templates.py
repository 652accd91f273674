"""The templates of reports: one shell, and the parts that pages share. Called by whoever makes a page."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined


@cache
def environment(*folders: Path) -> Environment:
    """Return the environment in which pages are made.

    :param folders: where a page's own templates lie; the shell and the shared parts are found in any case.
    """
    return Environment(
        loader=FileSystemLoader([*folders, Path(__file__).parent]),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
