"""The assets that workflows start each other by."""

from airflow.sdk import Asset

billing_extract = Asset("billing_extract", group="billing")
"""A complete extract in the landing folder; each event's partition key says which."""

subscribers_enrolled = Asset("subscribers_enrolled", group="subscriptions")
"""Numbers that coupons brought are to be welcomed; each event's partition key is the messages' cycle."""

payments_received = Asset("payments_received", group="cutoff")
"""Customers who had been warned have paid; each event's partition key is the cycle that tells them so."""
