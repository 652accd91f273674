"""SMS providers: one small interface, one file a provider."""

from __future__ import annotations

from fatoura.gateways.interface import (
    Answer,
    Balance,
    Capabilities,
    Gateway,
    GatewayConfig,
    Message,
    MessageUnfit,
    Outcome,
    Receipt,
    ReceiptUnreadable,
    Request,
    Token,
    TransportFailure,
    outcome_of,
    receipt_path,
)
from fatoura.gateways.registry import create_gateway, receipt_reader

__all__ = [
    "Answer",
    "Balance",
    "Capabilities",
    "Gateway",
    "GatewayConfig",
    "Message",
    "MessageUnfit",
    "Outcome",
    "Receipt",
    "ReceiptUnreadable",
    "Request",
    "Token",
    "TransportFailure",
    "create_gateway",
    "outcome_of",
    "receipt_path",
    "receipt_reader",
]
