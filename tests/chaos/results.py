"""What a run of rounds came to: the figures, beside what they have to be; as a table or as JSON."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from rich.table import Table

from tests.chaos.dice import NOISE, RECEIPT_FAULTS, REQUEST_FAULTS
from tests.chaos.judge import FIGURES
from tests.chaos.scenario import AIRFLOW_STRIKES, STRIKES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tests.chaos.round import RoundResult

MUST_BE_NONE = ("lost", "twice")

_LATE = 0.5

MEANINGS = {
    "planned": "messages planned",
    "seen": "seen by the gateway: accepted at least once",
    "refused": "refused by the gateway for good, never accepted",
    "unseen": "never accepted, on the list of those in doubt",
    "twice": "sent twice against the policy",
    "repeated by policy": "sent a second time by the declared policy, after the horizon",
    "lost": "lost",
    "in doubt": "in doubt at some time",
    "by receipt": "  resolved by a receipt",
    "by answer": "  resolved by an answer that was written late",
    "by repeat": "  resolved by the one repeat that the policy allows",
    "on the list": "  on the list of those in doubt, for a person",
    "unconfirmed": "accepted, and no final receipt came",
    "gateway's repeats": "sent again by the gateway itself, after its own crash",
    "gateway's losses": "accepted and lost by the gateway itself",
}


def faults_table(results: Sequence[RoundResult]) -> Table:
    """Return the table of what was injected."""
    total = _total(result.verdict.faults for result in results)
    drawn = Table(title="Faults injected", title_justify="left", show_edge=False, pad_edge=False)
    drawn.add_column("kind")
    drawn.add_column("times", justify="right")
    drawn.add_column("what it is")
    groups = {
        "between sender and gateway": REQUEST_FAULTS,
        "between gateway and receiver": {f"receipts: {name}": told for name, told in RECEIPT_FAULTS.items()},
        "besides": NOISE,
        "strikes": STRIKES,
    }
    if any(result.kind == "airflow" for result in results):
        groups["strikes at real Airflow"] = AIRFLOW_STRIKES
    named: set[str] = set()
    for group, faults in groups.items():
        drawn.add_section()
        drawn.add_row(f"[bold]{group}[/bold]")
        for name, told in faults.items():
            named.add(name)
            drawn.add_row(f"  {name}", f"{total[name]:,}", told)
    for name in sorted(set(total) - named):
        drawn.add_row(f"  {name}", f"{total[name]:,}", "")
    return drawn


def figures_table(results: Sequence[RoundResult]) -> Table:
    """Return the table of what became of the messages."""
    total = _total(result.verdict.figures for result in results)
    drawn = Table(title="Messages", title_justify="left", show_edge=False, pad_edge=False)
    drawn.add_column("what")
    drawn.add_column("messages", justify="right")
    drawn.add_column("to be", justify="right")
    drawn.add_column()
    for name in FIGURES:
        must = name in MUST_BE_NONE
        drawn.add_row(
            MEANINGS[name], f"{total[name]:,}", "0" if must else "", _sign(not total[name]) if must else ""
        )
    accounted = sum(total[name] for name in ("seen", "refused", "unseen"))
    drawn.add_row(
        "seen, refused or on the list", f"{accounted:,}", f"{total['planned']:,}",
        _sign(accounted == total["planned"]),
    )  # fmt: skip
    resolved = sum(total[name] for name in ("by receipt", "by answer", "by repeat", "on the list"))
    drawn.add_row(
        "in doubt, resolved or on the list", f"{resolved:,}", f"{total['in doubt']:,}",
        _sign(resolved == total["in doubt"]),
    )  # fmt: skip
    holding = sum(result.verdict.ledger_holds for result in results)
    drawn.add_row(
        "ledger identity true, rounds", f"{holding:,}", f"{len(results):,}", _sign(holding == len(results))
    )
    clean = sum(result.verdict.clean for result in results)
    drawn.add_row(
        "rounds without any violation", f"{clean:,}", f"{len(results):,}", _sign(clean == len(results))
    )
    return drawn


def as_json(results: Sequence[RoundResult], seed: int) -> dict[str, Any]:
    """Return everything as a JSON object."""
    return {
        "seed": seed,
        "rounds": len(results),
        "faults": dict(sorted(_total(result.verdict.faults for result in results).items())),
        "figures": dict(_total(result.verdict.figures for result in results)),
        "ledger_holds": all(result.verdict.ledger_holds for result in results),
        "violations": {
            f"{result.kind} {result.number}": result.verdict.violations
            for result in results
            if not result.verdict.clean
        },
        "seconds": [round(result.seconds, 1) for result in results],
    }


def line(result: RoundResult) -> str:
    """Return one line that tells how a round went."""
    figures = result.verdict.figures
    told = (
        f"{figures['planned']} planned, {figures['seen']} seen, {figures['twice']} twice, "
        f"{figures['lost']} lost, {figures['in doubt']} in doubt, "
        f"{figures['repeated by policy']} repeated by policy"
    )
    if result.lateness > _LATE:
        told += f", harness {result.lateness:.1f} s late"
    mark = "" if result.verdict.clean else "  VIOLATED"
    faults = result.verdict.faults.total()
    which = f"{result.kind} {result.number:3}  {result.seconds:5.1f} s  {faults:5} faults"
    return f"{which}  {told}  ({result.told}){mark}"


def _total(counters: Iterable[Counter[str]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for counter in counters:
        total.update(counter)
    return total


def _sign(good: bool) -> str:
    return "[green]met[/green]" if good else "[red]missed[/red]"
