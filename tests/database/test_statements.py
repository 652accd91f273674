"""A provider's statement beside the ledger: every line has an outcome, and the difference has its causes."""

from __future__ import annotations

import csv
import json
import re
import tracemalloc
import zipfile
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import openpyxl
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from fatoura.cli import main
from fatoura.database import begin, connect
from fatoura.errors import BadInput
from fatoura.settings import get_settings
from fatoura.statements import Comparison, Period, compared, import_statement, imported_statements
from fatoura.statements.files import StatementUnreadable
from fatoura.statements.forms import FormError
from fatoura.statements.report import write_statement_report
from tests.statements import AT, GATEWAY, PRICE, Sent, detail, known_gateway, line, send

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.database

MAY, JUNE = Period(2026, 5), Period(2026, 6)


@pytest.fixture(autouse=True)
def _settings(database, configure):
    configure(database_url=database, now="2026-07-05T10:00:00+01:00")


def compare(path: Path | None = None, *, period: Period = MAY, form: str | None = None) -> Comparison:
    if path is not None:
        import_statement(path, GATEWAY, period, form_name=form)
    with compared(GATEWAY, period) as opened:
        balance(opened.comparison)
        return opened.comparison


def balance(found: Comparison) -> None:
    """Check what must hold of every comparison: the difference is the sum of its causes, exactly."""
    parts = [one.difference for one in found.findings or found.groups]
    assert found.difference.millimes == sum((one.millimes for one in parts), Decimal())
    assert found.difference.segments == sum(one.segments for one in parts)
    assert found.difference.messages == sum(one.messages for one in parts)
    if found.level == "detail":
        with connect() as connection:
            billed = connection.execute(
                text(
                    "SELECT count(DISTINCT message) AS messages, "
                    "coalesce(sum(amount_millimes), 0) AS amount, "
                    "count(*) FILTER (WHERE amount_millimes IS NULL) AS unpriced "
                    "FROM statement_line l JOIN statement s ON s.id = l.statement_id "
                    "WHERE billed AND s.gateway = :g AND s.period = :p"
                ),
                {"g": found.gateway, "p": found.period.first_day},
            ).one()
        assert found.theirs.messages == billed.messages
        if not billed.unpriced:
            assert found.theirs.millimes == billed.amount
        both = sum(
            (
                one.difference.millimes
                for one in found.findings
                if one.outcome in ("agreed", "segments_differ", "price_differs")
            ),
            Decimal(),
        )
        longer = found.finding("segments_differ").difference.segments * found.price
        assert both == found.price_effect + longer


def counts(found: Comparison) -> dict[str, int]:
    return {one.outcome: one.messages for one in found.findings}


def form(tmp_path: Path, content: str, name: str = "own") -> str:
    path = tmp_path / f"{name}.toml"
    path.write_text(content, encoding="utf-8")
    return str(path)


# --- Outcomes --------------------------------------------------------------------------------------------


def test_what_both_count_agrees(tmp_path):
    ids = send(*(Sent(phone=f"+2162000000{n}") for n in range(3)))
    found = compare(detail(tmp_path, [line(ref=one) for one in ids]))
    assert counts(found) == {"agreed": 3}
    assert found.difference.millimes == 0
    assert found.theirs.millimes == 60
    assert found.matched_by == {"notice_id": 3}


def test_each_way_to_differ_has_its_name_and_its_price(tmp_path):
    agreed, longer, dearer, doubt, refused, _ = send(
        Sent(),
        Sent(),
        Sent(),
        Sent(outcome="in_doubt", state="in_doubt"),
        Sent(outcome="refused", state="planned"),
        Sent(segments=2),
    )
    found = compare(
        detail(
            tmp_path,
            [
                line(ref=agreed),
                line(ref=longer, segments=2, amount="0,040"),
                line(ref=dearer, amount="0,025"),
                line(ref=doubt),
                line(ref=refused),
                line(ref=uuid4(), amount="0,0205"),
                line(ref=agreed),
            ],
        )
    )
    assert counts(found) == {
        "agreed": 1,
        "segments_differ": 1,
        "price_differs": 1,
        "unknown": 1,
        "in_doubt": 1,
        "refused": 1,
        "twice": 1,
        "uncounted": 1,
    }
    assert found.finding("segments_differ").difference.millimes == 20
    assert found.finding("price_differs").difference.millimes == 5
    assert found.finding("unknown").difference.millimes == Decimal("20.5")
    assert found.finding("uncounted").difference.millimes == -40
    assert found.price_effect == 5
    assert found.difference.millimes == Decimal("50.5") + 20 + 20 - 5 - 0 - 20 + 0


