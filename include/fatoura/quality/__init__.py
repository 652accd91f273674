"""The quality gate: row rules set rows aside, batch rules stop the run or ask a person."""

from fatoura.quality.gate import (
    BatchRefused,
    Tripped,
    ValidationOutcome,
    data_docs_page,
    tripped_guard_rails,
    validate_extract,
)
from fatoura.quality.suite import SuiteError, load_suite

__all__ = [
    "BatchRefused",
    "SuiteError",
    "Tripped",
    "ValidationOutcome",
    "data_docs_page",
    "load_suite",
    "tripped_guard_rails",
    "validate_extract",
]
