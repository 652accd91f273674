"""The ledger: every row of an extract in exactly one bucket."""
