"""What the codes of enrolment mean to a clerk, in the language of reports. Used by lists and the command."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import yaml


def say(code: str, language: str) -> str:
    """Return what a code means, or the code itself where it has no words.

    :param code: a reason, or ``field: code`` of a row that was set aside.
    :param language: ``fr`` or ``en``.
    """
    return _words().get(code, {}).get(language, code)


@cache
def _words() -> dict[str, dict[str, str]]:
    groups: dict[str, dict[str, dict[str, str]]] = yaml.safe_load(
        Path(__file__).with_name("words.yaml").read_text(encoding="utf-8")
    )
    return {code: said for codes in groups.values() for code, said in codes.items()}
