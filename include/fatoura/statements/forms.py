"""How a provider writes its statements: which heading is which column, in a small TOML file a form.

Called by the import, which reads every statement through a form. Forms of the utility's own lie in
`FATOURA_STATEMENT_FORMS` and go before those that come along. It knows no file and no database.
"""

from __future__ import annotations

import codecs
import hashlib
import re
import tomllib
import unicodedata
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal  # noqa: TC003 - pydantic reads it
from pathlib import Path
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from fatoura.errors import BadInput
from fatoura.settings import get_settings

_FORMS = Path(__file__).parent / "forms"

Headings = Annotated[tuple[str, ...], BeforeValidator(lambda one: (one,) if isinstance(one, str) else one)]
"""How a column may be headed: one text, or several."""

Zone = Annotated[str, Field(min_length=1)]


class FormError(BadInput):
    """There is no such form, or its file is wrong; says which entry."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Columns(_Strict):
    """Under which headings a form's columns stand; those that are left out are not in the file."""

    notice_id: Headings = ()
    provider_id: Headings = ()
    recipient: Headings = ()
    submitted_at: Headings = ()
    hour: Headings = Field((), description="where the hour stands in a column of its own")
    segments: Headings = ()
    unit_price: Headings = ()
    amount: Headings = ()
    status: Headings = ()
    label: Headings = Field((), description="of a summary: what was counted")
    messages: Headings = Field((), description="of a summary: how many messages")

    def named(self) -> dict[str, Headings]:
        """Return the columns that the form names."""
        return {name: headings for name in type(self).model_fields if (headings := getattr(self, name))}


class Form(_Strict):
    """How one provider writes its statements. Amounts are without tax, as the contract's price is.

    :param level: `detail`: a line a message (or a segment). `summary`: a line a kind of message.
    :param lines_are: of a detail: `segments` where each part of a message has a line of its own.
    :param times: formats of `strptime`, or ``iso``, or ``epoch``; the first that fits is taken.
    :param time_window: how far the provider's clock and ours may lie apart, where only phone and time tell
        which message a line is about.
    :param total: a regular expression; a line whose first filled cell it fits holds the file's own totals.
    :param unbilled: statuses of lines that are listed and not billed.
    :param optional: columns that some files lack.
    :param patterns: regular expressions for what is an id inside a cell: the group ``id`` (or the first one),
        and for our own the group ``attempt``. Without one, our own is found by its form.
    :param kinds: of a summary: which of our kinds of notice a label counts.
    :param segment_price_millimes: the contract's price with this provider, where it is not the setting's.
    """

    description: str
    level: Literal["detail", "summary"] = "detail"
    lines_are: Literal["messages", "segments"] = "messages"
    encoding: str = "utf-8"
    sheet: str = ""
    amounts_in: Literal["dinars", "millimes"] = "dinars"
    decimal: Literal[",", "."] = ","
    thousands: Literal["", ",", "."] = ""
    times: tuple[str, ...] = ("iso",)
    timezone: Zone | None = None
    time_window_seconds: int = Field(600, ge=0, le=86_400)
    total: str = ""
    unbilled: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    segment_price_millimes: Decimal | None = Field(None, ge=0, decimal_places=3)
    columns: Columns
    patterns: dict[Literal["notice_id", "provider_id"], str] = {}
    kinds: dict[str, tuple[str, ...]] = {}

    @property
    def time_window(self) -> timedelta:
        """How far the two clocks may lie apart."""
        return timedelta(seconds=self.time_window_seconds)

    @property
    def zone(self) -> ZoneInfo | None:
        """The zone of times without an offset; none: the utility's."""
        return ZoneInfo(self.timezone) if self.timezone else None

    @property
    def required(self) -> dict[str, Headings]:
        """The columns that every file has."""
        return {name: one for name, one in self.columns.named().items() if name not in self.optional}

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        columns = self.columns
        if unknown := sorted(set(self.optional) - set(columns.named())):
            raise ValueError(f"optional names columns that are not in [columns]: {', '.join(unknown)}")
        if self.level == "summary":
            if not (columns.segments or columns.messages or columns.amount):
                raise ValueError("a summary needs a column of segments, messages or amount")
        elif not (columns.notice_id or columns.provider_id or (columns.recipient and columns.submitted_at)):
            raise ValueError(
                "a detail needs a column that tells its messages apart: notice_id, provider_id, or both "
                "recipient and submitted_at"
            )
        if self.lines_are == "segments" and not (columns.notice_id or columns.provider_id):
            raise ValueError("lines that are segments need an id, by which they make up a message")
        if self.decimal == self.thousands:
            raise ValueError("decimal and thousands are the same sign")
        for expression in (self.total, *self.patterns.values()):
            try:
                re.compile(expression)
            except re.error as error:
                raise ValueError(f"{expression!r} is no regular expression: {error}") from None
        for name, expression in self.patterns.items():
            if not re.compile(expression).groups:
                raise ValueError(f"patterns.{name} needs a group, for what is the id")
        if self.timezone is not None:
            try:
                ZoneInfo(self.timezone)
            except (ZoneInfoNotFoundError, ValueError):
                raise ValueError(f"there is no time zone {self.timezone!r}") from None
        try:
            codecs.lookup(self.encoding)
        except LookupError:
            raise ValueError(f"there is no encoding {self.encoding!r}") from None
        return self


@dataclass(frozen=True)
class NamedForm:
    """A form with its name, and a digest of its file: a changed form reads a file anew."""

    name: str
    digest: str
    form: Form


def known_forms() -> dict[str, Path]:
    """Return the files of all forms by name, the utility's own before those that come along."""
    own = get_settings().statement_forms
    folders = [_FORMS, *([own] if own is not None else [])]
    return {path.stem: path for folder in folders for path in sorted(folder.glob("*.toml"))}


def load_form(name: str) -> NamedForm:
    """Load a form by its name, or by the path of its file.

    :raises FormError: when there is none, or it is wrong.
    """
    path = Path(name) if name.endswith(".toml") else known_forms().get(name)
    if path is None or not path.is_file():
        raise FormError(
            f"there is no statement form {name!r}; known are {', '.join(known_forms())}. Give one with "
            "--form, or write one (see docs/statements.md)"
        )
    content = path.read_bytes()
    try:
        form = Form.model_validate(tomllib.loads(content.decode()))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FormError(f"the statement form {path.name} cannot be read: {error}") from None
    except ValidationError as error:
        told = "; ".join(
            f"{'.'.join(map(str, e['loc']))}: {e['msg']}" if e["loc"] else e["msg"] for e in error.errors()
        )
        raise FormError(f"the statement form {path.name} is wrong: {told}") from None
    return NamedForm(path.stem, hashlib.sha256(content).hexdigest(), form)


def plain(words: object) -> str:
    """Return words in the form in which headings and statuses are compared: no case, accents or signs."""
    letters = unicodedata.normalize("NFKD", str(words)).casefold()
    kept = (c if c.isalnum() else " " for c in letters if not unicodedata.combining(c))
    return " ".join("".join(kept).split())
