"""Names of feeds. They sort in the order of time: where nothing else decides, the later name is right."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

NAME_FORM = "1 to 100 letters, digits and the signs . _ : + -, that begins with a letter or digit"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+-]{0,99}")

OF_A_PERSON = "~"
"""What names of feeds begin with that people typed: they sort after all others."""


def is_feed_name(text: str) -> bool:
    """Tell whether this may be the name of a feed that another system delivers."""
    return _NAME.fullmatch(text) is not None


def name_at(instant: datetime, prefix: str = OF_A_PERSON) -> str:
    """Return a name for what was told at an instant, such as ``~20260629T083000.000000Z``.

    :param instant: in UTC.
    :param prefix: who told it; by default a person.
    """
    return f"{prefix}{instant:%Y%m%dT%H%M%S.%f}Z"
