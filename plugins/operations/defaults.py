"""What all tasks of all workflows have in common."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from operations.alerts import FailureNotifier
from operations.retries import RETRY_POLICY

DEFAULT_ARGS: dict[str, Any] = {
    "owner": "billing",
    "retries": 3,
    "retry_delay": timedelta(seconds=30),
    "retry_policy": RETRY_POLICY,
    "on_failure_callback": FailureNotifier(),
}