def test_a_receipt_has_settled_what_the_answer_left_open(tmp_path):
    delivered, refused = send(
        Sent(outcome="in_doubt", state="delivered"), Sent(outcome="refused", state="delivered")
    )
    found = compare(detail(tmp_path, [line(ref=delivered), line(ref=refused)]))
    assert counts(found) == {"agreed": 2}


def test_what_a_person_took_for_undeliverable_stays_doubtful(tmp_path):
    (one,) = send(Sent(outcome="in_doubt", state="in_doubt"))
    with begin() as connection:
        connection.execute(text("UPDATE notice SET state = 'undeliverable', reason = 'decided_by_hand'"))
    found = compare(detail(tmp_path, [line(ref=uuid4())]))
    assert (counts(found), found.doubtful.messages) == ({"unknown": 1}, 1)
    assert counts(compare(detail(tmp_path, [line(ref=one)]))) == {"in_doubt": 1}


def test_doubts_that_no_line_counts_are_told_and_in_neither_sum(tmp_path):
    sure, _ = send(Sent(), Sent(segments=2, outcome=None, state="sending"))
    found = compare(detail(tmp_path, [line(ref=sure)]))
    assert (found.doubtful.messages, found.doubtful.segments) == (1, 2)
    assert found.difference.millimes == 0


def test_a_bill_that_went_out_again_may_be_counted_twice_and_rightly(tmp_path):
    notice = uuid4()
    first = Sent(notice=notice, outcome="in_doubt")
    second = Sent(notice=notice, at=AT + timedelta(hours=6))
    send(first, second)
    once = compare(detail(tmp_path, [line(ref=notice, at=AT + timedelta(hours=6))]))
    assert (counts(once), once.doubtful.messages) == ({"agreed": 1}, 1)
    both = compare(detail(tmp_path, [line(ref=notice), line(ref=notice, at=AT + timedelta(hours=6))]))
    assert counts(both) == {"agreed": 1, "in_doubt": 1}
    three = compare(detail(tmp_path, [line(ref=notice)] * 3))
    assert counts(three) == {"agreed": 1, "in_doubt": 1, "twice": 1}


def test_a_line_that_names_the_attempt_is_about_that_one_alone(tmp_path):
    notice = uuid4()
    send(Sent(notice=notice, outcome="refused"), Sent(notice=notice, at=AT + timedelta(minutes=5)))
    found = compare(
        detail(tmp_path, [line(ref=f"{notice}/1"), line(ref=f"{notice}/2"), line(ref=f"{notice}/2")])
    )
    assert counts(found) == {"agreed": 1, "refused": 1, "twice": 1}


def test_what_is_listed_and_not_billed_is_in_no_sum(tmp_path):
    accepted, refused = send(Sent(), Sent(outcome="refused", state="planned"))
    found = compare(
        detail(tmp_path, [line(ref=accepted), line(ref=refused, status="Refusé", amount="0,000")])
    )
    assert counts(found) == {"agreed": 1}
    assert found.unbilled.messages == 1
    with compared(GATEWAY, MAY) as opened:
        assert [one["outcome"] for one in opened.messages()] == ["agreed", "unbilled"]


# --- Ways to match ---------------------------------------------------------------------------------------


def test_the_provider_s_id_finds_any_attempt_and_zeros_count(tmp_path):
    notice = uuid4()
    send(
        Sent(provider_id="0007"),
        Sent(provider_id="7"),
        Sent(notice=notice, outcome="in_doubt", provider_id="first"),
        Sent(notice=notice, provider_id="second"),
    )
    found = compare(
        detail(tmp_path, [line(provider_id=one) for one in ("0007", "007", "first", "second", "0007")])
    )
    assert counts(found) == {"agreed": 2, "unknown": 1, "in_doubt": 1, "twice": 1, "uncounted": 1}
    assert found.matched_by == {"provider_id": 3}


