"""Delivery receipts: taken in raw, matched by our own id, settled. They come at any time, in any order."""
