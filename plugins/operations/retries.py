"""Which failures are worth another try. Used as the retry policy of every task."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule

RETRY_POLICY = ExceptionRetryPolicy(
    rules=[
        RetryRule(
            exception="fatoura.errors.NeedsAPerson",
            action=RetryAction.FAIL,
            reason="trying again unchanged cannot help: read the message, mend it, clear the task",
        ),
        RetryRule(
            exception="airflow.providers.standard.exceptions.HITLTimeoutError",
            action=RetryAction.FAIL,
            reason="nobody answered in time, and another try would only ask for as long again",
        ),
        RetryRule(
            exception=[
                "fatoura.errors.NotReady",
                "sqlalchemy.exc.OperationalError",
                "builtins.ConnectionError",
                "builtins.TimeoutError",
                "builtins.OSError",
            ],
            action=RetryAction.RETRY,
            retry_delay=timedelta(seconds=30),
            reason="something outside was away for a moment",
        ),
    ]
)
"""Temporary trouble is tried again; what a person must mend fails at once. Anything else: Airflow's way."""
