"""The words and numerals of a report in one language. Used by its page and its tables.

The words stand in `labels.yaml`. Both languages write numbers as Tunisians do (1 234,5), so that a figure
reads the same in both pages; amounts and days come from their own modules.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml
from babel.dates import format_skeleton
from babel.numbers import format_decimal

from fatoura import clock
from fatoura.dates import format_day
from fatoura.money import format_amount
from fatoura.notices.states import State
from fatoura.sending.doubts import BY_HAND

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date, datetime

    from fatoura.reports.figures import Failure, Group, Rejection, StageFacts

ReportLanguage = Literal["fr", "en"]

NO_VALUE = "–"
"""What stands where there is no figure."""

_NUMERALS = "fr"

# A line never begins with one of these marks, and never ends after an opening one.
_FRENCH_SPACES = re.compile("(?<=«) | (?=[:;!?%»])")

# Some stages count by the ledger's own words; what all count has words of its own.
_COUNTED = {"match": ("bucket", "reason"), "settle": ("state",), "report": ("state",)}
_NOT_COUNTED = ("decision", "by", "reasons")  # a release has a section of its own


@cache
def _labels() -> dict[str, dict[str, dict[str, str]]]:
    labels: dict[str, dict[str, dict[str, str]]] = yaml.safe_load(
        Path(__file__).with_name("labels.yaml").read_text(encoding="utf-8")
    )
    for names in labels.values():
        for said in names.values():
            said["fr"] = _FRENCH_SPACES.sub("\u00a0", said["fr"])
    return labels


@dataclass(frozen=True)
class Words:
    """Says things in the report's language.

    :param rules: what each row rule of the quality suite says, in English, by code.
    """

    language: ReportLanguage
    rules: Mapping[str, str]

    def __call__(self, heading: str, name: str, **values: Any) -> str:
        """Return a label, such as ``words("section", "ledger")``, filled in.

        :raises KeyError: when there is no such label: a mistake of the page's.
        """
        label = _labels()[heading][name][self.language]
        return label.format(**values) if values else label

    def of_code(self, heading: str, code: str) -> str:
        """Return the label of a code that comes from data; one that has no label stands for itself."""
        found = _labels()[heading].get(code, {})
        return found.get(self.language, code)

    # --- What figures are about ----------------------------------------------------------------------

    def state(self, state: State) -> str:
        """Name a notice's state."""
        return self("state", state.value)

    def rule(self, rejection: Rejection) -> str:
        """Say what the broken rule asks for."""
        said = _labels()["rule"].get(rejection.code, {})
        return said.get(self.language) or self.rules.get(rejection.code, rejection.code)

    def detail(self, failure: Failure) -> str:
        """Give the provider's word for a failure, or ours for a cancellation or a person's decision."""
        if failure.detail is None:
            return self("page", "others")
        if failure.state is State.CANCELLED:
            return self.of_code("cancelled", failure.detail)
        if failure.state is State.UNDELIVERABLE and failure.detail == BY_HAND:
            return self("decided", BY_HAND)
        return failure.detail or self("page", "unknown")

    def district(self, group: Group) -> str:
        """Name a district in the page's own script."""
        return group.name_fr or group.code or self("page", "unknown")

    def stage(self, stage: StageFacts) -> str:
        """Name a stage, and the supplement that it was for."""
        name = self.of_code("stage", stage.name)
        return f"{name}, {self.delivery_of(stage.supplement)}" if stage.supplement else name

    def delivery_of(self, supplement: int) -> str:
        """Name the cycle's extract or one of its supplements."""
        return self("stages", "numbered", number=supplement) if supplement else self("stages", "main")

    def counted(self, stage: StageFacts) -> str:
        """Tell what a stage counted: ``planned 1 950, replaced 12``. What is nought is left out."""
        headings = (*_COUNTED.get(stage.name, ()), "count")
        told = []
        for name, value in stage.counts.items():
            if name in _NOT_COUNTED or value == 0:
                continue
            said = self.of_code(next((h for h in headings if name in _labels()[h]), "count"), name)
            told.append(f"{said[:1].lower()}{said[1:]} {self._value(name, value)}")
        return ", ".join(told)

    def _value(self, name: str, value: Any) -> str:
        if isinstance(value, list):
            return self.count(len(value))
        if isinstance(value, bool) or not isinstance(value, int | float):
            return self.of_code("count", str(value).lower())
        if name.endswith("_millimes"):
            return f"{self.money(round(value))} DT"
        return self.duration(value) if name.endswith("_seconds") else self.count(value)

    # --- Numerals ------------------------------------------------------------------------------------

    def count(self, number: float) -> str:
        """Write a whole number: ``12 345``."""
        text: str = format_decimal(number, format="#,##0", locale=_NUMERALS)
        return text

    def change(self, number: int) -> str:
        """Write a difference with its sign: ``+12``, ``−3``."""
        return ("+" if number > 0 else "−") + self.count(abs(number))

    def decimal(self, number: float) -> str:
        """Write a number with one decimal below ten, and none from there on."""
        text: str = format_decimal(
            number, format="#,##0.#" if abs(number) < 10 else "#,##0", locale=_NUMERALS
        )
        return text

    def share(self, part: float, whole: float = 1) -> str:
        """Write a share in per cent, so that 0 and 100 mean none and all: ``97,3 %``, ``< 0,1 %``."""
        if not whole:
            return NO_VALUE
        share = part / whole * 100
        if 0 < share < 0.1:
            return "<\u00a00,1\u00a0%"
        if 99.9 < share < 100:
            return ">\u00a099,9\u00a0%"
        text: str = format_decimal(share, format="0.0" if 0 < share < 100 else "0", locale=_NUMERALS)
        return f"{text}\u00a0%"

    def money(self, millimes: int) -> str:
        """Write an amount of dinars, without the currency."""
        return format_amount(millimes, "fr").replace(" ", "\u202f")  # a line never ends inside an amount

    def duration(self, seconds: float) -> str:
        """Write a stretch of time in its two largest units: ``3,2 s``, ``4 min 10 s``, ``2 j 3 h``."""
        if seconds < 60 and round(seconds, 1) < 60:
            return f"{self.decimal(seconds)} s"
        days = "j" if self.language == "fr" else "d"
        rest = round(seconds)
        units = ((86_400, days), (3600, "h"), (60, "min"), (1, "s"))
        for (size, unit), (smaller, next_unit) in pairwise(units):
            if rest >= size:
                whole, left = divmod(rest, size)
                more = f" {left // smaller} {next_unit}" if left // smaller else ""
                return f"{self.count(whole)} {unit}{more}"
        raise AssertionError("a minute or more has a unit")

    def day(self, day: date) -> str:
        """Write a day: ``20/05/2026``."""
        return format_day(day, "fr")

    def month(self, month: date) -> str:
        """Write a month: ``juillet 2026``."""
        name: str = format_skeleton("yMMMM", month, locale=self.language)
        return name

    def instant(self, instant: datetime) -> str:
        """Write an instant in the utility's zone, to the minute."""
        local = instant.astimezone(clock.zone())
        return f"{self.day(local.date())} {local:%H:%M}"

    def hour(self, instant: datetime, *, seconds: bool = False) -> str:
        """Write the local hour of an instant."""
        return format(instant.astimezone(clock.zone()), "%H:%M:%S" if seconds else "%H:%M")

    # --- Classes -------------------------------------------------------------------------------------

    def between(self, edges: tuple[int, ...], number: int) -> str:
        """Name a class of durations by its bounds; the first has no lower one, the last no upper one."""
        if number == 0:
            return self("time", "under", to=self.duration(edges[0]))
        if number == len(edges):
            return self("time", "over", **{"from": self.duration(edges[-1])})
        return self(
            "time", "class", **{"from": self.duration(edges[number - 1]), "to": self.duration(edges[number])}
        )

    def days(self, edges: tuple[int, ...], number: int) -> str:
        """Name a class of whole days by its bounds: ``3``, ``8–10``, ``91 +``; the first class has none."""
        first = edges[number - 1]
        if number == len(edges):
            return f"{first}\u00a0+"
        last = edges[number] - 1
        return str(first) if first == last else f"{first}–{last}"

    def days_overdue(self, edges: tuple[int, ...], number: int) -> str:
        """Name a class of days since a deadline; the first one has not passed it."""
        if number == 0:
            return self("age", "not_overdue")
        return self("age", "days", days=self.days(edges, number))

    def day_name(self, day: date) -> str:
        """Write a day with its weekday, shortened: ``lun. 22/06``."""
        weekday: str = format_skeleton("E", day, locale=self.language)
        return f"{weekday} {day:%d/%m}"
