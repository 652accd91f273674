"""Operators of the SMS provider: send a cycle's notices, and wait until its receipts are in."""

from __future__ import annotations

import gc
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from fatoura import clock
from fatoura.cycles.keys import ExtractKey
from fatoura.cycles.registry import cycle_id_of
from fatoura.cycles.stages import recorded_stage
from fatoura.database import begin, connect
from fatoura.errors import FatouraError
from fatoura.settings import get_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from fatoura.sending.sender import Sender
    from sms_gateway.hooks import SmsGatewayHook

# What only a running task needs is imported there: the DAG processor imports this file again and again.


class SendNoticesOperator(BaseOperator):
    """Send the planned notices of a cycle, of bills or of a day's warnings, through the SMS providers in use.

    Claims notices in the database before it submits them, keeps each contract's rate over all senders, and
    stays inside the sending window. Which providers: the connections of ``FATOURA_SMS_CONN_IDS``, with the
    shares of ``fatoura gateway set``. Several of these may work on one cycle. While the cycle waits (for the
    window, for a refusal's back-off, or for a doubt), the operator is deferred and holds no worker. Cleared
    and run again, it sends only what is still planned; where nothing is, it asks no provider for anything.

    :param cycle: key of the cycle, or of a supplement to it, such as ``2026-05-T1``, ``cutoff-2026-06-29``.
        (templated)
    :param lane: which of several senders this is; shows in the attempts' records only.
    """

    template_fields: Sequence[str] = ("cycle",)

    def __init__(self, *, cycle: str, lane: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.cycle = cycle
        self.lane = lane
        self._sender: Sender | None = None

    @cached_property
    def hooks(self) -> list[SmsGatewayHook]:
        """The providers' hooks, in the order of fall-back."""
        from sms_gateway.hooks import SmsGatewayHook

        return [SmsGatewayHook(name) for name in get_settings().gateways]

    def execute(self, context: Context) -> dict[str, Any]:
        """Send until nothing can be sent now; defer when there will be more."""
        import uvloop

        from fatoura.receipts.secret import receipt_secret
        from fatoura.sending.outlook import Wait, is_all_said
        from fatoura.sending.sender import Sender
        from operations.alerts import tell
        from sms_gateway.triggers import SendingTrigger

        key = ExtractKey.parse(self.cycle)
        cycle_id = cycle_id_of(key.cycle)
        with connect() as connection:
            nothing_to_do = is_all_said(connection, cycle_id)
        if nothing_to_do:
            with recorded_stage(
                cycle_id, "send", supplement=key.supplement, run_id=context["run_id"]
            ) as stage:
                stage.counts = {"lane": self.lane, "segments": 0, "busy_seconds": 0.0}
            return dict(stage.counts)
        self._sender = Sender(
            cycle_id,
            [hook.get_conn() for hook in self.hooks],
            receiver=(get_settings().receiver_url, receipt_secret()),
            worker=f"{context['run_id']} lane {self.lane}",
        )
        # What a task has in memory stays there to its end: to go through all of Airflow for garbage again and
        # again takes a sixth of the time.
        gc.freeze()
        with recorded_stage(cycle_id, "send", supplement=key.supplement, run_id=context["run_id"]) as stage:
            result = uvloop.run(self._sender.run())
            stage.counts = {
                "lane": self.lane,
                "segments": 0,
                **{kind: count for kind, count in sorted(result.counts.items()) if count},
                "busy_seconds": round(result.seconds, 1),
                **({"stopped": sorted(result.stopped)} if result.stopped else {}),
            }
        for name, why in result.stopped.items():
            # The others have taken its share: nothing fails, so somebody must be told.
            tell(
                f"Fatoura: {name} refuses everything",
                {"gateway": name, "reason": why, "run": context["run_id"], "do": "mend its connection"},
            )
        for name, words in result.short.items():
            tell(
                f"Fatoura: the account at {name} will not do",
                {"gateway": name, "reason": words, "run": context["run_id"], "do": "have it filled up"},
            )
        if self._sender.stopping:
            raise FatouraError("stopped on request; what had not begun was given back, nothing is lost")
        if result.outlook.wait is not Wait.DONE:
            until = result.outlook.until or clock.now()
            self.log.info("waiting for %s, until %s", result.outlook.wait, until.astimezone(clock.zone()))
            self.defer(
                trigger=SendingTrigger(
                    cycle_id=cycle_id,
                    not_before=until.isoformat() if result.outlook.wait is Wait.BACK_OFF else None,
                    poll_seconds=get_settings().settle_poll.total_seconds(),
                ),
                method_name="execute_complete",
            )
        return dict(stage.counts)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Go on when there is something to do again."""
        return self.execute(context)

    def on_kill(self) -> None:
        """Finish what is under way, and give back what has not begun."""
        if self._sender is not None:
            self._sender.stop()


class SettleReceiptsOperator(BaseOperator):
    """Wait until every message of a cycle has its final state, or the horizon has passed.

    Receipts are matched by the receiver as they come; this matches what is left, and waits deferred.
    Providers that do not report by themselves are asked, each ``FATOURA_RECEIPT_POLL``; also those that take
    no new messages any more. Receipts that come after the horizon are matched all the same, and the report
    is written again. A cycle of which nothing was sent is settled at once.

    :param cycle: key of the cycle, or of a supplement to it, such as ``2026-05-T1``, ``cutoff-2026-06-29``.
        (templated)
    """

    template_fields: Sequence[str] = ("cycle",)

    def __init__(self, *, cycle: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.cycle = cycle

    def execute(self, context: Context) -> dict[str, Any]:
        """Ask for receipts, and match what has come; defer until the cycle is settled."""
        from fatoura.receipts.matching import match_receipts, unpark_known
        from fatoura.receipts.polling import poll_receipts
        from fatoura.receipts.settling import settlement
        from fatoura.subscriptions.numbers import prove_numbers
        from sms_gateway.hooks import open_gateway
        from sms_gateway.triggers import ReceiptsSettledTrigger

        key = ExtractKey.parse(self.cycle)
        cycle_id = cycle_id_of(key.cycle)
        poll_receipts(open_gateway, cycle_id)
        unpark_known()
        match_receipts()
        with begin() as connection:
            standing = settlement(connection, cycle_id)
        if not standing.is_over:
            self.log.info("%d messages have no final word yet", standing.open)
            self.defer(
                trigger=ReceiptsSettledTrigger(
                    cycle_id=cycle_id, poll_seconds=get_settings().settle_poll.total_seconds()
                ),
                method_name="execute_complete",
            )
        with recorded_stage(cycle_id, "settle", supplement=key.supplement, run_id=context["run_id"]) as stage:
            stage.counts = {**standing.states, "unconfirmed": standing.open}
        if proven := prove_numbers(cycle_id):
            self.log.info("%d numbers are proven by what was delivered", proven)
        return dict(stage.counts)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Look again: more may have come since the trigger fired."""
        return self.execute(context)
