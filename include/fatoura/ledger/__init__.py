"""The ledger: every row of an extract in exactly one bucket, every notice in exactly one state."""

from fatoura.ledger.balance import Ledger, LedgerBroken, check_ledger, count_ledger, cycle_ledger

__all__ = ["Ledger", "LedgerBroken", "check_ledger", "count_ledger", "cycle_ledger"]
