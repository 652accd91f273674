"""`fatoura notices show`: all that is known of a notice, and nothing that tells who the customer is."""

import json
import re
from datetime import datetime, timedelta
from uuid import uuid4

import pytest
from click.testing import CliRunner
from sqlalchemy import text

from fatoura import clock
from fatoura.cli import main
from fatoura.cycles.keys import ExtractKey
from fatoura.database import begin, connect
from fatoura.gateways.interface import Message, Outcome
from fatoura.notices.lifecycle import NoticeUnknown, notice_lives
from fatoura.notices.planning import plan_bills
from fatoura.notices.states import Decision
from fatoura.receipts.intake import RawReceipt, store
from fatoura.receipts.matching import match_receipts
from fatoura.sending import claims, routing
from fatoura.sending.doubts import resolve
from fatoura.subscriptions import match_extract
from tests.notices import run_sql
from tests.staging import row, stage_extract, subscribe

KEY, SUPPLEMENT = ExtractKey("2026-05-T1"), ExtractKey("2026-05-T1", 1)
REFERENCE, PHONE = "425804960", "+21620000001"  # both are invented
SECRETS = (PHONE, "20000001", "20 000 001", REFERENCE, "42580 496 0", "Montant Chez Vous")

STEP_NAMES = {"at", "state", "why"}
ATTEMPT_NAMES = {
    *("number", "gateway", "worker", "claimed_at", "valid_until", "answered_at", "outcome", "answer"),
    "provider_id",
}
DECISION_NAMES = {"decided_at", "decided_by", "decision", "reason", "attempt"}
RECEIPT_NAMES = {
    *("received_at", "gateway", "attempt", "status", "detail", "provider_id", "happened_at", "match"),
    *("matched_at", "raw"),
}
NAMES = {
    *("id", "kind", "subject", "sequence", "cycle", "supplement", "state", "state_since", "reason", "phone"),
    *("language", "customer_reference", "district", "text", "encoding", "segments", "priority", "planned_at"),
    *("planned_by", "send_from", "send_until", "validity_minutes", "retry_at", "lease_until", "gateway"),
    *("provider_id", "final_at", "history", "attempts", "receipts", "decisions"),
}


@pytest.fixture(autouse=True)
def _day(database, configure):
    configure(now="2026-05-20T10:00:00+01:00")


def plan(key=KEY, **changed) -> None:
    stage_extract(key, [row("F-1", REFERENCE, district="TUN1", **changed)])
    match_extract(key)
    plan_bills(key, run_id="manual__1")


def claim() -> Message:
    with begin() as connection:
        cycle = connection.scalar(text("SELECT id FROM cycle"))
        [claimed] = claims.claim(
            connection,
            cycle,
            gateway="fatoura_sms",
            stretch=routing.WHOLE,
            in_use=["fatoura_sms"],
            worker="manual__1 lane 2",
            most=10,
            lease=timedelta(minutes=5),
            doubt_horizon=timedelta(hours=6),
            sender_id="STEG",
        )
    return claimed.message


def answer(message: Message, kind: str, words: str, provider_id: str | None = None) -> None:
    with begin() as connection:
        claims.write_outcomes(
            connection, [(message, Outcome(kind, provider_id, words))], retry_after=timedelta(0)
        )


def receive(message: Message, status: str | None, detail: str, **query: str) -> None:
    raw = {"query": {"notice": str(message.id), "attempt": "1", **query}, "body": "Montant Chez Vous"}
    store(
        [
            RawReceipt(
                "fatoura_sms",
                clock.now(),
                raw,
                notice_id=message.id,
                attempt=1,
                provider_id="0012345",
                status=status,
                detail=detail,
                happened_at=clock.now(),
            )
        ]
    )
    match_receipts()


def show(*arguments: str) -> str:
    done = CliRunner().invoke(main, ["notices", "show", *arguments])
    assert done.exit_code == 0, done.stderr
    return done.stdout


def shown(*arguments: str) -> list[dict]:
    document = json.loads(show(*arguments, "--json"))
    assert list(document) == ["notices"]
    return document["notices"]


def states(notice: dict) -> list[str]:
    return [step["state"] for step in notice["history"]]