def test_an_id_of_another_gateway_is_not_ours_here(tmp_path):
    send(Sent(provider_id="a", gateway="other"), Sent(provider_id="b"))
    found = compare(detail(tmp_path, [line(provider_id="a", phone=""), line(provider_id="b")]))
    assert counts(found) == {"agreed": 1, "unknown": 1}


def test_phone_and_time_match_one_to_one(tmp_path):
    send(
        Sent(phone="+21620000001"),
        Sent(phone="+21620000001", at=AT + timedelta(minutes=2)),
        Sent(phone="+21620000002"),
    )
    found = compare(
        detail(
            tmp_path,
            [
                line(phone="20000001", at=AT + timedelta(seconds=9)),
                line(phone="0021620000001", at=AT + timedelta(minutes=2, seconds=9)),
                line(phone="20 000 001", at=AT + timedelta(minutes=3)),
                line(phone="20000002", at=AT + timedelta(minutes=30)),
            ],
        )
    )
    assert counts(found) == {"agreed": 2, "unknown": 2, "uncounted": 1}
    assert found.matched_by == {"recipient": 2}


def test_an_unknown_id_of_the_provider_is_evidence_for_a_doubt_of_that_phone_and_time(tmp_path):
    send(Sent(outcome="in_doubt", state="in_doubt"), Sent(phone="+21620000002", provider_id="known"))
    lines = [line(provider_id="new"), line(provider_id="newer", phone="+21620000002")]
    found = compare(detail(tmp_path, lines))
    assert counts(found) == {"unknown": 1, "in_doubt": 1, "uncounted": 1}


def test_lines_of_parts_make_up_their_message(tmp_path):
    parts = form(
        tmp_path,
        'description = ""\nlines_are = "segments"\namounts_in = "millimes"\n'
        '[columns]\nprovider_id = "id"\namount = "prix"\n[patterns]\nprovider_id = "^(.+?)(?:-[0-9])?$"\n',
    )
    send(Sent(provider_id="a", segments=2), Sent(provider_id="b", segments=1))
    path = tmp_path / "parts.csv"
    path.write_text("id;prix\na-1;20\nb;20\na-2;20\nb-2;20\n")
    found = compare(path, form=parts)
    assert counts(found) == {"agreed": 1, "segments_differ": 1}
    assert (found.theirs.messages, found.theirs.segments, found.difference.millimes) == (2, 4, 20)


def test_without_segments_and_prices_ours_are_taken_and_it_is_said(tmp_path):
    send(Sent(provider_id="a", segments=2), Sent(provider_id="b"))
    path = tmp_path / "ids.csv"
    path.write_text("msg_id,mobile,date\na,20000001,2026-05-20 10:00:00\nc,20000009,2026-05-20 10:00:00\n")
    found = compare(path, form="query_string")
    assert counts(found) == {"agreed": 1, "unknown": 1, "uncounted": 1}
    assert (found.priced, found.theirs.millimes, found.difference.millimes) == (False, 60, 0)


def test_an_orange_detail_is_found_by_its_resources(tmp_path):
    send(Sent(provider_id="r-1"), Sent(provider_id="r-2"))
    path = tmp_path / "orange.csv"
    path.write_text(
        "Resource URL,Recipient,Date,SMS count,Amount\n"
        "https://api.example/outbound/tel%3A%2B216/requests/r-1,tel:+21620000001,2026-05-20T09:00:01Z,1,0.020\n"
        "r-2,+21620000001,2026-05-20T09:00:01Z,1,0.021\n"
    )
    found = compare(path, form="orange")
    assert counts(found) == {"agreed": 1, "price_differs": 1}


