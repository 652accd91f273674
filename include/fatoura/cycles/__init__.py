"""Billing cycles: their keys, their stages, what each stage did."""