@pytest.fixture
def sent() -> Message:
    """A notice that was refused once, then accepted, then delivered; the receipts repeat what they can."""
    subscribe(REFERENCE, language="fr")
    plan()
    answer(claim(), "refused", "Temporal failure, try again later.")
    message = claim()
    answer(message, "accepted", "0: Accepted for delivery", "0012345")
    receive(message, "accepted", "ACK", type="8", time="1779267600", answer="ACK/")
    receive(
        message,
        "delivered",
        "DELIVRD err:000",
        type="1",
        to="21620000001",
        answer="id:0012345 stat:DELIVRD err:000 text:Montant Chez Vous",
    )
    return message


def test_the_document_has_stable_names_and_tells_the_whole_life(sent):
    [notice] = shown(str(sent.id))
    assert set(notice) == NAMES
    assert {name for step in notice["history"] for name in step} == STEP_NAMES
    assert {name for attempt in notice["attempts"] for name in attempt} == ATTEMPT_NAMES
    assert {name for receipt in notice["receipts"] for name in receipt} == RECEIPT_NAMES
    assert notice["id"] == str(sent.id)
    told = ("kind", "subject", "sequence", "cycle", "supplement", "planned_by", "state", "segments")
    assert [notice[name] for name in told] == ["bill", "F-1", 1, "2026-05-T1", 0, "manual__1", "delivered", 1]
    assert states(notice) == ["planned", "sending", "planned", "sending", "accepted", "delivered"]
    assert [a["outcome"] for a in notice["attempts"]] == ["refused", "accepted"]
    assert notice["attempts"][1]["answer"] == "0: Accepted for delivery"
    assert [(r["status"], r["match"]) for r in notice["receipts"]] == [
        ("accepted", "noted"),
        ("delivered", "moved"),
    ]


def test_times_are_local_with_their_offset_and_in_order(sent):
    [notice] = shown("F-1")
    times = [step["at"] for step in notice["history"]]
    assert times == sorted(times)
    assert all(re.fullmatch(r"2026-05-20T10:00:\d\d\.\d{3}\+01:00", time) for time in times)
    assert datetime.fromisoformat(notice["send_until"]).utcoffset() == timedelta(hours=1)


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_nothing_that_tells_who_the_customer_is_is_shown(sent, form):
    for asked in (str(sent.id), "F-1"):
        told = show(asked, *form)
        assert not [secret for secret in SECRETS if secret in told]
        assert "+216 ** *** 001" in told
        assert "***** *96 0" in told
        assert "12,500 DT" in told  # the message is there, with its reference masked


def test_raw_receipts_keep_their_codes_and_lose_what_could_be_a_number_or_a_text(sent):
    [notice] = shown("F-1")
    first, second = (receipt["raw"] for receipt in notice["receipts"])
    assert first["query"] == {
        "notice": str(sent.id),
        "attempt": "1",
        "type": "8",
        "time": "1779267600",
        "answer": "ACK/",
    }
    assert second["query"]["to"] == "… 11 characters"
    assert second["query"]["answer"] == "… 54 characters"
    assert second["body"] == "… 17 characters"


@pytest.mark.parametrize(
    "garbage",
    [
        {"query": {"20000001": "x"}, "body": ""},
        {"query": {"to": "0021620000001", "p": "+216 20 000 001"}},
        {"query": {}, "body": '{"msisdn": 21620000001}'},
        {"query": {"list": ["20000001", {"deep": "20000001"}], "number": 20000001}},
    ],
)
def test_no_form_of_a_raw_receipt_shows_a_number(sent, garbage):
    run_sql("UPDATE receipt SET raw = CAST(:raw AS jsonb)", raw=json.dumps(garbage))
    told = show("F-1", "--json")
    assert not [secret for secret in SECRETS if secret in told]


def test_unmasked_shows_everything_to_whoever_may_see_it(sent):
    [notice] = shown("F-1", "--unmasked")
    assert (notice["phone"], notice["customer_reference"]) == (PHONE, REFERENCE)
    assert "42580 496 0" in notice["text"]
    assert "text:Montant Chez Vous" in notice["receipts"][1]["raw"]["query"]["answer"]
    assert PHONE in show("F-1", "--unmasked")


