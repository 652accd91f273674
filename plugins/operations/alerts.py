"""Tell the people who operate this of failures and of late runs, by webhook or mail.

Never used for customers' messages. With nothing configured, the task's log and the UI are what there is.
"""

from __future__ import annotations

import asyncio
import logging
import re
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook, BaseNotifier

from fatoura.settings import get_settings

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)

_TIMEOUT_SECONDS = 10
# An exception's text may come from a library: whatever looks like a number of a person is hidden.
_DIGITS = re.compile(r"\+?\d[\d .-]{6,}\d")


class FailureNotifier(BaseNotifier):
    """Post and mail that a task has failed: which one, its try, the first line of why, and where to look.

    Where it goes is set by ``FATOURA_ALERT_WEBHOOK_CONN_ID``, ``FATOURA_ALERT_SMTP_CONN_ID`` and
    ``FATOURA_ALERT_TO``.
    """

    def notify(self, context: Context) -> None:
        """Tell of the task instance in `context`."""
        instance = context["task_instance"]
        reason = str(context.get("exception") or "no reason given").splitlines()[0]
        tell(
            f"Fatoura: {instance.dag_id}.{instance.task_id} failed",
            {
                "dag": instance.dag_id,
                "run": instance.run_id,
                "task": instance.task_id,
                "try": instance.try_number,
                "reason": hide_digits(reason),
                "log": getattr(instance, "log_url", ""),
            },
        )


class LateRunNotifier(BaseNotifier):
    """Post and mail that a run is late. Used as the callback of a deadline alert, in the triggerer."""

    def __init__(self, *, what: str, context: Context | None = None) -> None:
        super().__init__(context=context)
        self.what = what

    async def async_notify(self, context: Context) -> None:
        """Tell of the run in `context`."""
        run = context.get("dag_run") or {}
        run_id = run.get("dag_run_id", "") if isinstance(run, dict) else getattr(run, "run_id", "")
        await asyncio.to_thread(
            tell,
            f"Fatoura: {self.what} is late",
            {"what": self.what, "run": run_id, "after": str(get_settings().late_after)},
        )


def hide_digits(words: str) -> str:
    """Hide what may be a phone number."""
    return _DIGITS.sub("…", words)


def tell(subject: str, facts: dict[str, Any]) -> None:
    """Post and mail facts to where the settings say; one way's failure does not stop the other."""
    settings = get_settings()
    lines = "\n".join(f"{name}: {value}" for name, value in facts.items())
    log.warning("%s\n%s", subject, lines)
    for send, target in (
        (_post, settings.alert_webhook_conn_id),
        (_mail, settings.alert_smtp_conn_id),
    ):
        if target:
            try:
                send(target, subject, facts, lines)
            except Exception:
                log.exception("an alert could not be sent by %s", target)


def _post(conn_id: str, subject: str, facts: dict[str, Any], lines: str) -> None:

    import requests

    connection = BaseHook.get_connection(conn_id)
    host = connection.host or ""
    base = host if "://" in host else f"{connection.schema or 'https'}://{host}"
    address = f"{base}:{connection.port}" if connection.port else base
    # `text` is what chat systems show; the facts are there for whoever wants to act on them.
    answer = requests.post(
        address + connection.extra_dejson.get("path", ""),
        json={"text": f"{subject}\n{lines}", **facts},
        headers={"Authorization": f"Bearer {connection.password}"} if connection.password else {},
        timeout=_TIMEOUT_SECONDS,
    )
    answer.raise_for_status()


def _mail(conn_id: str, subject: str, facts: dict[str, Any], lines: str) -> None:

    from airflow.providers.smtp.hooks.smtp import SmtpHook

    del facts
    with SmtpHook(smtp_conn_id=conn_id) as smtp:
        smtp.send_email_smtp(
            to=[address.strip() for address in get_settings().alert_to.split(",")],
            subject=subject,
            html_content=f"<pre>{lines}</pre>",
        )
