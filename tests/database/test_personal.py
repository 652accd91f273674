"""The list of what is personal is complete: a whole life is searched for what lies anywhere else."""

from __future__ import annotations

import re
from datetime import timedelta
from types import SimpleNamespace
from uuid import uuid4

import pytest
from click.testing import CliRunner
from sqlalchemy import JSON, Text, text

from fatoura import clock
from fatoura.cli import main
from fatoura.database import begin, connect
from fatoura.database.schema import metadata
from fatoura.ledger import check_ledger
from fatoura.phones_at_rest import PREFIX
from fatoura.privacy.access import held_of, write_access
from fatoura.privacy.erasing import BECAUSE, KEPT, erase_person
from fatoura.privacy.files import remove_due
from fatoura.privacy.person import OF_NOBODY, ROWS, Person
from fatoura.privacy.personal import PERSONAL_COLUMNS
from fatoura.privacy.retention import RULES, erase_due
from fatoura.sending.claims import claim
from fatoura.sending.routing import WHOLE
from fatoura.settings import get_settings
from tests.coupons import ANNA, BOB, CORA
from tests.keys import KeyFile
from tests.notices import notices, run_sql
from tests.whole_life import DIGITS, NAME, found, found_in_files, leave, live, warn, write_reports

BILLED, WARNED = "2026-05-20T10:00:00+01:00", "2026-06-30T10:00:00+01:00"


def test_every_personal_column_is_kept_for_a_time_that_a_rule_says():
    assert {rule.place for rule in RULES} == {str(column) for column in PERSONAL_COLUMNS}


# Documents of our own making: counts, settings, instants and amounts.
_OURS = {
    *(
        "cutoff_decision.evidence",
        "cutoff_list.watermarks",
        "erasure.erased",
        "erasure.kept",
        "extract.manifest",
    ),
    *("feed.counts", "feed.manifest", "gateway.capabilities", "gateway.turns", "stage.counts"),
}
_SOUNDS_PERSONAL = re.compile(
    "phone|mobile|msisdn|gsm|tel(_|$)|recipient|sender|address|^(to|from|name|text|words|body|raw|fields|was)$"
)


def test_a_column_that_sounds_personal_and_any_new_document_is_on_the_list():
    suspected = {
        f"{table.name}.{column.name}"
        for table in metadata.sorted_tables
        for column in table.columns
        if isinstance(column.type, JSON)
        or (isinstance(column.type, Text) and _SOUNDS_PERSONAL.search(column.name))
    }
    of_things = {
        "district.name_fr",
        "fee_file.name",
        "feed.name",
        "feed_refusal.name",
        "gateway.name",
        "stage.name",
    }
    assert suspected - _OURS - of_things <= {str(column) for column in PERSONAL_COLUMNS}
    assert suspected >= _OURS


def test_every_table_holds_rows_of_one_person_or_is_said_to_hold_none():
    assert set(ROWS) | OF_NOBODY == set(metadata.tables)
    assert not set(ROWS) & OF_NOBODY
    assert set(KEPT) == set(ROWS)
    assert set(KEPT.values()) <= set(BECAUSE)


def test_the_rows_of_one_person_can_be_asked_for_in_every_table(database):
    somebody = Person(ANNA, [1], ["A1"], [uuid4()], ["K1"], [1], frozenset({"+21620000101"}))
    with connect() as connection:
        for table, which in ROWS.items():
            rows = connection.scalar(text(f"SELECT count(*) FROM {table} WHERE {which}"), somebody.values)
            assert rows == 0, table


@pytest.fixture(params=[False, True], ids=["as_it_is", "sealed"])
def lived(request, database, configure, tmp_path, caplog):
    """Live through it: as numbers are, and sealed. What is logged meanwhile is kept."""
    caplog.set_level("DEBUG")
    configure(now=BILLED)
    if request.param:
        configure(phone_key_file=tmp_path / "keys")
        KeyFile(tmp_path / "keys").add_first()
    live(tmp_path)
    configure(now=WARNED)
    warn()
    return SimpleNamespace(sealed=request.param, logged=caplog.text)


