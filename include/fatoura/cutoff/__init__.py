"""Cut-off cases: who may be warned, and from which day on."""

from fatoura.cutoff.scheduling import CasesScheduled, schedule_cases

__all__ = ["CasesScheduled", "schedule_cases"]