def test_an_invoice_shows_all_its_notices_the_correction_last(sent):
    plan(SUPPLEMENT, amount_due_millimes=9_000)
    bill, correction = shown("F-1")
    assert [(n["kind"], n["sequence"], n["supplement"], n["state"]) for n in (bill, correction)] == [
        ("bill", 1, 0, "delivered"),
        ("bill_correction", 2, 1, "planned"),
    ]
    assert [n["id"] for n in shown(bill["id"])] == [bill["id"]]
    assert "bill_correction 2 of F-1 (2026-05-T1/supplement-1): planned" in show("F-1")


def test_a_notice_that_was_replaced_says_so():
    subscribe(REFERENCE)
    plan()
    plan(SUPPLEMENT, amount_due_millimes=9_000)
    first, second = shown("F-1")
    assert (first["state"], first["reason"], states(first)) == (
        "cancelled",
        "replaced",
        ["planned", "cancelled"],
    )
    assert first["history"][-1]["why"] == "replaced"
    assert (second["kind"], second["sequence"], states(second)) == ("bill", 2, ["planned"])


def test_an_answer_after_the_final_receipt_changes_no_state():
    subscribe(REFERENCE)
    plan()
    message = claim()
    receive(message, "delivered", "DELIVRD")
    answer(message, "accepted", "0: Accepted for delivery")
    assert states(shown("F-1")[0]) == ["planned", "sending", "delivered"]


def test_a_claim_whose_sender_died_is_in_doubt_since_its_lease_ended_and_nobody_saw_when():
    subscribe(REFERENCE)
    plan()
    claim()
    run_sql("UPDATE notice SET lease_until = clock_timestamp() - interval '1 second'")
    with begin() as connection:
        claims.expire_leases(connection)
    [notice] = shown("F-1")
    assert states(notice) == ["planned", "sending", "in_doubt"]
    assert notice["history"][-1]["at"] is None
    assert "not known            in_doubt" in show("F-1")
    receive(claim_of(notice["id"]), "delivered", "DELIVRD")
    assert states(shown("F-1")[0]) == ["planned", "sending", "in_doubt", "delivered"]


def decide(message: Message, decision: Decision) -> None:
    with begin() as connection:
        done = resolve(
            connection, {message.id: message.attempt}, decision, reason="their log shows it", by="amel"
        )
    assert done.resolved == (message.id,)


@pytest.mark.parametrize(
    ("decision", "state"), [(Decision.ACCEPTED, "accepted"), (Decision.UNDELIVERABLE, "undeliverable")]
)
def test_a_decision_on_a_doubt_stands_in_the_life_with_who_and_why(decision, state):
    subscribe(REFERENCE)
    plan()
    message = claim()
    answer(message, "in_doubt", "no answer in 30 s")
    decide(message, decision)
    [notice] = shown("F-1")
    assert states(notice) == ["planned", "sending", "in_doubt", state]
    assert notice["history"][-1]["why"] == "decided by amel: their log shows it"
    assert [a["outcome"] for a in notice["attempts"]] == ["in_doubt"]  # as it was seen
    [decided] = notice["decisions"]
    assert set(decided) == DECISION_NAMES
    assert (decided["decision"], decided["decided_by"], decided["attempt"]) == (decision, "amel", 1)
    assert f"{decision}, by amel: their log shows it" in show("F-1")


def test_a_message_that_was_proven_not_taken_and_went_out_again_tells_both():
    subscribe(REFERENCE)
    plan()
    first = claim()
    answer(first, "in_doubt", "no answer in 30 s")
    decide(first, Decision.NOT_ACCEPTED)
    second = claim()
    answer(second, "accepted", "0: Accepted for delivery")
    receive(second, "delivered", "DELIVRD")
    [notice] = shown("F-1")
    assert states(notice) == [
        *("planned", "sending", "in_doubt", "planned", "sending", "accepted", "delivered"),
    ]
    assert notice["history"][3]["why"].startswith("decided by amel")


def test_a_repeat_that_was_refused_is_in_doubt_again_until_somebody_decides():
    subscribe(REFERENCE)
    plan()
    answer(claim(), "in_doubt", "no answer in 30 s")
    run_sql("UPDATE notice SET submitted_at = submitted_at - interval '7 hours'")
    second = claim()
    answer(second, "refused", "503")
    [notice] = shown("F-1")
    assert states(notice) == ["planned", "sending", "in_doubt", "sending", "in_doubt"]
    decide(second, Decision.NOT_ACCEPTED)
    answer(claim(), "refused", "503")
    [notice] = shown("F-1")
    assert states(notice) == [
        *("planned", "sending", "in_doubt", "sending", "in_doubt", "planned", "sending", "planned"),
    ]


