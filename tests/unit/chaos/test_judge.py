"""The judge of `make chaos` must be able to say that something went wrong, of each thing that can."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from tests.chaos.evidence import AttemptRow, Delivery, Evidence, Handed, NoticeRow, Planned, ReceiptRow
from tests.chaos.judge import judge

ONE, OTHER = UUID(int=1), UUID(int=2)
BEGAN = datetime(2026, 5, 20, 10, tzinfo=UTC)
HORIZON, LEASE = 5.0, 4.0


def seen(attempt: int = 1, result: str = "accepted", *, after: float = 0.1, gateway: str = "one") -> Handed:
    return Handed(gateway, ONE, attempt, BEGAN.timestamp() + after, result=result)


def claim(
    number: int = 1, outcome: str | None = "accepted", *, after: float = 0, gateway: str = "one"
) -> AttemptRow:
    return AttemptRow(ONE, number, gateway, BEGAN + timedelta(seconds=after), outcome)


def receipt(
    status: str = "delivered", match: str = "moved", *, attempt: int = 1, relay: int | None = None
) -> ReceiptRow:
    return ReceiptRow(1, ONE, attempt, status, match, relay)


def round_of(
    state: str = "delivered",
    *,
    handed: list[Handed] | None = None,
    attempts: list[AttemptRow] | None = None,
    receipts: list[ReceiptRow] | None = None,
    repeatable: bool = True,
    **more,
) -> Evidence:
    """Return a round of one message that went as it should, but for what is given."""
    return Evidence(
        horizon=timedelta(seconds=HORIZON),
        lease=timedelta(seconds=LEASE),
        clock_offset=timedelta(0),
        planned=[Planned(ONE, repeatable)],
        notices=[NoticeRow(ONE, state, 1)],
        handed=[seen()] if handed is None else handed,
        attempts=[claim()] if attempts is None else attempts,
        receipts=[receipt()] if receipts is None else receipts,
        listed=frozenset([ONE]),
        **more,
    )


def repeated(after: float, **more) -> Evidence:
    """Return a round in which a doubt was followed by a second request."""
    return round_of(
        handed=[seen(1), seen(2, after=after + 0.1)],
        attempts=[claim(1, "in_doubt"), claim(2, after=after)],
        receipts=[receipt(attempt=2)],
        **more,
    )


def found(evidence: Evidence) -> str:
    """Return the one violation that is found."""
    (violation,) = judge(evidence).violations
    return violation


def test_a_message_that_was_sent_once_is_no_violation():
    verdict = judge(round_of())
    assert verdict.clean
    assert {name: count for name, count in verdict.figures.items() if count} == {"planned": 1, "seen": 1}


def test_a_repeat_by_policy_is_counted_and_is_no_violation():
    verdict = judge(repeated(HORIZON))
    assert verdict.clean, verdict.violations
    assert verdict.figures["repeated by policy"] == verdict.figures["by repeat"] == 1
    assert verdict.figures["twice"] == 0


def test_a_blind_repeat_is_found_however_the_sender_calls_it():
    evidence = round_of(handed=[seen(1), seen(2, after=1)], attempts=[claim(1, "refused"), claim(2, after=1)])
    verdict = judge(evidence)
    assert verdict.figures["twice"] == 1
    assert any(violation.startswith("sent twice") for violation in verdict.violations)
    assert any(violation.startswith("believed refused, and accepted") for violation in verdict.violations)


def test_whoever_calls_an_accepted_message_refused_repeats_it_blindly_after_any_time():
    evidence = round_of(
        handed=[seen(1), seen(2, after=HORIZON + 0.1)],
        attempts=[claim(1, "refused"), claim(2, after=HORIZON)],
        receipts=[receipt(attempt=2)],
    )
    assert judge(evidence).figures["twice"] == 1


def test_an_answer_that_was_written_after_the_repeat_leaves_it_one_of_policy():
    def repeat(answered: float) -> Evidence:
        evidence = repeated(HORIZON)
        first = replace(
            evidence.attempts[0], outcome="accepted", answered_at=BEGAN + timedelta(seconds=answered)
        )
        return replace(evidence, attempts=[first, evidence.attempts[1]])

    assert judge(repeat(HORIZON + 1)).clean
    assert found(repeat(HORIZON - 1)).startswith("sent twice")


@pytest.mark.parametrize(
    ("evidence", "what"),
    [
        (repeated(HORIZON, repeatable=False), "sent twice"),
        (round_of(handed=[seen(), seen()]), "one attempt went out more than once"),
        (round_of(handed=[seen(), seen(2, "withheld")]), "sent without a claim"),
        (round_of(handed=[seen(after=LEASE + 1)]), "sent after its lease had ended"),
        (round_of(handed=[seen(), Handed("one", None, None, 0)]), "a request without our id"),
        (round_of(handed=[seen(), Handed("one", OTHER, 1, 0)]), "a notice that was never planned"),
        (round_of("planned", receipts=[]), "lost: left planned"),
        (round_of("sending", receipts=[]), "lost: left sending"),
        (
            round_of("delivered", handed=[], attempts=[claim(1, "in_doubt")]),
            "lost: delivered, and no gateway",
        ),
        (
            round_of("in_doubt", attempts=[claim(1, "in_doubt")], receipts=[]),
            "lost: left in doubt, and not repeated",
        ),
        (
            replace(
                round_of("in_doubt", repeatable=False, attempts=[claim(1, "in_doubt")], receipts=[]),
                listed=frozenset(),
            ),
            "lost: left in doubt, and on no list",
        ),
        (
            round_of("accepted", handed=[seen(result="open")], receipts=[receipt("accepted")]),
            "believed accepted, and never was",
        ),
        (round_of("accepted", attempts=[claim(1, None)], receipts=[]), "an attempt without an outcome"),
        (
            round_of(attempts=[claim(), claim(2, "refused", after=1)]),
            "sent again after its answer",
        ),
        (
            round_of("accepted", receipts=[receipt(match="noted")]),
            "a final receipt did not settle its notice",
        ),
        (
            round_of(receipts=[receipt(), receipt("undeliverable")]),
            "settled by more than one final word",
        ),
        (round_of(receipts=[receipt(), receipt(match="new")]), "a receipt that nobody matched"),
        (round_of(receipts=[receipt(), receipt(match="parked")]), "a receipt parked although"),
        (round_of(ledger=["an invoice is missing"]), "the ledger does not balance"),
        (round_of(leaked=["sender.log"]), "a number or a text in a log"),
        (
            round_of(deliveries=[Delivery(7, "wrong secret", ONE, 1, taken=True, status=200)]),
            "a receipt with a wrong secret was taken",
        ),
        (
            round_of(deliveries=[Delivery(7, "receipt", ONE, 1, 1, taken=True, status=200)]),
            "a receipt was taken and not kept",
        ),
        (
            round_of(deliveries=[Delivery(7, "receipt", ONE, 1, 1, status=500)]),
            "a receipt could not be delivered",
        ),
        (
            round_of(
                receipts=[receipt(), receipt(match="noted", relay=7)],
                deliveries=[Delivery(7, "garbage", None, None, taken=True, status=200)],
            ),
            "garbage: not unreadable",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_violation_is_found_by_its_name(evidence: Evidence, what: str):
    assert found(evidence).startswith(what)


def test_a_repeat_before_the_horizon_is_found():
    violations = judge(repeated(HORIZON - 2)).violations
    assert {violation.split(":")[0] for violation in violations} == {
        "sent twice",
        "repeated before the horizon",
    }


def test_a_notice_in_doubt_with_one_gateway_and_handed_to_another_is_found():
    evidence = round_of(
        handed=[seen(1), seen(2, after=HORIZON + 0.1, gateway="other")],
        attempts=[claim(1, "in_doubt"), claim(2, after=HORIZON, gateway="other")],
    )
    assert found(evidence).startswith("in doubt with one gateway and handed to another")


def test_a_notice_that_is_gone_is_lost():
    evidence = round_of()
    evidence.notices = []
    verdict = judge(evidence)
    assert verdict.figures["lost"] == 1
    assert verdict.violations[0].startswith("lost: no such notice")


def test_a_second_repeat_is_no_policy():
    evidence = round_of(
        handed=[seen(number, after=(number - 1) * HORIZON + 0.1) for number in (1, 2, 3)],
        attempts=[claim(number, "in_doubt", after=(number - 1) * HORIZON) for number in (1, 2, 3)],
        receipts=[receipt(attempt=3)],
    )
    assert found(evidence).startswith("sent twice")


def test_what_the_gateway_does_by_itself_is_told_apart_from_what_the_sender_does():
    again = judge(round_of(reached_network=Counter({ONE: 2})))
    assert again.clean
    assert again.figures["gateway's repeats"] == 1
    gone = judge(round_of("accepted", receipts=[], reached_network=Counter()))
    assert gone.clean
    assert gone.figures["gateway's losses"] == gone.figures["unconfirmed"] == 1


@pytest.mark.parametrize(
    ("evidence", "how"),
    [
        (round_of(attempts=[claim(1, "in_doubt")]), "by receipt"),
        (repeated(HORIZON), "by repeat"),
        (round_of("in_doubt", repeatable=False, attempts=[claim(1, "in_doubt")], receipts=[]), "on the list"),
    ],
    ids=["receipt", "repeat", "list"],
)
def test_each_doubt_is_told_by_how_it_was_resolved(evidence: Evidence, how: str):
    verdict = judge(evidence)
    assert verdict.clean, verdict.violations
    assert verdict.figures["in doubt"] == verdict.figures[how] == 1


def test_every_planned_message_was_seen_refused_or_is_on_the_list():
    refused = round_of(
        "rejected", handed=[seen(result="refused")], attempts=[claim(1, "rejected")], receipts=[]
    )
    withheld = round_of(
        "in_doubt",
        repeatable=False,
        handed=[seen(result="withheld")],
        attempts=[claim(1, "in_doubt")],
        receipts=[],
    )
    assert judge(refused).figures["refused"] == 1
    assert judge(withheld).figures["unseen"] == 1
    assert judge(refused).clean
    assert judge(withheld).clean


def test_a_gateway_that_died_before_it_answered_has_seen_what_a_receipt_tells_of():
    died = {"handed": [seen(result="open")], "attempts": [claim(1, "in_doubt")]}
    for verdict in (
        judge(round_of(**died)),
        judge(round_of("accepted", receipts=[receipt("accepted")], **died)),
    ):
        assert verdict.clean, verdict.violations
        assert verdict.figures["seen"] == 1


def test_a_message_that_nothing_tells_of_is_found():
    evidence = round_of(
        "accepted", handed=[seen(result="open")], attempts=[claim(1, "in_doubt")], receipts=[]
    )
    assert found(evidence).startswith("neither seen, nor refused, nor on the list")
