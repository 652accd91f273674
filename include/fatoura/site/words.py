"""The words of the site's pages, and the texts that customers agree to. Used by its pages and templates.

Words stand in words.yaml; the wordings of consent, which the utility versions, in the file of a setting.
Amounts, days and references are printed by the modules that own them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date  # noqa: TC003 - pydantic reads it when it makes the model
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fatoura import clock
from fatoura.dates import format_day
from fatoura.errors import BadInput
from fatoura.money import format_price
from fatoura.references import format_reference
from fatoura.settings import get_settings

if TYPE_CHECKING:
    from fatoura.languages import Language

# In French a line never begins with one of these marks, and never ends after an opening one.
_FRENCH_SPACES = re.compile("(?<=«) | (?=[:;!?»])")


@dataclass(frozen=True)
class Words:
    """Says things in one language."""

    language: Language

    def __call__(self, name: str, /, **values: object) -> str:
        """Return the words of a name, such as ``home.title``, filled in.

        :raises KeyError: when there are none: a mistake of the page's.
        """
        said = _all_words()[name][self.language]
        return said.format(**values) if values else said

    def dinars(self, millimes: int) -> str:
        """Print a price: whole dinars without decimals, which could be read as thousands."""
        return format_price(millimes, self.language)

    def day(self, day: date) -> str:
        """Print a day."""
        return format_day(day, self.language)

    def reference(self, reference: str) -> str:
        """Print a customer's reference."""
        return format_reference(reference, self.language)


@cache
def _all_words() -> dict[str, dict[str, str]]:
    read: dict[str, dict[str, dict[str, str]]] = yaml.safe_load(
        Path(__file__).with_name("words.yaml").read_text(encoding="utf-8")
    )
    return {
        f"{page}.{name}": {**said, "fr": french(said["fr"])}
        for page, names in read.items()
        for name, said in names.items()
    }


def french(text: str) -> str:
    """Keep the spaces before a French text's marks from breaking."""
    return _FRENCH_SPACES.sub("\u00a0", text)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Wording(_Strict):
    """One version of what customers agree to."""

    version: str = Field(min_length=1, max_length=32, pattern=r"^[A-Za-z0-9._-]+$")
    begins: date = Field(alias="from")
    fr: str = Field(min_length=1)
    ar: str = Field(min_length=1)

    def text(self, language: Language) -> str:
        """Return the text in one language."""
        return french(self.fr) if language == "fr" else self.ar


class _Hours(_Strict):
    fr: str = ""
    ar: str = ""


class Contact(_Strict):
    """Whom customers can turn to; an empty one is not shown."""

    phone: str = ""
    mail: str = ""
    declaration: str = ""
    hours: _Hours = _Hours()


class Wordings(_Strict):
    """The file of wordings."""

    consent: tuple[Wording, ...] = Field(min_length=1)
    contact: Contact = Contact()

    def on(self, day: date) -> Wording:
        """Return the version that is shown on a day: the latest that has begun.

        :raises BadInput: when none has.
        """
        begun = [wording for wording in self.consent if wording.begins <= day]
        if not begun:
            raise BadInput(f"no wording of consent has begun on {day}: see FATOURA_SITE_WORDINGS")
        return max(begun, key=lambda wording: wording.begins)


def current_wording() -> Wording:
    """Return what customers agree to today.

    :raises BadInput: when the file of wordings is wrong, or none has begun.
    """
    return wordings().on(clock.today())


def wordings() -> Wordings:
    """Return the wordings of this installation; read once by a process.

    :raises BadInput: when their file cannot be read or is wrong; says where.
    """
    return _read(get_settings().site_wordings)


@cache
def _read(path: Path) -> Wordings:
    try:
        read: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        found = Wordings.model_validate(read)
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: the wordings cannot be read: {error}") from None
    except yaml.YAMLError as error:
        raise BadInput(f"{path} is no YAML: {error}") from None
    except ValidationError as error:
        told = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise BadInput(f"{path}: {told}") from None
    versions = [wording.version for wording in found.consent]
    if len(set(versions)) < len(versions):
        raise BadInput(f"{path}: a version of consent stands there twice")
    return found