def test_a_receipt_that_knows_only_the_provider_s_id_is_shown_with_its_attempt():
    subscribe(REFERENCE)
    plan()
    answer(claim(), "accepted", "201 Created", "resource/0077")
    told = {"status": "delivered", "detail": "DeliveredToTerminal", "happened_at": clock.now()}
    for gateway, provider_id in (
        ("fatoura_sms", "resource/0077"),
        ("fatoura_sms", "resource/0078"),
        ("another", "resource/0077"),
    ):
        raw = {"query": {}, "body": provider_id}
        store([RawReceipt(gateway, clock.now(), raw, provider_id=provider_id, **told)])
    # What came before the attempt is of an earlier message, with an id that the provider has used again.
    store(
        [RawReceipt("fatoura_sms", clock.now() - timedelta(days=9), {}, provider_id="resource/0077", **told)]
    )
    match_receipts()
    [notice] = shown("F-1")
    [receipt] = notice["receipts"]
    assert (receipt["provider_id"], receipt["attempt"], receipt["status"]) == (
        "resource/0077",
        1,
        "delivered",
    )
    assert set(receipt) == RECEIPT_NAMES


# --- By phone --------------------------------------------------------------------------------------------

SPELLINGS = [PHONE, "20000001", "20 000 001", "+216 20-000-001", "0021620000001", "(20) 000.001", "٢٠٠٠٠٠٠١"]


@pytest.fixture
def told_twice(sent) -> None:
    """Two bills to one phone, the later one of another month, and a bill to somebody else."""
    subscribe("000000002", phone="+21620000002")
    later = ExtractKey("2026-06-T1")
    stage_extract(later, [row("G-1", REFERENCE, district="TUN1"), row("G-2", "000000002", district="TUN1")])
    match_extract(later)
    plan_bills(later, run_id="manual__2")


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_phone_in_any_usual_spelling_shows_its_notices_newest_first_a_line_each(told_twice, spelling):
    head, *lines = show(spelling).splitlines()
    assert head == "2 notice(s) to +216 ** *** 001"
    assert ["bill 1 of G-1" in lines[0], "bill 1 of F-1" in lines[1]] == [True, True]
    assert len(lines) == 2


def test_a_phone_s_notices_can_be_few_or_in_full(told_twice):
    assert show(PHONE, "--limit", "1").startswith("2 notice(s) to +216 ** *** 001, the newest 1 of them\n")
    assert "F-1" not in show(PHONE, "--limit", "1")
    full = show(PHONE, "--full")
    assert "attempts" in full
    assert not [secret for secret in SECRETS if secret in full]
    document = json.loads(show(PHONE, "--json"))
    assert (document["total"], [n["subject"] for n in document["notices"]]) == (2, ["G-1", "F-1"])
    assert "history" not in document["notices"][0]
    document = json.loads(show(PHONE, "--json", "--full", "--limit", "1"))
    assert document["total"] == 2
    assert set(document["notices"][0]) == NAMES


def test_a_phone_is_shown_in_full_only_when_asked_for(told_twice):
    assert PHONE not in show(PHONE)
    assert show(PHONE, "--unmasked").startswith(f"2 notice(s) to {PHONE}")


def test_a_phone_can_be_read_from_standard_input(told_twice):
    done = CliRunner().invoke(main, ["notices", "show", "-"], input=" 20 000 001\n")
    assert done.stdout.startswith("2 notice(s)")


def test_digits_that_are_an_invoice_number_are_one_unless_they_begin_as_a_phone(told_twice):
    subscribe("000000003", phone="+21620000003")
    key = ExtractKey("2026-07-T1")
    stage_extract(key, [row("20000001", "000000003", district="TUN1")])
    match_extract(key)
    plan_bills(key, run_id="manual__3")
    assert [n["subject"] for n in shown("20000001")] == ["20000001"]
    assert show("+21620000001").startswith("2 notice(s)")


