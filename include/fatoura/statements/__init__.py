"""Provider statements: what a provider says that it counted in a month, beside what the ledger holds."""

from __future__ import annotations

from fatoura.statements.comparing import (
    OUTCOMES,
    Comparison,
    Finding,
    Group,
    OpenComparison,
    Sum,
    compared,
    imported_statements,
)
from fatoura.statements.importing import ImportedStatement, import_statement
from fatoura.statements.periods import Period

__all__ = [
    "OUTCOMES",
    "Comparison",
    "Finding",
    "Group",
    "ImportedStatement",
    "OpenComparison",
    "Period",
    "Sum",
    "compared",
    "import_statement",
    "imported_statements",
]
