"""The one place that decides a message's encoding and counts its segments, which is what is paid for.

Called by templates, planning and the sandbox gateway. Counts are those of `smsutil`, which match what real
Kannel sends. It knows characters only: no kinds, no templates, no database.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from smsutil import gsm_split, unicode_split
from smsutil.codecs import GSM_BASIC_CHARSET, GSM_EXT_CHARSET

Encoding = Literal["gsm7", "ucs2"]

# smsutil takes a raw escape as a letter of GSM-7; it is half of an extension character.
GSM7_BASIC = frozenset(GSM_BASIC_CHARSET) - {"\x1b"}
"""Characters of one unit in GSM-7."""

GSM7_EXTENSION = frozenset(GSM_EXT_CHARSET)
"""Characters of two units in GSM-7, an escape and a letter: ``€ [ ] { } \\ ^ ~ |`` and the form feed."""

_GSM7 = GSM7_BASIC | GSM7_EXTENSION


class Limits(NamedTuple):
    """How many units a message holds in one segment, and how many in each of several."""

    single: int
    part: int


LIMITS: dict[Encoding, Limits] = {"gsm7": Limits(160, 153), "ucs2": Limits(70, 67)}


class Measure(NamedTuple):
    """What a text costs."""

    encoding: Encoding
    units: int
    """Septets of GSM-7, or 16-bit code units of UCS-2."""
    segments: int
    """Messages that the provider charges for; 1 for an empty text, which is sent like any other."""


def encoding_of(text: str) -> Encoding:
    """Return ``gsm7`` when every character of the text is in that alphabet, otherwise ``ucs2``."""
    return "gsm7" if _GSM7.issuperset(text) else "ucs2"


def outside_gsm7(text: str) -> list[str]:
    """Return the characters that force a text into UCS-2, each once, in order of appearance."""
    return [character for character in dict.fromkeys(text) if character not in _GSM7]


def split(text: str) -> list[str]:
    """Cut a text into the parts that go out. No extension character or surrogate pair is torn.

    Kannel does tear surrogate pairs, so for texts with characters beyond U+FFFF its count can be one lower.
    No template holds such characters.
    """
    if not text:
        return [""]
    cut = gsm_split if encoding_of(text) == "gsm7" else unicode_split
    return [part.content for part in cut(text).parts]


def measure(text: str) -> Measure:
    """Return the encoding, the units and the segments of a text."""
    encoding = encoding_of(text)
    if encoding == "gsm7":
        units = len(text) + sum(map(text.count, GSM7_EXTENSION))
    else:
        units = len(text.encode("utf-16-le", "surrogatepass")) // 2
    # Asked again before each submit: nearly all fit one segment, and need not be cut to know it.
    return Measure(encoding, units, 1 if units <= LIMITS[encoding].single else len(split(text)))