PLACES = {str(column) for column in PERSONAL_COLUMNS} | {"extract.unknown"}


def test_numbers_texts_and_names_lie_only_where_the_list_says(lived):
    told = [one.text for one in notices(1)]
    assert found(*DIGITS.values(), "20000100") <= PLACES
    assert found(NAME) == {
        "rejected_row.fields",
        "set_aside_row.fields",
        "extract.unknown",
        "departure.reason",
    }
    assert found(*told) == {"notice.text", "receipt.raw"}
    # … and what the list says does hold them, so that this test looks at what there is.
    assert {
        *(
            "subscription.phone",
            "coupon.phone",
            "notice.phone",
            "verification.phone",
            "statement_line.recipient",
        ),
        *("rejected_row.fields", "set_aside_row.fields", "superseded_row.was", "extract.unknown"),
    } <= found(*DIGITS.values(), "20000100")


def test_where_numbers_are_sealed_none_lies_open_but_in_rows_of_other_forms(lived):
    if lived.sealed:
        assert found(*DIGITS.values(), sealed_too=False) <= {"rejected_row.fields", "extract.unknown"}
        assert found(PREFIX, sealed_too=False)


def test_no_log_and_no_report_holds_a_number_a_name_or_a_text(lived):
    told = [*DIGITS.values(), "20000100", NAME, *(one.text for one in notices(1))]
    assert lived.logged
    assert [word for word in told if word in lived.logged] == []
    written = write_reports()
    lists = get_settings().lists
    assert found_in_files(CORA, below=lists)
    assert found_in_files(*told, below=lists) == set()
    assert {"2026-05-T1/summary.csv", "statements/fatoura_sms/2026-05/differences.csv"} <= set(written)
    assert found_in_files(*told, below=get_settings().reports) == set()
    # The same search finds what is in a workbook, so that it looks at what there is.
    assert found_in_files("2026-05-T1", below=get_settings().reports) >= {"2026-05-T1/report.xlsx"}


def test_commands_show_numbers_masked_and_never_as_they_are_stored(lived):
    commands = (
        *(("notices", "show", f"+216{DIGITS[ANNA]}"), ("notices", "show", "A1"), ("notices", "doubts")),
        *(("coupons", "list"), ("coupons", "show", "K1"), ("coupons", "unreachable"), ("coupons", "pending")),
        ("statements", "show", "--gateway", "fatoura_sms", "--period", "2026-05"),
        *(("cutoff", "explain", "A1"), ("cutoff", "status"), ("fees", "show", ANNA), ("phones", "status")),
    )
    for words in (*commands, *((*words, "--json") for words in commands)):
        told = CliRunner().invoke(main, words)
        assert told.exit_code == 0, (words, told.output)
        for number in (*DIGITS.values(), "20000100", PREFIX):
            assert number not in told.output, words
    assert "+216 ** *** 101" in CliRunner().invoke(main, ["notices", "show", "A1"]).output


# --- Access --------------------------------------------------------------------------------------------


def test_a_customer_gets_everything_that_is_held_and_nothing_of_others(lived):
    path = write_access(ANNA)
    assert path.stat().st_mode & 0o777 == 0o600
    given = path.read_text()
    assert PREFIX not in given
    assert f"+216{DIGITS[ANNA]}" in given
    assert NAME in given
    for other in (BOB, CORA):
        assert other not in given
        assert DIGITS[other] not in given
    held = held_of(ANNA)["held"]
    for table in (
        "subscription",
        "consent",
        "coupon",
        "verification",
        "invoice",
        "notice",
        "attempt",
        "receipt",
    ):
        assert held[table], table
    for table in (
        "fee_charge",
        "cutoff_case",
        "cutoff_decision",
        "rejected_row",
        "set_aside_row",
        "superseded_row",
    ):
        assert held[table], table
    assert held["notice"][0]["text"]
    assert "code_hash" not in given


