"""The one place that prints or masks a customer's reference: 9 digits, the number of the contract.

Called by whoever shows one to a person. It is text everywhere: leading zeros count.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fatoura.languages import Language

REFERENCE_CHARACTERS: dict[Language, str] = {"ar": "0123456789", "fr": "0123456789 "}
"""Every character that `format_reference` can produce."""

GROUPS: dict[Language, tuple[int, ...]] = {"ar": (9,), "fr": (5, 3, 1)}
"""How many digits stand together. Bills print 5-3-1; in Arabic the reference stays in one piece, because a
right-to-left line would show three groups in the reverse order."""


def is_reference(text: object) -> bool:
    """Tell whether this is a customer's reference: 9 western digits."""
    return isinstance(text, str) and re.fullmatch("[0-9]{9}", text) is not None


def format_reference(reference: str, language: Language) -> str:
    """Return a reference as it is printed: ``42580 496 0`` in French, ``425804960`` in Arabic."""
    groups, start = [], 0
    for length in GROUPS[language]:
        groups.append(reference[start : start + length])
        start += length
    return " ".join(groups)


def mask_reference(printed: str) -> str:
    """Hide all digits but the last three of a reference in any of its forms: ``***** *96 0``."""
    visible = [at for at, character in enumerate(printed) if character.isdigit()][-3:]
    return "".join(
        "*" if character.isdigit() and at not in visible else character
        for at, character in enumerate(printed)
    )


def hide_reference(message: str, reference: str, language: Language) -> str:
    """Mask a customer's reference where a message prints it."""
    printed = format_reference(reference, language)
    return message.replace(printed, mask_reference(printed))
