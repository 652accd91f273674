"""Cycles, of bills and of days: their keys, their purposes, what each stage did."""
