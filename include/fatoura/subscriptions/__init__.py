"""Subscriptions: who gets messages, on which phone, in which language."""

from fatoura.subscriptions.importing import ImportOutcome, import_subscribers
from fatoura.subscriptions.matching import MatchOutcome, match_extract

__all__ = ["ImportOutcome", "MatchOutcome", "import_subscribers", "match_extract"]
