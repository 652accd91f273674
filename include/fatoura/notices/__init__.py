"""Notices: what is said to a customer, decided once. Kinds, texts, encoding, planning and states."""
