"""`fatoura notices doubts` and `resolve`: messages of which nobody knows whether the provider has them."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from fatoura.cli.printing import print_json
from fatoura.notices.states import Decision

if TYPE_CHECKING:
    from uuid import UUID

    from fatoura.sending.doubts import Doubt, DoubtCount, Resolution, Which

_SIZES = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class _Age(click.ParamType[timedelta]):
    """A length of time: ``90m``, ``6h``, ``2d``."""

    name = "age"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        found = re.fullmatch(r"(\d{1,6})([smhd])", str(value))
        if found is None:
            self.fail(f"{value!r} is no age: write it as 90m, 6h or 2d", param, ctx)
        return timedelta(seconds=int(found[1]) * _SIZES[found[2]])


_gateway = click.option("--gateway", help="Only in doubt with this gateway.")
_kind = click.option("--kind", help="Only of this kind of notice.")
_next = click.option(
    "--next", "next_", type=click.Choice(["resend", "wait", "listed"]), help="Only where this comes next."
)
_as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


@click.command()
@_gateway
@_kind
@_next
@click.option("--older-than", type=_Age(), help="Only if handed over so long ago: 90m, 6h, 2d.")
@click.option("--limit", type=click.IntRange(0, 100_000), default=50, show_default=True)
@_as_json
def doubts(
    gateway: str | None,
    kind: str | None,
    next_: str | None,
    older_than: timedelta | None,
    limit: int,
    as_json: bool,
) -> None:
    """List the notices in doubt, the oldest first: how old, and what becomes of each by itself.

    A notice is in doubt when the provider may or may not have taken it. Most settle themselves, by a receipt
    or by going out once more; those "on the list" wait for a person: see `resolve`.
    """
    from dataclasses import asdict

    from fatoura.database import connect
    from fatoura.sending.doubts import count_doubts, list_doubts

    which = _which(gateway, kind, next_, older_than)
    with connect() as connection:
        counts = count_doubts(connection, which)
        listed = list_doubts(connection, which, most=limit)
    total = sum(count.notices for count in counts)
    if as_json:
        document = {
            "total": total,
            "counts": [asdict(count) for count in counts],
            "doubts": [asdict(doubt) for doubt in listed],
        }
        print_json(document)
        return
    click.echo("\n".join(_told(total, counts, listed)))


@click.command()
@click.argument("ids", metavar="[ID]...", nargs=-1, type=click.UUID)
@click.option(
    "--as",
    "decision",
    required=True,
    type=click.Choice([decision.value for decision in Decision]),
    help="accepted: the provider confirms that it has it. not_accepted: proven not taken, and it goes out "
    "again if its time has not passed. undeliverable: taken as not received, for good.",
)
@click.option("--reason", required=True, help="How you know, in a few words; recorded with the decision.")
@click.option("--by", help="Who decides.  [default: the user who runs this]")
@click.option("--all-older-than", type=_Age(), help="All that were handed over so long ago: 90m, 6h, 2d.")
@_gateway
@_kind
@_next
@click.option(
    "--yes", is_flag=True, help="With --all-older-than: do it. Without, it only says what it would."
)
@_as_json
@click.pass_context
def resolve(
    ctx: click.Context,
    ids: tuple[UUID, ...],
    decision: str,
    reason: str,
    by: str | None,
    all_older_than: timedelta | None,
    gateway: str | None,
    kind: str | None,
    next_: str | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Decide what notices in doubt are to be taken for, and record why.

    Give their IDs, or --all-older-than with --gateway, --kind and --next as they are needed. What a receipt
    has settled meanwhile, or what is going out again, stays as it is and is named; the exit code is then 1.
    """
    from getpass import getuser

    from fatoura.database import begin
    from fatoura.sending.doubts import checked_name, checked_reason, chosen_doubts, count_doubts
    from fatoura.sending.doubts import resolve as decide

    if bool(ids) == (all_older_than is not None):
        raise click.UsageError("give either IDs or --all-older-than")
    if ids and (gateway or kind or next_):
        raise click.UsageError("--gateway, --kind and --next choose with --all-older-than, not among IDs")
    by, reason = checked_name(by or getuser()), checked_reason(reason)
    which = _which(gateway, kind, next_, all_older_than)
    with begin() as connection:
        if all_older_than is not None and not yes:
            _say_what_would(count_doubts(connection, which), decision, as_json)
            return
        asked: dict[UUID, int | None] = dict.fromkeys(ids)
        if all_older_than is not None:
            asked = dict(chosen_doubts(connection, which))
        done = decide(connection, asked, Decision(decision), reason=reason, by=by)
    if as_json:
        document = {
            "dry_run": False,
            "decision": decision,
            "resolved": done.resolved,
            "cancelled": done.cancelled,
            "cycles": list(done.cycles),
            "unresolved": [{"id": one.id, "why": one.why} for one in done.unresolved],
        }
        print_json(document)
    else:
        click.echo("\n".join(_done(done, decision)))
    if done.unresolved:
        ctx.exit(1)


