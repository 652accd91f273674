"""`fatoura notices`: what customers are told, and what it costs."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from fatoura.cli.doubts import doubts, resolve
from fatoura.cli.printing import print_json
from fatoura.languages import LANGUAGES, Language

if TYPE_CHECKING:
    from datetime import datetime

    from fatoura.notices.kinds import Kind
    from fatoura.notices.lifecycle import NoticeLife


@click.group()
def notices() -> None:
    """Look at messages: the texts of each kind, the life of a single notice, and those in doubt."""


notices.add_command(doubts)
notices.add_command(resolve)


@notices.command()
@click.argument("kind")
@click.option("--language", type=click.Choice(LANGUAGES), help="Only this language.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def preview(kind: str, language: Language | None, as_json: bool) -> None:
    """Show the messages of KIND, with usual values and with those that take the most room."""
    from fatoura.notices.kinds import load_kind

    loaded = load_kind(kind)
    texts = [
        _measured(loaded, code, values)
        for code in ([language] if language else LANGUAGES)
        for values in ("typical", "worst")
    ]
    if as_json:
        document = {
            "kind": loaded.name,
            "description": loaded.description,
            "priority": loaded.priority,
            "segments": loaded.segments,
            "in_doubt": loaded.in_doubt.value,
            "check": loaded.check,
            "validity_minutes": loaded.validity_minutes,
            "texts": texts,
        }
        print_json(document)
        return
    click.echo(f"{loaded.name}: {loaded.description}")
    for text in texts:
        click.echo(
            f"\n{text['language']}, {text['values']} values: {text['units']} units of {text['encoding']}, "
            f"{text['segments']} of {loaded.segments[text['language']]} segment(s)\n"
        )
        click.echo("\n".join(f"    {line}" for line in text["text"].splitlines()))


def _measured(kind: Kind, language: Language, values: str) -> dict[str, Any]:
    from fatoura.notices.encoding import measure

    text = kind.render_worst(language) if values == "worst" else kind.render_typical(language)
    return {"language": language, "values": values, "text": text, **measure(text)._asdict()}


@notices.command()
@click.argument("asked", metavar="ID|PHONE|INVOICE")
@click.option("--full", is_flag=True, help="Of a phone, show the whole life of each notice, not a line.")
@click.option(
    "--limit",
    type=click.IntRange(1, 1000),
    default=20,
    show_default=True,
    help="Of a phone, show no more than so many.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--unmasked", is_flag=True, help="Show phone, reference, text and raw receipts in full.")
def show(asked: str, full: bool, limit: int, as_json: bool, unmasked: bool) -> None:
    """Show the life of a notice: what was planned, handed over, answered, reported and decided, and when.

    ID is a notice's. INVOICE is an invoice number: all notices about it are shown, corrections too. PHONE is
    where notices went to, in any usual spelling; begun with +216 it is never taken for an invoice number.
    With "-" it is read from standard input, and stands in no list of processes or commands.
    """
    from dataclasses import asdict

    from fatoura.notices.lifecycle import notice_lives

    if asked == "-":
        asked = sys.stdin.readline()
    found = notice_lives(asked, most=limit, unmasked=unmasked)
    brief = found.asked_by == "phone" and not full
    if as_json:
        document: dict[str, Any] = {"total": found.total} if found.asked_by == "phone" else {}
        document["notices"] = [_brief(life) if brief else asdict(life) for life in found.notices]
        print_json(document)
        return
    if found.asked_by == "phone":
        shown = "" if len(found.notices) == found.total else f", the newest {len(found.notices)} of them"
        click.echo(f"{found.total} notice(s) to {found.notices[0].phone}{shown}")
    if brief:
        click.echo("\n".join(_in_a_line(life) for life in found.notices))
        return
    click.echo("\n\n".join("\n".join(_told(life)) for life in found.notices))


_BRIEF = (
    *("id", "kind", "subject", "sequence", "cycle", "supplement", "state", "state_since", "reason", "phone"),
    *("planned_at", "gateway"),
)


def _brief(life: NoticeLife) -> dict[str, Any]:
    return {name: getattr(life, name) for name in _BRIEF} | {"attempts": len(life.attempts)}


def _in_a_line(life: NoticeLife) -> str:
    return (
        f"  {_time(life.planned_at)}  {life.kind} {life.sequence} of {life.subject} "
        f"({life.cycle or 'no cycle'}): {life.state} since {_time(life.state_since)}  {life.id}"
    )


def _told(life: NoticeLife) -> list[str]:
    """Return what is known of a notice, line by line. Times are local."""
    extract = f"{life.cycle}/supplement-{life.supplement}" if life.supplement else life.cycle or "no cycle"
    lines = [
        f"{life.kind} {life.sequence} of {life.subject} ({extract}): {life.state}"
        + (f", {life.reason}" if life.reason else ""),
        f"  id        {life.id}",
        f"  to        {life.phone or 'a number that was erased'}, in {life.language}, "
        f"reference {life.customer_reference or 'unknown'}, district {life.district or 'unknown'}",
        f"  planned   {_time(life.planned_at)}" + (f" by {life.planned_by}" if life.planned_by else ""),
        f"  window    {_time(life.send_from)} to {_time(life.send_until)}, "
        f"valid for {life.validity_minutes} minutes at most",
        f"  message   {life.segments} segment(s) of {life.encoding}, priority {life.priority}",
        *(f"            {line}" for line in (life.text or "erased").splitlines()),
    ]
    if life.retry_at:
        lines.append(f"  retry     not before {_time(life.retry_at)}")
    lines.append("  states")
    lines += [f"    {_time(s.at)}  {s.state}{f'  ({s.why})' if s.why else ''}" for s in life.history]
    if life.attempts:
        lines.append("  attempts")
    for attempt in life.attempts:
        lines.append(
            f"    {attempt.number}  claimed {_time(attempt.claimed_at)} by {attempt.worker} "
            f"for {attempt.gateway}"
        )
        lines.append(
            f"       answered {_time(attempt.answered_at)}: {attempt.outcome or 'under way'}"
            + (f", {attempt.answer}" if attempt.answer else "")
            + (f", valid until {_time(attempt.valid_until)}" if attempt.valid_until else "")
        )
    if life.decisions:
        lines.append("  decisions")
    lines += [
        f"    {_time(one.decided_at)}  {one.decision}, by {one.decided_by}: {one.reason}"
        for one in life.decisions
    ]
    if life.receipts:
        lines.append("  receipts")
    for receipt in life.receipts:
        lines.append(
            f"    {_time(receipt.received_at)}  {receipt.status or 'unread'}, {receipt.match}"
            + (f"  ({receipt.detail})" if receipt.detail else "")
        )
        lines.append(f"       {json.dumps(receipt.raw, ensure_ascii=False)}")
    return lines


def _time(instant: datetime | None) -> str:
    from fatoura import clock

    return f"{instant.astimezone(clock.zone()):%Y-%m-%d %H:%M:%S}" if instant else "not known".ljust(19)