def test_a_workbook_tells_the_same_as_a_csv(tmp_path):
    ids = send(Sent(), Sent(segments=2))
    book = openpyxl.Workbook()
    book.active.append(["Relevé de mai"])
    book.active.append(["Référence client", "Destinataire", "Date d'envoi", "Nb SMS", "Montant HT"])
    for one, segments in zip(ids, (1, 2), strict=True):
        at = (AT + timedelta(hours=1)).replace(tzinfo=None)
        book.active.append([str(one), 21620000001, at, segments, segments * 0.02])
    book.active.append(["Total", None, None, 3, 0.06])
    book.save(tmp_path / "detail.xlsx")
    found = compare(tmp_path / "detail.xlsx")
    assert (counts(found), found.difference.millimes) == ({"agreed": 2}, 0)
    assert found.declared == (3, Decimal(60))


# --- Months ----------------------------------------------------------------------------------------------


def test_what_was_sent_in_another_month_is_told_apart(tmp_path):
    april, may = send(Sent(at=AT - timedelta(days=30)), Sent())
    lines = [
        line(ref=april, at=AT - timedelta(days=30)),
        line(ref=may),
        line(phone="+21699999999", at=AT - timedelta(days=40)),
    ]
    found = compare(detail(tmp_path, lines))
    assert counts(found) == {"agreed": 1, "outside_period": 2}


def test_what_another_month_counts_is_not_missing_from_this_one(tmp_path):
    late, may = send(Sent(at=AT + timedelta(days=11, hours=5)), Sent())
    assert counts(compare(detail(tmp_path, [line(ref=may)]))) == {"agreed": 1, "uncounted": 1}
    june = detail(tmp_path, [line(ref=late, at=AT + timedelta(days=12))], name="june.csv")
    assert counts(compare(june, period=JUNE)) == {"outside_period": 1}
    assert counts(compare()) == {"agreed": 1, "other_period": 1}


def test_a_message_that_two_months_count_is_counted_twice(tmp_path):
    (may,) = send(Sent())
    compare(detail(tmp_path, [line(ref=may)]))
    again = detail(tmp_path, [line(ref=may, at=AT + timedelta(days=20))], name="june.csv")
    assert counts(compare(again, period=JUNE)) == {"twice": 1}
    assert counts(compare()) == {"agreed": 1}


def test_the_month_of_a_message_has_the_better_right_whichever_statement_came_first(tmp_path):
    (may,) = send(Sent())
    june = detail(tmp_path, [line(ref=may, at=AT + timedelta(days=20))], name="june.csv")
    assert counts(compare(june, period=JUNE)) == {"outside_period": 1}
    assert counts(compare(detail(tmp_path, [line(ref=may)]))) == {"agreed": 1}
    assert counts(compare(period=JUNE)) == {"twice": 1}


def test_months_begin_at_the_utility_s_midnight():
    assert MAY.begins.isoformat() == "2026-04-30T23:00:00+00:00"
    assert MAY.ends == JUNE.begins
    assert Period(2026, 12).ends == Period(2027, 1).begins
    assert str(Period.parse("2026-05")) == "2026-05"
    for wrong in ("2026-13", "2026-5", "05/2026", "٢٠٢٦-05"):
        with pytest.raises(BadInput, match="no period"):
            Period.parse(wrong)


# --- Importing -------------------------------------------------------------------------------------------


def test_the_same_file_again_changes_nothing_and_another_one_replaces_it(tmp_path):
    ids = send(Sent(), Sent())
    path = detail(tmp_path, [line(ref=ids[0])])
    first = import_statement(path, GATEWAY, MAY)
    assert (first.outcome, first.revision, first.lines) == ("imported", 1, 1)
    assert import_statement(path, GATEWAY, MAY).outcome == "unchanged"
    corrected = detail(tmp_path, [line(ref=one) for one in ids], name="corrected.csv")
    second = import_statement(corrected, GATEWAY, MAY)
    assert (second.outcome, second.revision, second.lines) == ("replaced", 2, 2)
    assert counts(compare()) == {"agreed": 2}
    assert [one["file"] for one in imported_statements()] == ["corrected.csv"]


