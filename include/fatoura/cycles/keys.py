"""Which extract a run is about: a cycle's key, and the number of a supplement."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from fatoura.errors import BadInput

_FORM = re.compile(
    r"(?P<cycle>[A-Za-z0-9][A-Za-z0-9_.-]{0,63})(?:/supplement-(?P<supplement>[1-9][0-9]{0,3}))?"
)


@dataclass(frozen=True)
class ExtractKey:
    """One delivery of the billing system: a cycle's extract, or a supplement to it.

    Written ``2026-05-T1`` or ``2026-05-T1/supplement-1``, as the folders below ``<landing>/billing`` are;
    that text is also the partition key of the run.
    """

    cycle: str
    supplement: int = 0

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a key.

        :raises BadInput: when it is not of the form above. It is also a folder's name.
        """
        match = _FORM.fullmatch(text)
        if match is None:
            raise BadInput(
                f"{text!r} is not a cycle key: use letters, digits, '-', '_' and '.', at most 64, such as "
                "2026-05-T1, or 2026-05-T1/supplement-1"
            )
        return cls(match["cycle"], int(match["supplement"] or 0))

    def __str__(self) -> str:
        """Return the key as it is written."""
        return f"{self.cycle}/supplement-{self.supplement}" if self.supplement else self.cycle
