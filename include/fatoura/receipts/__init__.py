"""Delivery receipts: taken in raw, matched, settled."""
