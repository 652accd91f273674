"""The words by which customers leave, and what they are answered: data, checked as a whole when it is read.

Called for each message that comes in. Knows no subscription and no provider.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from fatoura.errors import BadInput
from fatoura.languages import LANGUAGES, Language
from fatoura.notices.encoding import measure

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Act = Literal["leave", "help"]
Reply = Literal["left", "already_left", "unknown_sender", "helped", "no_keyword"]

_WORD = re.compile(r"[^\W_]+")
# Written with and without a hamza, or with one letter for the other.
_LETTERS = str.maketrans({"أ": "ا", "إ": "ا", "آ": "ا", "ٱ": "ا", "ى": "ي", "ة": "ه", "ـ": ""})


class KeywordsError(BadInput):
    """The file of keywords is wrong; says where."""


class _Declared(BaseModel):
    model_config = ConfigDict(extra="forbid")

    keywords: dict[Act, dict[Language, list[str]]]
    answers: dict[Reply, dict[Language, str]]


@dataclass(frozen=True)
class Keywords:
    """What is understood, and what is answered."""

    acts: Mapping[str, tuple[Act, Language]]
    answers: Mapping[Reply, Mapping[Language, str]]

    def read(self, message: str) -> tuple[Act | None, Language]:
        """Return what a message asks for, and the language of its first word."""
        found = _WORD.search(_plain(message))
        word = found[0] if found else ""
        known = self.acts.get(word)
        if known is not None:
            return known
        return None, "ar" if any("\u0600" <= letter <= "\u06ff" for letter in word) else "fr"


@cache
def load_keywords(path: Path) -> Keywords:
    """Read and check the file.

    :raises KeywordsError: when it cannot be read, a word stands for two things, or an answer takes more than
        one segment.
    """
    try:
        declared = _Declared.model_validate(yaml.safe_load(path.read_text("utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise KeywordsError(f"{path}: the keywords cannot be read: {error}") from None
    except ValidationError as error:
        told = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise KeywordsError(f"{path}: {told}") from None
    acts: dict[str, tuple[Act, Language]] = {}
    for act, by_language in declared.keywords.items():
        for language, words in by_language.items():
            for word in words:
                plain = _plain(word)
                if not _WORD.fullmatch(plain):
                    raise KeywordsError(f"{path}: {word!r} is not one word")
                if acts.setdefault(plain, (act, language))[0] != act:
                    raise KeywordsError(f"{path}: {word!r} stands for two things")
    if not any(act == "leave" for act, _ in acts.values()):
        raise KeywordsError(f"{path}: no word lets a customer leave")
    for reply in get_args(Reply):
        for language in LANGUAGES:
            answer = declared.answers.get(reply, {}).get(language)
            if answer is None:
                raise KeywordsError(f"{path}: answers.{reply}.{language} is missing; empty: none is sent")
            if answer and measure(answer).segments > 1:
                raise KeywordsError(f"{path}: answers.{reply}.{language} takes more than one segment")
    return Keywords(acts, declared.answers)


def _plain(text: str) -> str:
    """Return a text without capitals, accents, vowel signs and invisible marks."""
    letters = unicodedata.normalize("NFKD", text.translate(_LETTERS).casefold())
    return "".join(one for one in letters if unicodedata.category(one) not in ("Mn", "Cf"))
