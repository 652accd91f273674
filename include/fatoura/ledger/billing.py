"""The one place that decides which attempts a provider may bill: those that it accepted, and perhaps others.

Statements in SQL for those who count messages and money: reports, provider statements. It knows no price.
"""

from __future__ import annotations

from fatoura.sending.claims import DISPROVED
from fatoura.sending.doubts import BY_HAND

# Of an attempt `a` of a notice `n`. An attempt without an answer, or one that we took for refused, was
# accepted after all when a receipt, or a person who knows, has since moved its notice on. To be taken for
# undeliverable by a person, who does not know, proves nothing.
_PROVED = f"""(
    a.number = n.attempts AND n.state IN ('accepted', 'delivered', 'undeliverable', 'expired')
    AND n.reason IS DISTINCT FROM '{BY_HAND}'
)"""

COUNTED = f"(a.outcome IS NOT DISTINCT FROM 'accepted' OR {_PROVED})"
"""The provider accepted it, and bills it."""

DOUBTFUL = f"""(
    (a.outcome IS NULL OR a.outcome = 'in_doubt') AND NOT {_PROVED} AND NOT {DISPROVED}
)"""
"""The provider may have accepted it, and nobody has proven that it did not."""
