"""Tell the people who operate this of failures and of late runs, by webhook or mail.

Never used for customers' messages. With nothing configured, the task's log and the UI are what there is.
"""

from __future__ import annotations

import asyncio
import html
import logging
import re
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook, BaseNotifier

from fatoura.connections import extra_of, http_address
from fatoura.errors import BadInput, FatouraError
from fatoura.settings import get_settings

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)

_TIMEOUT_SECONDS = 10
# An exception's text may come from a library: whatever looks like a number of a person is hidden.
# A day, and the hour that follows one, is none: the alarm of a late feed says since when.
_DIGITS = re.compile(
    r"(?P<instant>(?<!\d)20\d\d-[01]\d-[0-3]\d(?:[ T][0-2]\d:[0-5]\d)?(?![\d\-/]))|\+?\d(?:[\s().\-/]*\d){7,}"
)
_LONGEST_REASON = 500


class FailureNotifier(BaseNotifier):
    """Post and mail that a task has failed: which one, its try, why, and where to look.

    Where it goes is set by ``FATOURA_ALERT_WEBHOOK_CONN_ID``, ``FATOURA_ALERT_SMTP_CONN_ID`` and
    ``FATOURA_ALERT_TO``.
    """

    def notify(self, context: Context) -> None:
        """Tell of the task instance in `context`."""
        instance = context["task_instance"]
        tell(
            f"Fatoura: {instance.dag_id}.{instance.task_id} failed",
            {
                "dag": instance.dag_id,
                "run": instance.run_id,
                "cycle": _cycle_of(context.get("dag_run")),
                "task": instance.task_id,
                "try": instance.try_number,
                "reason": _reason(context.get("exception")),
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
        run = context.get("dag_run")
        facts = {
            "what": self.what,
            "run": _of(run, "dag_run_id") or "",
            "cycle": _cycle_of(run),
            "after": str(get_settings().late_after),
        }
        await asyncio.to_thread(tell, f"Fatoura: {self.what} is late", facts)


def _cycle_of(run: object) -> str:
    """Return which cycle a run is about: the extract that started it, or what was typed into its form."""
    return str(_of(run, "partition_key") or (_of(run, "conf") or {}).get("cycle") or "")


def _of(run: object, name: str) -> Any:
    # The triggerer has a run as a document, a task as an object.
    return run.get(name) if isinstance(run, dict) else getattr(run, name, None)


def _reason(error: object) -> str:
    """Return why, in one line. A library's error gives only its first: others may hold a statement or row."""
    words = str(error or "").strip()
    if not isinstance(error, FatouraError):
        words = words.partition("\n")[0]
    if isinstance(error, BaseException):
        words = f"{type(error).__name__}: {words}" if words else type(error).__name__
    return hide_digits(" ".join(words.split()))[:_LONGEST_REASON] or "no reason given"


def hide_digits(words: str) -> str:
    """Hide what may be a phone number."""
    return _DIGITS.sub(lambda found: found["instant"] or "…", words)


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
            except Exception as error:
                log.error("an alert could not be sent by %s: %s", target, _reason(error))


def _post(conn_id: str, subject: str, facts: dict[str, Any], lines: str) -> None:
    import requests

    connection = BaseHook.get_connection(conn_id)
    # `text` is what chat systems show; the facts are there for whoever wants to act on them.
    try:
        requests.post(
            http_address(connection, "https") + str(extra_of(connection).get("path", "")),
            json={"text": f"{subject}\n{lines}", **facts},
            headers={"Authorization": f"Bearer {connection.password}"} if connection.password else {},
            timeout=_TIMEOUT_SECONDS,
        ).raise_for_status()
    except requests.RequestException as error:
        # Its own words hold the address, and a webhook's address is its secret.
        status = "no answer" if error.response is None else f"status {error.response.status_code}"
        raise FatouraError(f"{status} ({type(error).__name__})") from None


def _mail(conn_id: str, subject: str, facts: dict[str, Any], lines: str) -> None:
    from airflow.providers.smtp.hooks.smtp import SmtpHook

    del facts
    to = [address.strip() for address in get_settings().alert_to.split(",") if address.strip()]
    if not to:
        raise BadInput("there is nobody to mail to: set FATOURA_ALERT_TO")
    with SmtpHook(smtp_conn_id=conn_id) as smtp:
        smtp.send_email_smtp(to=to, subject=subject, html_content=f"<pre>{html.escape(lines)}</pre>")
