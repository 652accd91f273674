"""`fatoura gateway`: shares and limits, what providers must be told, and the sandbox gateway for trials."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fatoura.errors import BadInput

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable

    from fatoura.gateways.sandbox import Sandbox
    from fatoura.sending.routing import Overview


@click.group()
def gateway() -> None:
    """Look after gateways, or run one that delivers to nobody."""


@gateway.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def list_gateways(as_json: bool) -> None:
    """Show each gateway: whether it takes messages, its share now, its limit, and what is unsettled.

    A gateway is an Airflow connection to a provider; it is known once a send task has used it. Also shown are
    those that take no new messages any more.
    """
    from dataclasses import asdict

    from fatoura.cli.printing import print_json
    from fatoura.database import connect
    from fatoura.sending.routing import overview

    with connect() as connection:
        known = overview(connection)
    if as_json:
        print_json({"gateways": [asdict(one) for one in known]})
        return
    if not known:
        click.echo("No gateway is known yet: a send task makes its own known. See docs/providers.md.")
    for one in known:
        click.echo("\n".join(_told(one)))


@gateway.command("set")
@click.argument("name")
@click.option("--weight", type=float, help="Its share beside the others' weights; 0: only as a fall-back.")
@click.option("--rate", type=float, help="Its limit in segments a second; 0: as the settings say.")
def set_gateway(name: str, weight: float | None, rate: float | None) -> None:
    """Change the share or the limit of gateway NAME, also while it sends: senders follow within seconds."""
    from fatoura.database import begin
    from fatoura.sending.routing import adjust, overview

    if weight is None and rate is None:
        raise click.UsageError("say what to change: --weight, --rate, or both")
    with begin() as connection:
        adjust(connection, name, weight=weight, rate=rate)
        known = overview(connection)
    for one in known:
        click.echo(_told(one)[0])


def _told(one: Overview) -> list[str]:
    """Return what is known of a gateway, line by line."""
    adapter = f"{one.adapter} {one.form}" if one.form else one.adapter
    if one.position is None:
        standing = "takes no new messages"
    else:
        standing = (
            f"{'first' if one.position == 0 else f'fall-back {one.position}'}, weight {one.weight:g}, "
            f"health {one.health:.0%}, share now {one.share:.1%}"
        )
    unsettled = ", ".join(f"{count} {state.replace('_', ' ')}" for state, count in one.unsettled.items())
    return [
        f"{one.name} ({adapter}): {standing}; {one.segments_per_second:g} segments a second",
        f"  can: {', '.join(_abilities(one.capabilities))}",
        f"  unsettled: {unsettled or 'nothing'}",
        *_told_balance(one),
    ]


def _told_balance(one: Overview) -> list[str]:
    from fatoura import clock

    if one.balance is None or one.balance_told_at is None:
        return []
    at = one.balance_told_at.astimezone(clock.zone())
    return [f"  balance: {one.balance:,} {one.balance_unit}, told {at:%Y-%m-%d %H:%M}"]


def _abilities(can: dict[str, Any]) -> list[str]:
    longest = can.get("longest_segments", 1)
    told = [
        "receipts when asked" if can.get("receipts") == "poll" else "receipts by itself",
        f"at most {longest} segment{'s' if longest > 1 else ''}",
    ]
    told += [
        words
        for name, words in (
            ("client_reference", "receipts with our id"),
            ("idempotency", "recognises repeats"),
            ("status_query", "can be asked by its id"),
            ("validity", "validity"),
            ("scheduled", "scheduled sending"),
            ("balance", "balance"),
            ("inbound", "passes on what customers send"),
        )
        if can.get(name)
    ]
    return told


@gateway.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to bind.")
@click.option("--port", type=click.IntRange(0, 65535), help="Default: FATOURA_GATEWAY_PORT; 0: any free one.")
@click.option("--username", default="fatoura", show_default=True)
@click.option(
    "--password",
    default="sandbox",
    envvar="FATOURA_SANDBOX_PASSWORD",
    show_envvar=True,
    help="Refused with 403 when it differs.",
)
@click.option("--max-messages", default=10, show_default=True, help="Longer messages are cut, as by Kannel.")
@click.option("--delay", default=0.0, show_default=True, help="Milliseconds before each answer.")
@click.option("--reject", default=0.0, show_default=True, help="Share refused at once, as bad numbers are.")
@click.option("--receipts", default=1.0, show_default=True, help="Share of messages with a final receipt.")
@click.option(
    "--acknowledgements", default=1.0, show_default=True, help="Share with an intermediate receipt."
)
@click.option("--receipt-delay", default=1.0, show_default=True, help="Seconds to the final receipt.")
@click.option(
    "--outcome",
    "outcomes",
    multiple=True,
    metavar="KIND=SHARE",
    help="What becomes of messages: undeliverable, expired, rejected, unknown, refused; the rest delivered.",
)
@click.option(
    "--by-last-digit",
    is_flag=True,
    help="The number's last digit decides: 1 undeliverable, 2 expired, 3 rejected, 4 refused, 7 no receipt, "
    "9 unknown, others delivered.",
)
@click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="KIND=SHARE",
    help="timeout, silence, reset-before, reset-after, half-answer, html, 503, 429, duplicate-receipts, "
    "early-receipts, reordered-receipts.",
)
@click.option("--seed", default=1, show_default=True, help="The same seed and ids give the same run.")
@click.option(
    "--log",
    type=click.Path(dir_okay=False, path_type=Path),
    help="One JSON line a request, without number or text. Default: var/sandbox/requests.jsonl.",
)
def sandbox(
    host: str,
    port: int | None,
    username: str,
    password: str,
    max_messages: int,
    delay: float,
    reject: float,
    receipts: float,
    acknowledgements: float,
    receipt_delay: float,
    outcomes: tuple[str, ...],
    by_last_digit: bool,
    faults: tuple[str, ...],
    seed: int,
    log: Path | None,
) -> None:
    """Speak Kannel's sendsms interface until interrupted; report to the dlr-url of each message.

    Counts are at /sandbox/stats, as JSON.
    """
    import asyncio
    import signal

    from fatoura.gateways.sandbox import SandboxOptions
    from fatoura.gateways.sandbox.sendsms import PATH
    from fatoura.gateways.sandbox.server import STATS_PATH, serve
    from fatoura.settings import get_settings

    options = SandboxOptions(
        host=host,
        port=get_settings().gateway_port if port is None else port,
        username=username,
        password=password,
        max_messages=max_messages,
        delay=delay / 1000,
        reject=reject,
        receipts=receipts,
        acknowledgements=acknowledgements,
        receipt_delay=receipt_delay,
        outcomes=_shares("--outcome", outcomes),
        by_last_digit=by_last_digit,
        faults=_shares("--fault", faults),
        seed=seed,
        log=log or get_settings().var / "sandbox" / "requests.jsonl",
    )

    def ready(running: Sandbox) -> None:
        click.echo(f"Sandbox gateway: {running.base_url}{PATH} (counts at {STATS_PATH}; Ctrl-C ends it)")

    async def run() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await serve(options, ready, stop.wait())

    with asyncio.Runner(loop_factory=_fastest_loop()) as runner:
        runner.run(run())


@gateway.command("receipt-address")
@click.argument("name")
def receipt_address(name: str) -> None:
    """Print the address that a provider reports to, for one that must be told it once, such as Orange.

    NAME is the Airflow connection's id. The address holds the secret: it is for the provider alone.
    """
    from fatoura.gateways.interface import receipt_path

    click.echo(_address(name, receipt_path))


@gateway.command("inbound-address")
@click.argument("name")
def inbound_address(name: str) -> None:
    """Print the address to which a provider passes on what customers send, such as Kannel's get-url.

    NAME is the Airflow connection's id; its extra has to say that the provider does so. The address holds the
    secret: it is for the provider alone.
    """
    from fatoura.gateways.interface import inbound_path

    click.echo(_address(name, inbound_path))


def _address(name: str, path: Callable[[str, str], str]) -> str:
    from fatoura.receipts.secret import receipt_secret
    from fatoura.settings import get_settings

    settings = get_settings()
    if name not in settings.gateways:
        raise BadInput(
            f"{name!r} is none of the gateways; FATOURA_SMS_CONN_IDS names {', '.join(settings.gateways)}"
        )
    return settings.receiver_url.rstrip("/") + path(name, receipt_secret())


def _fastest_loop() -> Callable[[], AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def _shares(option: str, given: tuple[str, ...]) -> dict[str, float]:
    shares: dict[str, float] = {}
    for entry in given:
        kind, _, share = entry.partition("=")
        try:
            shares[kind] = shares.get(kind, 0) + float(share)
        except ValueError:
            raise BadInput(f"{option} {entry!r}: give it as KIND=SHARE, such as {kind}=0.05") from None
    return shares