def test_a_changed_form_reads_the_same_file_anew(tmp_path):
    send(Sent(provider_id="a"))
    path = tmp_path / "a.csv"
    path.write_text("id;prix\na;20\n")
    content = 'description = ""\namounts_in = "{}"\n[columns]\nprovider_id = "id"\namount = "prix"\n'
    assert compare(path, form=form(tmp_path, content.format("dinars"))).theirs.millimes == 20_000
    assert compare(path, form=form(tmp_path, content.format("millimes"))).theirs.millimes == 20


def test_comparing_again_follows_the_ledger_and_writes_nothing_twice(tmp_path):
    (one,) = send(Sent(outcome="in_doubt", state="in_doubt"))
    assert counts(compare(detail(tmp_path, [line(ref=one)]))) == {"in_doubt": 1}
    with begin() as connection:
        connection.execute(text("UPDATE notice SET state = 'delivered'"))
        before = connection.execute(text("SELECT ctid, * FROM statement_match")).all()
    assert counts(compare()) == {"agreed": 1}
    with connect() as connection:
        assert connection.execute(text("SELECT ctid, * FROM statement_match")).all() == before


def test_lines_that_cannot_be_counted_are_set_aside_with_line_column_and_reason(tmp_path):
    (one,) = send(Sent())
    lines = [line(ref=one), line(ref="x", amount="y"), line(ref=uuid4(), segments="")]
    path = detail(tmp_path, lines, before="Titre\r\n\r\n", after="Total;;;;9;0,180;\r\n")
    done = import_statement(path, GATEWAY, MAY)
    assert (done.lines, done.set_aside) == (2, 1)
    assert done.reasons == {"amount: not_an_amount": 1, "notice_id: not_ours": 1}
    assert done.first_flaws == ((5, "amount", "not_an_amount"), (5, "notice_id", "not_ours"))
    found = compare()
    assert (found.set_aside, found.declared) == (1, (9, Decimal(180)))


def test_a_file_that_the_form_does_not_fit_leaves_the_earlier_one(tmp_path):
    (one,) = send(Sent())
    compare(detail(tmp_path, [line(ref=one)]))
    with pytest.raises(StatementUnreadable, match="does not fit the file: 2 × amount: not_an_amount"):
        import_statement(detail(tmp_path, [line(amount="x")] * 2, name="bad.csv"), GATEWAY, MAY)
    with pytest.raises(StatementUnreadable, match="nothing stands below the heading"):
        import_statement(detail(tmp_path, [], name="bad.csv"), GATEWAY, MAY)
    assert counts(compare()) == {"agreed": 1}


def test_a_wrong_form_for_a_long_file_is_noticed_early(tmp_path):
    known_gateway()
    bad = detail(tmp_path, [line(), *[line(amount="x")] * 3000, *[line()] * 9000])
    with pytest.raises(StatementUnreadable, match="1001 × amount"):
        import_statement(bad, GATEWAY, MAY)


def test_unknown_gateways_statements_and_forms_are_refused_with_what_there_is(tmp_path):
    path = detail(tmp_path, [line()])
    with pytest.raises(BadInput, match="known are: none yet"):
        import_statement(path, GATEWAY, MAY)
    known_gateway()
    known_gateway("odd", adapter="carrier_pigeon")
    with pytest.raises(FormError, match=r"no statement form for 'odd' .carrier_pigeon."):
        import_statement(path, "odd", MAY)
    with pytest.raises(BadInput, match="none yet"):
        compare()


def test_the_form_of_a_gateway_goes_before_that_of_its_adapter(tmp_path, configure, database):
    known_gateway()
    (tmp_path / GATEWAY).with_suffix(".toml").write_text('description = ""\n[columns]\nprovider_id = "nur"\n')
    configure(database_url=database, now="2026-07-05T10:00:00+01:00", statement_forms=tmp_path)
    (tmp_path / "x.csv").write_text("nur\n1\n")
    assert import_statement(tmp_path / "x.csv", GATEWAY, MAY).form == GATEWAY


def test_the_price_of_a_form_goes_before_the_setting(tmp_path):
    send(Sent(provider_id="a"))
    own = form(
        tmp_path,
        'description = ""\nsegment_price_millimes = 18.5\ndecimal = "."\n'
        '[columns]\nprovider_id = "id"\namount = "prix"\n',
    )
    path = tmp_path / "a.csv"
    path.write_text("id;prix\na;0.0185\n")
    found = compare(path, form=own)
    assert (counts(found), found.ours.millimes) == ({"agreed": 1}, Decimal("18.5"))