def test_a_phone_is_never_logged_or_repeated(sent, caplog):
    caplog.set_level("DEBUG")
    done = CliRunner().invoke(main, ["--verbose", "notices", "show", "+216 29 999 998"])
    assert done.exit_code == 1
    assert "nor a phone that a notice was planned for" in done.stderr
    show(PHONE)
    for secret in ("29 999 998", "29999998", *SECRETS):
        assert secret not in done.output
        assert secret not in caplog.text


def claim_of(notice_id: str) -> Message:
    return Message(notice_id, 1, "", "", "gsm7", 1, 1, "STEG", "")


def test_an_attempt_under_way_has_no_answer_yet():
    subscribe(REFERENCE)
    plan()
    claim()
    assert "under way" in show("F-1")
    assert shown("F-1")[0]["lease_until"] is not None


def test_what_was_erased_is_said_to_be_erased(sent):
    run_sql("UPDATE notice SET phone = NULL, text = NULL")
    told = show("F-1")
    assert "a number that was erased" in told
    [notice] = shown("F-1")
    assert (notice["phone"], notice["text"]) == (None, None)


def test_about_an_invoice_its_warnings_are_shown_too_whatever_their_sequence(sent):
    for number in (1, 2):
        run_sql(
            "INSERT INTO notice (kind, subject, sequence, cycle_id, subscription_id, phone, language, text, "
            "encoding, segments, priority, send_from, send_until, validity_minutes, planned_at) "
            "SELECT 'cutoff_warning', subject, :number, NULL, subscription_id, phone, 'fr', :text, 'gsm7', "
            "1, 20, send_from, send_until, 60, planned_at + make_interval(days => 20 + :number) "
            "FROM notice WHERE kind = 'bill'",
            number=number,
            text="Référence : 42580 496 0\nSans paiement, coupure dès le 13/07/2026",
        )
    # Corrected since, and given to another customer: what was sent still tells of the first one.
    run_sql(
        "INSERT INTO invoice SELECT (jsonb_populate_record(invoice, "
        """'{"revision": 1, "row_number": 2, "customer_reference": "000000009"}')).* FROM invoice"""
    )
    found = shown("F-1")
    assert [(one["kind"], one["sequence"]) for one in found] == [
        ("bill", 1),
        ("cutoff_warning", 1),
        ("cutoff_warning", 2),
    ]
    assert {one["customer_reference"] for one in found} == {"***** *96 0"}
    for one in found[1:]:
        assert one["text"] == "Référence : ***** *96 0\nSans paiement, coupure dès le 13/07/2026"
        assert (one["cycle"], one["supplement"]) == (None, None)


def test_a_text_about_no_invoice_of_ours_is_hidden_as_a_whole(sent):
    run_sql("DELETE FROM invoice")
    [notice] = shown("F-1")
    assert re.fullmatch(r"… \d+ characters", notice["text"])
    assert notice["customer_reference"] is None


def test_an_unknown_id_or_number_is_refused_with_exit_code_1_and_not_repeated():
    lost = str(uuid4())
    done = CliRunner().invoke(main, ["notices", "show", lost, "--json"])
    assert (done.exit_code, done.stdout) == (1, "")
    assert f"there is no notice {lost}" in done.stderr
    done = CliRunner().invoke(main, ["notices", "show", "20000001"])
    assert done.exit_code == 1
    assert "neither the id of a notice, nor the number of an invoice" in done.stderr
    assert "20000001" not in done.stderr


def test_an_invoice_without_a_notice_says_why():
    plan()  # nobody subscribed
    with pytest.raises(NoticeUnknown, match=r"F-1 of cycle 2026-05-T1 has no notice: unsubscribed, not_sub"):
        notice_lives("F-1")
    subscribe("000000002")
    stage_extract(ExtractKey("2026-06-T1"), [row("F-2", "000000002")])
    match_extract(ExtractKey("2026-06-T1"))
    with pytest.raises(NoticeUnknown, match="planned still"):
        notice_lives("F-2")


def test_the_dashes_tell_an_id_from_an_invoice_number(sent):
    with pytest.raises(NoticeUnknown, match="neither"):
        notice_lives(sent.id.hex.upper())


def test_a_look_changes_nothing(sent):
    with connect() as connection:
        before = connection.execute(text("SELECT * FROM notice")).all()
    show("F-1")
    with connect() as connection:
        assert connection.execute(text("SELECT * FROM notice")).all() == before
