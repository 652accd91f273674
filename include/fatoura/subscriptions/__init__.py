"""Subscriptions: who gets messages, on which phone, in which language."""