# --- A bill only -----------------------------------------------------------------------------------------


def test_a_bill_is_compared_kind_by_kind(tmp_path):
    send(
        Sent(),
        Sent(segments=2),
        Sent(kind="bill_correction"),
        Sent(kind="cutoff"),
        Sent(outcome="refused", state="planned"),
        Sent(at=AT - timedelta(days=40)),
    )
    path = tmp_path / "facture.csv"
    path.write_text(
        "Facture n° 12;;;\nDésignation;Nombre de messages;Quantité;Montant HT\n"
        "SMS factures;4;5;0,100\nSMS autres;1;1;0,020\nFrais fixes;;;1,500\nTotal;;6;1,620\n",
        encoding="utf-8",
    )
    found = compare(path, form="summary")
    assert [
        (one.label, one.kinds, one.difference.segments, one.difference.millimes) for one in found.groups
    ] == [
        ("SMS factures", ("bill", "bill_correction"), 1, 20),
        ("SMS autres", ("cutoff",), 0, 0),
        ("Frais fixes", (), 0, 1500),
    ]
    assert found.difference.millimes == 1520
    assert found.declared == (6, Decimal(1620))


def test_what_a_bill_does_not_have_is_told(tmp_path):
    send(Sent(), Sent(kind="cutoff"))
    own = form(
        tmp_path,
        'description = ""\nlevel = "summary"\n[columns]\nlabel = "quoi"\nmessages = "nombre"\n'
        '[kinds]\nfactures = ["bill"]\n',
    )
    path = tmp_path / "bill.csv"
    path.write_text("quoi;nombre\nFactures;3\n")
    found = compare(path, form=own)
    assert [(one.label, one.difference.messages, one.difference.millimes) for one in found.groups] == [
        ("Factures", 2, 40),
        (None, -1, -20),
    ]
    assert not found.priced


# --- Doubts ----------------------------------------------------------------------------------------------


def test_a_person_may_take_the_statement_s_word_for_doubts(tmp_path):
    sure, one, other = send(
        Sent(),
        Sent(outcome="in_doubt", state="in_doubt"),
        Sent(outcome="in_doubt", state="in_doubt"),
    )
    path = detail(tmp_path, [line(ref=sure), line(ref=one)])
    done = run("import", str(path), "--resolve-doubts", "--by", "a clerk", "--json")
    assert (done["doubts_resolved"], done["comparison"]["findings"]["agreed"]["theirs"]["messages"]) == (1, 2)
    with connect() as connection:
        states = dict(connection.execute(text("SELECT id, state FROM notice")).all())
        decision = connection.execute(text("SELECT * FROM doubt_decision")).one()
    assert (states[one], states[other]) == ("accepted", "in_doubt")
    assert (decision.decided_by, decision.reason) == (
        "a clerk",
        "counted in the statement of fatoura_sms for 2026-05",
    )
    assert run("resolve-doubts", "--json") == {"resolved": [], "unresolved": []}


# --- The command, the report, the exports ----------------------------------------------------------------


def run(command: str, *arguments: str, period: str = "2026-05") -> Any:
    done = CliRunner().invoke(
        main, ["statements", command, "--gateway", GATEWAY, "--period", period, *arguments]
    )
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout) if "--json" in arguments else done.stdout


@pytest.fixture
def month(tmp_path) -> Path:
    """A month with something of each kind, and its detail file."""
    ids = send(
        *(Sent(phone=f"+2162000000{n}", provider_id=f"P{n}") for n in range(5)),
        Sent(phone="+21620000005", outcome="in_doubt", state="in_doubt"),
        Sent(phone="+21620000006"),
    )
    lines = [line(ref=one, provider_id=f"P{n}", phone=f"+2162000000{n}") for n, one in enumerate(ids[:6])]
    lines[1] |= {"Nb SMS": 2, "Montant HT": "0,040"}
    lines += [lines[0], line(ref="bad"), line(provider_id="=cmd()", phone="+21699999999", status="=1+1")]
    return detail(tmp_path, lines, after="Total;;;;9;0,180;\r\n")


