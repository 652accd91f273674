"""Hides the number in what a provider reports, before it is stored; everything else stays as it came.

Called at the intake of receipts, whoever brings them. Matching needs no number: a report names its message by
an id, ours or the provider's. Pure.
"""

from __future__ import annotations

import re
from typing import Any

# As providers write it: with the country's code, alone or inside an address such as tel:+216…. Of an id that
# looks the same, only the copy in the raw document is hidden: what was read of it is kept beside.
_NUMBER = re.compile(r"(?<!\d)((?:00)?216)([2-9]\d{4})(\d{3})(?!\d)")

# Without the code, eight digits can be anything: only under such a name are they a number.
_NAMES = re.compile(
    r"phone|mobile|gsm|msisdn|recipient|dest|address|numero|receiver|^(?:to|from|tel|num|da)$", re.IGNORECASE
)
_NATIONAL = re.compile(r"(?<!\d)([2-9]\d{4})(\d{3})(?!\d)")


def without_numbers(value: Any, name: str = "") -> Any:
    """Return a document with the numbers in it hidden but for their last three digits.

    :param value: what JSON can hold.
    :param name: the name that it stands under.
    """
    if isinstance(value, dict):
        return {key: without_numbers(one, key) for key, one in value.items()}
    if isinstance(value, list):
        return [without_numbers(one, name) for one in value]
    if isinstance(value, bool) or not isinstance(value, str | int):
        return value
    written = str(value)
    hidden = _NUMBER.sub(r"\1*****\3", written)
    if _NAMES.search(name):
        hidden = _NATIONAL.sub(r"*****\2", hidden)
    return value if hidden == written else hidden
