"""The utility's calendar: sending windows, holidays, grace days."""