def test_the_command_tells_the_figures_and_masks_numbers(month):
    said = run("import", str(month))
    assert "imported: 8 lines, 1 set aside" in said
    assert "line 9: notice_id: not_ours" in said
    assert re.search(r"total +8 +\+3 +0,180 +0,120 +0,060", said)
    assert "fatoura statements resolve-doubts" in said
    document = run("show", "--outcome", "twice", "--outcome", "uncounted", "--json")
    assert document["difference"] == {"messages": 2, "segments": 3, "millimes": 60}
    assert [one["recipient"] for one in document["messages"]] == ["+216 ** *** 000", "+216 ** *** 006"]
    assert document["doubts"][0]["line"] == 7
    full = run("show", "--outcome", "twice", "--unmasked", "--json")
    assert full["messages"][0]["recipient"] == "+21620000000"
    assert "+216 ** *** 000" in run("show", "--outcome", "twice")
    listed = CliRunner().invoke(main, ["statements", "list", "--json"])
    assert json.loads(listed.stdout)["statements"][0]["set_aside"] == 1


def test_the_command_refuses_what_is_wrong(month):
    known_gateway()
    for arguments, code in (
        (["show", "--gateway", GATEWAY, "--period", "2026-05"], 1),
        (["show", "--gateway", GATEWAY, "--period", "may"], 1),
        (["import", str(month), "--gateway", "nobody", "--period", "2026-05"], 1),
        (["show", "--gateway", GATEWAY, "--period", "2026-05", "--outcome", "odd"], 2),
        (["import", str(month)], 2),
    ):
        assert CliRunner().invoke(main, ["statements", *arguments]).exit_code == code


def test_exports_hold_every_message_once(month, tmp_path):
    run("import", str(month))
    run("export", "--out", str(tmp_path / "out.csv"))
    run("export", "--out", str(tmp_path / "out.xlsx"), "--unmasked")
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted(row["outcome"] for row in rows) == sorted(
        ["agreed"] * 4 + ["segments_differ", "in_doubt", "twice", "unknown", "uncounted"]
    )
    assert {row["recipient"][:12] for row in rows} == {"+216 ** *** "}
    evil = next(row for row in rows if row["outcome"] == "unknown")
    assert (evil["provider_id"], evil["status"]) == ("'=cmd()", "'=1+1")
    sheet = openpyxl.load_workbook(tmp_path / "out.xlsx").active
    assert sheet.max_row == 10
    assert sheet.cell(2, 6).value == "+21620000000"
    assert {cell.data_type for cell in sheet[10]} <= {"s", "n", "d"}
    done = CliRunner().invoke(
        main, ["statements", "export", "--gateway", GATEWAY, "--period", "2026-05", "--out", "x.pdf"]
    )
    assert done.exit_code == 1


@pytest.mark.parametrize("language", ["fr", "en"])
def test_the_report_tells_the_same_and_holds_no_number(month, language):
    run("import", str(month))
    with compared(GATEWAY, MAY) as opened:
        page = write_statement_report(opened, language=language)
    folder = get_settings().reports / "statements" / GATEWAY / "2026-05"
    assert page == folder / "report.html"
    assert {path.name for path in folder.iterdir()} == {
        "report.html", "report.xlsx", "causes.csv", "differences.csv", "set_aside.csv",
    }  # fmt: skip
    content = page.read_text(encoding="utf-8")
    assert "0,180" in content
    assert "resolve-doubts" in content
    for path in folder.iterdir():
        if path.suffix == ".xlsx":
            with zipfile.ZipFile(path) as parts:
                told = "".join(parts.read(name).decode() for name in parts.namelist())
        else:
            told = path.read_text(encoding="utf-8")
        assert not re.search(r"\+?216[2-9]\d{7}|(?<!\d)2000000\d(?!\d)", told), path.name


