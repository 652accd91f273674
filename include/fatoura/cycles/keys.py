"""What the keys of cycles say: which extract a run is about, or which day, and where its report lies."""

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


_DAY = "([0-9]{4}-[0-9]{2}-[0-9]{2})"
_OF_A_DAY = re.compile(f"(?:cutoff|payment-received|welcome|codes|subscription-news)-{_DAY}")
_OF_A_CUT_OFF_DAY = re.compile(f"(?:cutoff|payment-received)-{_DAY}")
_OF_SUBSCRIPTIONS = re.compile("(?:welcome|codes|subscription-news)-([0-9]{4}-[0-9]{2})-[0-9]{2}")


def is_of_a_day(cycle_key: str) -> bool:
    """Tell whether a key is of the form that cycles of a day have, which no extract may have."""
    return _OF_A_DAY.fullmatch(cycle_key) is not None


def report_place(cycle_key: str) -> str:
    """Return where the report of a cycle lies below the reports folder.

    Of a billing cycle, also by a supplement's key, ``2026-05-T1``; of a day's cycles of cut-off, which share
    a report, ``cutoff/2026-06-29``; of those about subscriptions, whose report is their month's,
    ``subscriptions/2026-06``.

    :raises BadInput: when the key is none.
    """
    if of_a_day := _OF_A_CUT_OFF_DAY.fullmatch(cycle_key):
        return f"cutoff/{of_a_day[1]}"
    if of_a_month := _OF_SUBSCRIPTIONS.fullmatch(cycle_key):
        return f"subscriptions/{of_a_month[1]}"
    return ExtractKey.parse(cycle_key).cycle
