"""Kinds of notices: one folder a kind, with what it declares (`kind.toml`) and a text in each language.

Everything is checked when a kind is loaded, so that a bad text stops a run before a single message is
planned. Called by planning, sending (policy of doubt, checks) and the command; knows no database and no
invoice.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel, ConfigDict, PositiveInt, ValidationError, model_validator

from fatoura.languages import LANGUAGES, Language
from fatoura.notices.encoding import measure
from fatoura.notices.fields import FIELD_TYPES, Field
from fatoura.notices.templates import Sentence, TemplateError, read_sentence

if TYPE_CHECKING:
    from collections.abc import Mapping

_KINDS = Path(__file__).parent


class InDoubt(StrEnum):
    """What happens to a notice of which nobody can say whether it went out, once the horizon has passed."""

    RESEND_ONCE = "resend_once"  # better twice than not at all
    GIVE_UP = "give_up"  # better not at all than twice


class Check(StrEnum):
    """What has to hold of a notice's subject when it is claimed; else it is cancelled, and never leaves."""

    STILL_OWED = "still_owed"  # a reminder or a warning: the bill is unpaid, and its customer may be warned
    STILL_SETTLED = "still_settled"  # a promise: what was paid has not been taken back
    STILL_SUBSCRIBED = "still_subscribed"  # news of a subscription: it stands as the message says


@dataclass(frozen=True)
class Kind:
    """A kind of notice."""

    name: str
    description: str
    priority: int
    """Lower goes first."""
    segments: Mapping[Language, int]
    """The most segments that a message may take."""
    in_doubt: InDoubt
    check: Check | None
    asked_for: bool
    """Whether whoever holds the phone has just asked for it, as for a code: it goes whoever subscribes."""
    validity_minutes: int
    """The longest that the provider may try to deliver; the sending window can shorten it."""
    fields: Mapping[str, Field]
    sentences: Mapping[Language, Sentence]

    def render(self, language: Language, values: Mapping[str, Any]) -> str:
        """Render one message.

        :param values: by the names of `fields`: millimes for money, days for dates, texts for references.
        :raises TemplateError: when a value is missing.
        """
        return self.sentences[language].render(values)

    def render_worst(self, language: Language) -> str:
        """Render the message with the values that take the most room."""
        return self.render(language, {field.name: field.worst for field in self.fields.values()})

    def render_typical(self, language: Language) -> str:
        """Render the message as customers usually see it."""
        return self.render(language, {field.name: field.typical for field in self.fields.values()})


@cache
def all_kinds(folder: Path = _KINDS) -> dict[str, Kind]:
    """Return all kinds by name.

    :raises TemplateError: when any of them is wrong.
    """
    names = sorted(path.name for path in folder.iterdir() if (path / "kind.toml").is_file())
    return {name: load_kind(name, folder) for name in names}


def asked_for_kinds() -> list[str]:
    """Return the kinds that go out whoever subscribes: who holds the phone asked for them."""
    return [kind.name for kind in all_kinds().values() if kind.asked_for]


@cache
def load_kind(name: str, folder: Path = _KINDS) -> Kind:
    """Load one kind and check everything about it that can be known before there are values.

    :raises TemplateError: when there is no such kind, when its declaration or a text is wrong, when a
        language is missing, or when a text can need more segments than the kind declares.
    """
    if not (folder / name / "kind.toml").is_file():
        known = ", ".join(sorted(path.parent.name for path in folder.glob("*/kind.toml")))
        raise TemplateError(f"there is no kind of notice called {name!r}; the kinds are: {known}")
    declared = _read_declaration(folder / name / "kind.toml", name)
    fields = {field: _read_field(name, field, form) for field, form in declared.fields.items()}
    kind = Kind(
        name=name,
        description=declared.description,
        priority=declared.priority,
        segments=declared.segments_by_language,
        in_doubt=declared.in_doubt,
        check=declared.check,
        asked_for=declared.asked_for,
        validity_minutes=declared.validity_minutes,
        fields=fields,
        sentences={
            language: read_sentence(name, language, folder / name / f"{language}.txt.j2", fields)
            for language in LANGUAGES
        },
    )
    for language in LANGUAGES:
        _check_room(kind, language)
    return kind


class _FieldDeclaration(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    type: str
    worst: Any
    typical: Any


class _Declaration(BaseModel):
    model_config = ConfigDict(extra="forbid")

    description: str
    priority: PositiveInt
    segments: PositiveInt | dict[Language, PositiveInt] = 1
    in_doubt: InDoubt
    check: Check | None = None
    asked_for: bool = False
    validity_minutes: PositiveInt
    fields: dict[str, _FieldDeclaration]

    @property
    def segments_by_language(self) -> dict[Language, int]:
        if isinstance(self.segments, dict):
            return self.segments
        return dict.fromkeys(LANGUAGES, self.segments)

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        if missing := [language for language in LANGUAGES if language not in self.segments_by_language]:
            raise ValueError(f"segments says nothing of {', '.join(missing)}")
        if self.check and self.in_doubt is not InDoubt.GIVE_UP:
            raise ValueError(
                "a kind with a check has in_doubt = 'give_up': a repeat would leave on an old check"
            )
        return self


def _read_declaration(path: Path, name: str) -> _Declaration:
    try:
        return _Declaration.model_validate(tomllib.loads(path.read_text("utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TemplateError(f"notice kind {name}, kind.toml cannot be read: {error}") from None
    except ValidationError as error:
        told = "; ".join(
            ": ".join(filter(None, (".".join(map(str, e["loc"])), e["msg"].removeprefix("Value error, "))))
            for e in error.errors()
        )
        raise TemplateError(f"notice kind {name}, kind.toml: {told}") from None


def _read_field(kind: str, name: str, declared: _FieldDeclaration) -> Field:
    where = f"notice kind {kind}, kind.toml, field {name}"
    if declared.type not in FIELD_TYPES:
        raise TemplateError(
            f"{where}: there is no type {declared.type!r}; the types are: {', '.join(FIELD_TYPES)}"
        )
    type_ = FIELD_TYPES[declared.type]
    for use in ("worst", "typical"):
        if not type_.accepts(getattr(declared, use)):
            raise TemplateError(f"{where}: {use} has to be {type_.form}")
    return Field(name, type_, declared.worst, declared.typical)


def _check_room(kind: Kind, language: Language) -> None:
    needed = measure(kind.render_worst(language))
    if needed.segments > kind.segments[language]:
        raise TemplateError(
            f"notice kind {kind.name}, {language}.txt.j2: with the values that take the most room it is "
            f"{needed.units} units of {needed.encoding}, {needed.segments} segments; kind.toml declares "
            f"{kind.segments[language]}"
        )