def test_a_report_of_a_bill_has_its_lines(tmp_path):
    send(Sent())
    path = tmp_path / "facture.csv"
    path.write_text("Désignation;Quantité;Montant HT\nSMS factures;1;0,020\n", encoding="utf-8")
    import_statement(path, GATEWAY, MAY, form_name="summary")
    with compared(GATEWAY, MAY) as opened:
        content = write_statement_report(opened, language="fr").read_text(encoding="utf-8")
        assert list(opened.messages()) == opened.doubts() == []
    assert "SMS factures" in content
    assert "Concorde" in content


# --- What holds for every statement ----------------------------------------------------------------------

_ATTEMPTS = st.lists(
    st.tuples(
        st.integers(0, 4),  # the phone
        st.integers(-3, 3),  # days from the middle of the month's edge
        st.integers(1, 3),  # segments
        st.sampled_from(
            [
                ("accepted", "accepted"),
                ("in_doubt", "in_doubt"),
                ("refused", "planned"),
                ("in_doubt", "delivered"),
            ]
        ),
        st.booleans(),  # whether the provider's id is known
    ),
    max_size=12,
)
_LINES = st.lists(
    st.tuples(
        st.integers(0, 14),  # which attempt it is about, or none
        st.sampled_from(["ours", "attempt", "provider", "phone", "both"]),
        st.integers(1, 3),
        st.one_of(st.none(), st.decimals(0, 1, places=4)),
        st.integers(-2, 2),  # minutes that the clocks lie apart
    ),
    min_size=1,
    max_size=14,
)


@given(attempts=_ATTEMPTS, lines=_LINES)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_totals_balance_whatever_both_sides_count(tmp_path, attempts, lines):
    with begin() as connection:
        connection.execute(
            text("TRUNCATE notice, attempt, statement, statement_line, statement_match, statement_flaw")
        )
    known_gateway()
    edge = JUNE.begins
    sent = [
        Sent(
            phone=f"+2162000000{phone}",
            at=edge + timedelta(days=days, seconds=number),
            segments=segments,
            outcome=outcome,
            state=state,
            provider_id=f"P{number}" if has_id else None,
        )
        for number, (phone, days, segments, (outcome, state), has_id) in enumerate(attempts)
    ]
    ids = send(*sent)
    written = []
    for about, by, segments, amount, minutes in lines:
        one = sent[about] if about < len(sent) else None
        at = (one.at if one else edge - timedelta(hours=about)) + timedelta(minutes=minutes)
        notice = ids[about] if one else uuid4()
        written.append(
            line(
                ref={"ours": notice, "both": notice, "attempt": f"{notice}/1"}.get(by, ""),
                provider_id=f"P{about}" if by in ("provider", "both") else "",
                phone=one.phone if one else "+21620000009",
                at=at,
                segments=segments,
                amount="" if amount is None else f"{amount:f}".replace(".", ","),
            )
        )
    for period in (MAY, JUNE):
        found = compare(detail(tmp_path, written, name=f"{period}.csv"), period=period)
        inside = [one for one in sent if period.begins <= one.at < period.ends]
        counted = [one for one in inside if one.outcome == "accepted" or one.state == "delivered"]
        assert found.ours.messages == len(counted)
        assert found.ours.millimes == sum(one.segments for one in counted) * PRICE
        assert found.theirs.messages == len(lines)
        if all(amount is not None for *_, amount, _ in lines):
            assert found.theirs.millimes == sum(amount for *_, amount, _ in lines) * 1000
        with compared(GATEWAY, period) as opened:
            pairs = [
                (m["notice_id"], m["attempt"])
                for m in opened.messages()
                if m["outcome"] not in ("twice", "unknown") and m["notice_id"]
            ]
        assert len(pairs) == len(set(pairs))


def test_a_long_file_takes_no_more_memory_than_a_short_one(tmp_path):
    known_gateway()

    def peak(count: int) -> int:
        path = detail(
            tmp_path, (line(provider_id=str(n), phone="", at=None) for n in range(count)), name=f"{count}.csv"
        )
        tracemalloc.start()
        import_statement(path, GATEWAY, MAY)
        with compared(GATEWAY, MAY) as opened:
            for _ in opened.messages():
                pass
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    short = peak(12_000)
    assert peak(48_000) < short * 1.5
