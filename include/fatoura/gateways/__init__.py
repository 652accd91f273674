"""SMS providers: one small interface, one file a provider."""

from __future__ import annotations

from fatoura.gateways.interface import (
    Answer,
    Capabilities,
    Gateway,
    GatewayConfig,
    Message,
    MessageUnfit,
    Outcome,
    Receipt,
    ReceiptUnreadable,
    Request,
    TransportFailure,
    outcome_of,
    receipt_path,
)
from fatoura.gateways.registry import create_gateway, receipt_reader

__all__ = [
    "Answer",
    "Capabilities",
    "Gateway",
    "GatewayConfig",
    "Message",
    "MessageUnfit",
    "Outcome",
    "Receipt",
    "ReceiptUnreadable",
    "Request",
    "TransportFailure",
    "create_gateway",
    "outcome_of",
    "receipt_path",
    "receipt_reader",
]
