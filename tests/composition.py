"""docker-compose.yaml as Docker Compose reads it: merged, with variables filled in, commands as words.

For the tests that check the file and that run its services. It starts nothing.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[1]
OURS = "fatoura"
"""The image of the project's own services."""

_VARIABLE = re.compile(r"\$(?:(?P<escaped>\$)|\{(?P<name>\w+)(?:(?P<rule>:[-?])(?P<word>[^}]*))?\})")


class VariableMissing(ValueError):
    """The file demands a variable that is not there; says what the file says about it."""


def interpolate(value: Any, variables: Mapping[str, str]) -> Any:
    """Fill in ``${NAME}``, ``${NAME:-default}`` and ``${NAME:?why}``; ``$$`` is a dollar."""

    def fill(found: re.Match[str]) -> str:
        if found["escaped"]:
            return "$"
        given = variables.get(found["name"], "")
        if found["rule"] == ":?" and not given:
            raise VariableMissing(f"{found['name']}: {found['word']}")
        return given or (found["word"] or "" if found["rule"] == ":-" else "")

    match value:
        case str():
            return _VARIABLE.sub(fill, value)
        case dict():
            return {name: interpolate(one, variables) for name, one in value.items()}
        case list():
            return [interpolate(one, variables) for one in value]
    return value


@dataclass(frozen=True)
class Service:
    """One service, as it is run."""

    name: str
    definition: dict[str, Any]

    @property
    def ours(self) -> bool:
        """Whether it runs the project's own image."""
        return bool(self.definition.get("image") == OURS)

    @property
    def profiles(self) -> tuple[str, ...]:
        """The profiles without which it is not started."""
        return tuple(self.definition.get("profiles", ()))

    @property
    def command(self) -> list[str]:
        """The words of its command; of the image's own, none."""
        command = self.definition.get("command") or []
        return shlex.split(command) if isinstance(command, str) else list(command)

    @property
    def environment(self) -> dict[str, str]:
        """Its variables."""
        given = self.definition.get("environment") or {}
        if isinstance(given, list):
            given = dict(entry.split("=", 1) for entry in given)
        return {name: str(value) for name, value in given.items()}

    @property
    def health_check(self) -> list[str]:
        """The words of its health check; none for a service that ends by itself."""
        test = (self.definition.get("healthcheck") or {}).get("test") or []
        if isinstance(test, str):
            return ["/bin/sh", "-c", test]
        return ["/bin/sh", "-c", *test[1:]] if test[:1] == ["CMD-SHELL"] else test[1:]

    @property
    def secrets(self) -> list[str]:
        """The names of its secrets."""
        given = self.definition.get("secrets") or ()
        return [secret if isinstance(secret, str) else secret["source"] for secret in given]


@dataclass(frozen=True)
class Composition:
    """The whole file.

    :param variables: those that Docker Compose would take from its environment and from ``.env``.
    """

    variables: dict[str, str] = field(default_factory=dict)
    path: Path = ROOT / "docker-compose.yaml"

    @cached_property
    def text(self) -> str:
        """The file as it is written."""
        return self.path.read_text()

    @cached_property
    def document(self) -> dict[str, Any]:
        """The file with its variables filled in.

        :raises VariableMissing: when one is demanded and not there.
        """
        document: dict[str, Any] = interpolate(yaml.safe_load(self.text), self.variables)
        return document

    @cached_property
    def services(self) -> dict[str, Service]:
        """The services by name."""
        return {name: Service(name, given) for name, given in self.document["services"].items()}