def _which(gateway: str | None, kind: str | None, next_: str | None, older_than: timedelta | None) -> Which:
    from fatoura import clock
    from fatoura.sending.doubts import Next, Which

    return Which(
        gateway=gateway,
        kind=kind,
        next=Next(next_) if next_ else None,
        before=clock.now() - older_than if older_than is not None else None,
    )


def _told(total: int, counts: list[DoubtCount], listed: list[Doubt]) -> list[str]:
    from fatoura.sending.doubts import BECAUSE, HAPPENS

    if not total:
        return ["No notice is in doubt."]
    lines = (
        [f"{total} in doubt", *_counted(counts), ""] if listed else [f"{total} in doubt", *_counted(counts)]
    )
    for doubt in listed:
        lines += [
            f"{doubt.id}  {_age(doubt.since)}, attempt {doubt.attempt} with {doubt.gateway}",
            f"    {doubt.kind} {doubt.sequence} of {doubt.subject} ({doubt.cycle or 'no cycle'}) "
            f"to {doubt.phone or 'a number that was erased'}: {doubt.answer or 'no answer'}",
            f"    {HAPPENS[doubt.next]}{_due(doubt)}; {BECAUSE[doubt.why]}",
        ]
    if len(listed) < total:
        lines.append(f"… and {total - len(listed)} more: --limit shows them")
    return lines


def _due(doubt: Doubt) -> str:
    from fatoura import clock

    if doubt.due is None:
        return ""
    if doubt.due <= clock.now():
        return " as soon as its cycle's send task works"
    return (
        f" {'after' if doubt.next == 'resend' else 'at'} {doubt.due.astimezone(clock.zone()):%Y-%m-%d %H:%M}"
    )


def _counted(counts: list[DoubtCount]) -> list[str]:
    from fatoura.sending.doubts import BECAUSE, HAPPENS

    return [
        f"  {count.notices:>6}  {count.kind}, {count.gateway}, the oldest {_age(count.oldest)}: "
        f"{HAPPENS[count.next]}; {BECAUSE[count.why]}"
        for count in counts
    ]


def _age(since: Any) -> str:
    from fatoura import clock
    from fatoura.reports.words import Words

    return f"{Words('en', {}).duration(max(0.0, (clock.now() - since).total_seconds()))} old"


def _say_what_would(counts: list[DoubtCount], decision: str, as_json: bool) -> None:
    from dataclasses import asdict

    total = sum(count.notices for count in counts)
    if as_json:
        document = {
            "dry_run": True,
            "decision": decision,
            "would_resolve": total,
            "counts": [asdict(count) for count in counts],
        }
        print_json(document)
        return
    click.echo(f"{total} would be resolved as {decision}")
    click.echo("\n".join([*_counted(counts), "Nothing was changed: add --yes to do it."]))


def _done(done: Resolution, decision: str) -> list[str]:
    lines = [f"{len(done.resolved)} resolved as {decision}"]
    if done.cancelled:
        lines.append(f"{done.cancelled} of them go out no more: their time is over, or they are replaced")
    if done.cycles:
        told = ", ".join(f"{cycle} ({workflow})" for cycle, workflow in done.cycles.items())
        lines.append(
            f"the others go out again with the send tasks of {told}; where the run has ended, clear its "
            "task send"
        )
    lines += [f"not resolved: {one.id}: {one.why}" for one in done.unresolved]
    return lines