# --- Erasure -------------------------------------------------------------------------------------------


def counts() -> list[tuple]:
    with connect() as connection:
        states = connection.execute(
            text("SELECT kind, state, sum(segments), count(*) FROM notice GROUP BY 1, 2 ORDER BY 1, 2")
        )
        return [tuple(row) for row in states]


def of_messages(reports: dict[str, str]) -> dict[str, str]:
    """Return reports but those on subscriptions, one of which has ended."""
    return {name: said for name, said in reports.items() if not name.startswith("subscriptions")}


def test_of_one_who_asks_nothing_personal_is_left_anywhere_and_every_count_is_true(lived, caplog):
    caplog.set_level("INFO")
    texts = [one.text for one in notices(1) if one.subject == "A1"]
    others = found(*(DIGITS[one] for one in (BOB, CORA)))
    before, ledger = counts(), check_ledger("2026-05-T1").as_json()
    reports = of_messages(write_reports())
    write_access(ANNA)
    receipt = erase_person(ANNA, request="R-2026-17", by="A. Clerk")
    assert of_messages(write_reports()) == reports
    gone = (DIGITS[ANNA], "20000100", NAME, *texts)
    assert found(*gone) == set()
    assert found_in_files(DIGITS[ANNA], NAME, *texts) == set()
    assert not any(word in caplog.text for word in gone)
    assert found(*(DIGITS[one] for one in (BOB, CORA))) == others
    assert counts() == before
    assert check_ledger("2026-05-T1").as_json() == ledger
    assert receipt.erased["notice.text"] == 3  # a bill, a warning, a fee announced
    assert receipt.erased["subscription.phone"] == 1
    assert receipt.erased["landed"] >= 2
    assert receipt.kept["consent"] >= 2
    assert receipt.kept["invoice"] == 1
    with connect() as connection:
        state = connection.execute(
            text("SELECT state, state_reason FROM subscription WHERE customer_reference = :who"),
            {"who": ANNA},
        ).one()
        acts = connection.scalars(
            text("SELECT act FROM consent WHERE customer_reference = :who ORDER BY id"), {"who": ANNA}
        ).all()
    assert state == ("ended", "erased")
    assert acts[0] == "given"
    assert acts[-1] == "revoked"
    again = erase_person(ANNA, request="R-2026-17", by="B. Clerk")
    assert again.before
    assert (again.erased, again.done_by) == (receipt.erased, "A. Clerk")
    erase_person(CORA, request="R-2026-18", by="A. Clerk")
    assert found(DIGITS[CORA]) == set()
    assert of_messages(write_reports()) == reports


CLAIM = {
    **{"gateway": "fatoura_sms", "stretch": WHOLE, "in_use": ["fatoura_sms"], "worker": "test", "most": 10},
    **{"lease": timedelta(minutes=5), "doubt_horizon": timedelta(hours=6), "sender_id": "STEG"},
}


def test_what_was_planned_for_one_who_asks_never_leaves(database, configure, tmp_path):
    configure(now=BILLED)
    live(tmp_path)
    configure(now=WARNED)
    warn()
    with begin() as connection:
        connection.execute(
            text(
                "INSERT INTO notice (kind, subject, sequence, cycle_id, phone, language, text, encoding, "
                "segments, priority, send_from, send_until, validity_minutes) SELECT 'one_time_code', "
                "id::text, 1, 1, phone, 'fr', 'code 123456', 'gsm7', 1, 5, now(), now(), 5 FROM verification"
            )
        )
        held = connection.execute(
            text(
                "INSERT INTO notice (kind, subject, sequence, cycle_id, phone, language, text, encoding, "
                "segments, priority, send_from, send_until, validity_minutes, state, attempts) "
                "SELECT kind, subject, 2, cycle_id, phone, language, text, encoding, segments, priority, "
                "send_from, '2027-01-01', 5, 'planned', 0 FROM notice WHERE kind = 'one_time_code' "
                "RETURNING id, phone"
            )
        ).one()
        connection.execute(
            text("UPDATE notice SET state = 'sending', attempts = 1 WHERE id = :id"), {"id": held.id}
        )
    erase_person(ANNA, request="R-1", by="A. Clerk")
    # Its sender could not hand it over, and gives it back: there is no number any more.
    run_sql("UPDATE notice SET state = 'planned' WHERE id = :id", id=held.id)
    with begin() as connection:
        assert claim(connection, 1, **CLAIM) == []
    with connect() as connection:
        code = connection.execute(
            text("SELECT state, text, phone FROM notice WHERE kind = 'one_time_code' AND sequence = 1")
        ).one()
    assert code == ("cancelled", None, None)


