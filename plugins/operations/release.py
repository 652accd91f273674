"""The gate before anything is sent: a dry run ends here, and a person is asked when a guard-rail trips."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import ApprovalOperator

from fatoura.cycles.keys import ExtractKey
from fatoura.cycles.registry import cycle_id_of
from fatoura.cycles.stages import recorded_stage
from fatoura.database import begin

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from fatoura.cycles.guard_rails import Figures

ALWAYS = "always"


class ReleaseCycleOperator(ApprovalOperator):
    """Release a cycle's planned notices for sending.

    A normal cycle passes through. When a guard-rail tripped, or when the run asks for it, a person decides
    in the UI with the figures and three masked samples at hand; the task waits without a worker, and fails
    when nobody answers in time. Rejected, the planned notices are cancelled and the run ends cleanly with
    its report. A dry run skips sending too, and leaves its notices planned for the real run.

    :param cycle: key of the cycle, or of a supplement to it. (templated)
    :param dry_run: ``True`` plans and reports, and sends nothing. (templated)
    :param approval: ``always`` asks a person in any case. (templated)
    """

    template_fields: Sequence[str] = (*ApprovalOperator.template_fields, "cycle", "dry_run", "approval")

    def __init__(
        self, *, cycle: str, dry_run: str | bool = False, approval: str = "guard-rails", **kwargs: Any
    ) -> None:
        super().__init__(subject="Release the cycle for sending?", **kwargs)
        self.cycle = cycle
        self.dry_run = dry_run
        self.approval = approval

    def execute(self, context: Context) -> Any:
        """Pass, skip, or ask."""
        from fatoura.cycles.guard_rails import cycle_figures, refusal_of, tripped

        key = ExtractKey.parse(self.cycle)
        figures = cycle_figures(key)
        if str(self.dry_run).lower() == "true":
            self._record(context, key, decision="dry run", figures=figures)
            self.log.info("dry run: %d notices stay planned, nothing is sent", figures.messages)
            self.skip(ti=context["ti"], tasks=context["task"].get_direct_relatives(upstream=False))
            return None
        if not figures.messages and (refused_by := refusal_of(key)):
            # Cleared, or tried again after the answer: a person's word is not overruled by a rerun.
            self.log.info("%s was refused by %s before, and stays so", key, refused_by)
            self.skip(ti=context["ti"], tasks=context["task"].get_direct_relatives(upstream=False))
            return None
        reasons = tripped(key, figures)
        if self.approval == ALWAYS:
            reasons = ["The run's form asks for an approval.", *reasons]
        if not reasons or not figures.messages:
            self._record(context, key, decision="released", figures=figures)
            return None
        self.subject = f"Send {figures.messages:,} messages of {key}?".replace(",", " ")
        self.body = _body(key, figures, reasons)
        return super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Record who decided; on a rejection cancel what was planned, and skip to the report."""
        from fatoura.cycles.guard_rails import cycle_figures, tripped
        from fatoura.sending.claims import cancel_planned

        decided = event.get("chosen_options")  # nothing when nobody answered in time
        if decided in ([self.APPROVE], [self.REJECT]):
            key = ExtractKey.parse(self.cycle)
            figures = cycle_figures(key)
            user = event.get("responded_by_user") or {}
            name = user.get("name") if isinstance(user, dict) else getattr(user, "name", None)
            if decided == [self.REJECT]:
                with begin() as connection:
                    cancel_planned(connection, cycle_id_of(key.cycle), reason="refused_by_person")
            self._record(
                context,
                key,
                decision="approved" if decided == [self.APPROVE] else "refused",
                figures=figures,
                by=name or "unknown",
                reasons=tripped(key, figures),
            )
        return super().execute_complete(context, event)

    @staticmethod
    def _record(context: Context, key: ExtractKey, *, decision: str, figures: Figures, **more: Any) -> None:
        with recorded_stage(
            cycle_id_of(key.cycle), "release", supplement=key.supplement, run_id=context["run_id"]
        ) as stage:
            stage.counts = {
                "decision": decision,
                "messages": figures.messages,
                "segments": figures.segments,
                **more,
            }


def _body(key: ExtractKey, figures: Figures, reasons: list[str]) -> str:
    """Return the form's text: why it is asked, the figures, three masked samples. Markdown."""
    from fatoura.money import format_amount
    from fatoura.notices.planning import sample_notices

    rows = [
        ("Messages planned", f"{figures.messages:,}".replace(",", " ")),
        ("Segments", f"{figures.segments:,}".replace(",", " ")),
        ("Cost", f"{format_amount(figures.cost_millimes, 'fr')} DT"),
        ("Rows extracted", f"{figures.extracted:,}".replace(",", " ")),
        ("Rows rejected", f"{figures.rejected:,} ({figures.rejected_share:.1%})".replace(",", " ")),
        ("Amount told to customers", f"{format_amount(figures.amount_millimes, 'fr')} DT"),
    ]
    lines = [f"**{key}** waits for your decision.", "", *(f"- {reason}" for reason in reasons), ""]
    lines += ["| Figure | |", "|---|---:|", *(f"| {name} | {value} |" for name, value in rows), ""]
    lines += ["Some of the messages, masked:", "", "| To | Message |", "|---|---|"]
    for sample in sample_notices(key.cycle):
        # Isolated, an Arabic message keeps its own direction in a page that runs left to right.
        text = " · ".join(sample.text.splitlines())
        lines.append(f"| `{sample.phone}` | \u2068{text}\u2069 |")
    lines += [
        "",
        "**Approve** sends them. **Reject** cancels all of them; the run then ends with its report.",
    ]
    return "\n".join(lines)
