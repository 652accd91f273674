"""Which messages of received payments wait for a run that sends them. Called by the workflows on either side.

Payments of bills after a warning, and of yearly fees.
"""

from __future__ import annotations

from fatoura.cycles.registry import Purpose
from fatoura.sending.taking_up import cycles_to_send, take_up

__all__ = ["cycles_to_confirm", "take_up"]


def cycles_to_confirm() -> list[str]:
    """Return the keys of the cycles whose messages can go out now, and that no run has taken up."""
    return cycles_to_send(Purpose.PAYMENT_RECEIVED, Purpose.SUBSCRIPTION_NEWS)