# --- Retention -----------------------------------------------------------------------------------------


def test_when_its_time_is_over_nothing_personal_is_left_and_every_count_is_true(lived, configure, tmp_path):
    leave()
    run_sql("UPDATE statement SET imported_at = '2026-06-05'")
    run_sql("UPDATE receipt SET received_at = '2026-06-05'")
    run_sql(
        "INSERT INTO receipt (gateway, raw, received_at) SELECT 'g', '{\"a\": 1}', '2027-12-31' "
        "FROM generate_series(1, 3)"
    )
    before, ledger, reports = counts(), check_ledger("2026-05-T1").as_json(), write_reports()
    configure(now="2026-07-15T03:30:00+01:00")
    assert set(erase_due()) == {"staging"}
    configure(now="2028-01-01T03:30:00+01:00")
    erased = erase_due()
    assert erased["notice.text"] == erased["notice.phone"] == 7
    # Who is still subscribed keeps the number; so does a rule's row of payments that nobody has settled.
    assert found(*DIGITS.values(), "20000100") == {"subscription.phone"}
    assert found(NAME) == set()
    with connect() as connection:
        held = connection.scalars(text("SELECT state FROM subscription WHERE phone IS NOT NULL")).all()
        assert set(held) == {"active"}
        assert connection.scalar(text("SELECT count(*) FROM receipt WHERE raw <> '{}'")) == 3
    assert counts() == before
    assert check_ledger("2026-05-T1").as_json() == ledger
    assert erase_due() == {}
    configure(now=WARNED)
    assert write_reports() == reports


def test_what_is_not_due_stays(database, configure, tmp_path):
    configure(now=BILLED)
    live(tmp_path)
    assert erase_due() == {}
    configure(now="2026-06-10T10:00:00+01:00")
    assert erase_due() == {}


def test_a_batch_that_is_killed_is_gone_on_with(database, configure, tmp_path, monkeypatch):
    from fatoura.privacy import retention

    configure(now=BILLED)
    live(tmp_path)
    configure(now="2028-01-01T03:30:00+01:00")
    monkeypatch.setattr(retention, "BATCH", 1)
    with monkeypatch.context() as killed:
        killed.setattr(retention, "_remember", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            erase_due()
    erase_due()
    assert found(*DIGITS.values(), "20000100") == {"subscription.phone"}


def test_files_are_removed_when_their_time_is_over(database, configure, tmp_path):
    configure(now=BILLED)
    live(tmp_path)
    import os
    import time

    settings = get_settings()
    logs = tmp_path / "logs" / "dag_id=x"
    logs.mkdir(parents=True)
    (logs / "old.log").write_text("x")
    (logs / "new.log").write_text("x")
    assert remove_due(logs.parent) == {}
    old = time.time() - timedelta(days=91).total_seconds()
    for path in (*(settings.var / "refused").iterdir(), logs / "old.log"):
        os.utime(path, (old, old))
    configure(now="2026-09-01T03:30:00+01:00")
    removed = remove_due(logs.parent)
    assert removed == {"landed": 4, "logs": 1, "refused": 1}
    assert (logs / "new.log").exists()
    assert clock.today().year == 2026
