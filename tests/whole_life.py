"""A database and files through a whole life, with something personal in every place that can hold it.

By the real functions wherever there is one; only the provider, and those who deliver files, are played.
Numbers and names are invented.
"""

from __future__ import annotations

import html
import json
import re
import zipfile
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import text

from fatoura import clock
from fatoura.cutoff.list_files import write_list_files
from fatoura.cutoff.lists import ListKind, list_letters
from fatoura.cycles.keys import ExtractKey
from fatoura.database import begin, connect
from fatoura.feeds.taking import take_feeds
from fatoura.phones_at_rest import opened, sealed
from fatoura.receipts.intake import RawReceipt, store
from fatoura.receipts.matching import match_receipts
from fatoura.reports.cutoff.writer import write_cutoff_cycle_report, write_cutoff_day_report
from fatoura.reports.subscriptions.writer import write_subscription_reports
from fatoura.reports.writer import write_report
from fatoura.settings import get_settings
from fatoura.statements.comparing import compared
from fatoura.statements.importing import import_statement
from fatoura.statements.periods import Period
from fatoura.statements.report import write_statement_report
from fatoura.subscriptions import import_subscribers
from fatoura.subscriptions.leaving import leave_by_clerk
from tests.billed import bill, fresh, invoice, run_day, send
from tests.coupons import ANNA, BOB, CORA, coupon, enrol, load_customers
from tests.departures import departure, write_departures
from tests.fees import run as announce_fees
from tests.notices import notices, register_gateway, run_sql
from tests.statements import detail, line

if TYPE_CHECKING:
    from pathlib import Path

NAME = "Amel Ben Invented"
"""The name of ANNA, as some file told it beyond its contract."""

DIGITS = {ANNA: "20000101", BOB: "20000102", CORA: "20000103"}
"""Their numbers: BOB's contract has ANNA's number beside his own, on a coupon that was set aside."""

SEALED = re.compile(r"sealed:1:[0-9a-f]+:[\w-]+")


_PASSING = re.compile(r"^as_of,.*$|\+216 \*\* \*\*\* \d{3}", re.MULTILINE)


def live(folder: Path) -> None:
    """Let three customers subscribe, be billed, be warned, pay, complain, and one of them leave.

    The clock stands at 20 May 2026, ten o'clock; the caller has set it.
    """
    register_gateway()
    load_customers()
    enrol(
        "b1",
        coupon("K1", ANNA, phone="20 000 100"),
        coupon("K2", BOB, phone=DIGITS[BOB]),
        coupon("K3", ANNA, phone="71000000"),
        f"K4,scan,{ANNA},{DIGITS[ANNA]},ar,true,2026-05-01,2026-1,false,{NAME}".encode(),
    )
    # The batch is told again with another number: what stood is kept beside.
    enrol("b2", coupon("K1", ANNA, phone=DIGITS[ANNA], signed_on="2026-05-02"))
    enrol("b3", coupon("K9", "12", phone=DIGITS[ANNA]))
    file = folder / "subscribers.csv"
    file.write_text(
        "customer_reference,phone,language,channel,consent_date,name\n"
        f"{CORA},{DIGITS[CORA]},fr,web,2026-05-02,C\n{ANNA},{DIGITS[ANNA]},tn,web,2026-05-02,{NAME}\n"
    )
    import_subscribers(file)
    _visit()
    bill(invoice("A1", ANNA), invoice("B1", BOB), invoice("C1", CORA))
    _break_rows(ExtractKey("2026-05-T1", 0))
    _report()
    write_departures(
        "d1",
        departure("D1", CORA, asked_on="2026-05-20"),
        departure("D2", ANNA, asked_on="2026-04-01", reason=f"{NAME} wrote and signed again later"),
    )
    fresh()
    _bill_of_the_provider(folder)
    take_feeds()


def warn() -> None:
    """Warn those who have not paid, the clock set to the day; list letters, and announce a fee."""
    fresh()
    run_day()
    send()
    list_letters()
    write_list_files(ListKind.LETTERS, clock.today())
    run_sql(
        "UPDATE subscription SET began_on = '2026-05-20', paid_until = '2026-07-31' "
        "WHERE customer_reference = :who",
        who=BOB,
    )
    announce_fees()


def leave() -> None:
    """Let BOB leave by a clerk."""
    leave_by_clerk(BOB, "letter 17", by="A. Clerk")


def found(*needles: str, sealed_too: bool = True) -> set[str]:
    """Search every column of every table for words; return where they stand, as ``table.column``.

    :param sealed_too: open what is sealed, and search in that as well.
    """
    with connect() as connection:
        tables = connection.execute(
            text(
                "SELECT table_schema, table_name FROM information_schema.tables "
                "WHERE table_schema IN ('public', 'staging') AND table_type = 'BASE TABLE'"
            )
        ).all()
        # In a document a text stands with its line ends escaped.
        needles = (*needles, *(json.dumps(needle, ensure_ascii=False)[1:-1] for needle in needles))
        places = set()
        for schema, table in tables:
            rows = connection.execute(
                text(f'SELECT e.key, e.value FROM {schema}."{table}" t, jsonb_each_text(to_jsonb(t)) e')
            )
            name = re.sub(r"_\d+$", "", table) if schema == "staging" else table
            for key, value in rows:
                told = SEALED.sub(lambda one: opened(one[0]), value) if value and sealed_too else value
                if told and any(needle in told for needle in needles):
                    places.add(f"{name}.{key}")
    return places


def found_in_files(*needles: str, below: Path | None = None) -> set[str]:
    """Search every file below `var` for words, workbooks too; return those that hold one."""
    root = below or get_settings().var
    # Workbooks and pages write some signs in another way, and line ends as they like.
    lines = [line for needle in needles for line in needle.splitlines()]
    wanted = {form.encode() for line in lines for form in (line, html.escape(line), json.dumps(line)[1:-1])}
    return {
        path.relative_to(root).as_posix()
        for path in root.rglob("*")
        if path.is_file() and any(word in part for part in _parts(path).values() for word in wanted)
    }


def write_reports() -> dict[str, str]:
    """Write every report; return what their tables say, but for when, how fast, and to what number."""
    write_report("2026-05-T1")
    write_cutoff_day_report(clock.today())
    write_cutoff_cycle_report("2026-05-T1")
    with compared("fatoura_sms", Period(2026, 5)) as statement:
        write_statement_report(statement)
    write_subscription_reports(clock.today())
    reports = get_settings().reports
    return {
        str(path.relative_to(reports)): _PASSING.sub("", path.read_text("utf-8-sig"))
        for path in sorted(reports.rglob("*.csv"))
        if path.name != "stages.csv"
    }


def _parts(path: Path) -> dict[str, bytes]:
    if path.suffix != ".xlsx":
        return {"": path.read_bytes()}
    with zipfile.ZipFile(path) as book:
        return {name: book.read(name) for name in book.namelist()}


def _visit() -> None:
    run_sql(
        "INSERT INTO verification (visit, action, customer_reference, invoice_number, phone, language, "
        "asked_at, expires_at, verified_at, outcome) VALUES ('x', 'subscribe', :who, 'A1', :phone, 'ar', "
        "'2026-05-20', '2026-05-20', '2026-05-20', 'subscribed')",
        who=ANNA,
        phone=sealed(f"+216{DIGITS[ANNA]}"),
    )


def _break_rows(key: ExtractKey) -> None:
    """Let a row be rejected that says more than the contract asks for, and a staged one too."""
    with begin() as connection:
        extract = connection.scalar(text("SELECT id FROM extract"))
        fields = {"invoice_number": "A9", "customer_reference": ANNA, "name": NAME, "tel": DIGITS[ANNA]}
        connection.execute(
            text(
                "INSERT INTO rejected_row (extract_id, row_number, part, part_row, reasons, fields) VALUES "
                "(:id, 99, 'invoices.csv', 99, '{amount}', :fields)"
            ),
            {"id": extract, "fields": json.dumps(fields)},
        )
        connection.execute(text("UPDATE extract SET declared_rows = declared_rows + 1, rejected_rows = 1"))
        connection.execute(
            text(f"UPDATE staging.extract_{extract} SET unknown = :more WHERE customer_reference = :who"),
            {"more": json.dumps({"name": NAME, "tel": DIGITS[ANNA]}), "who": ANNA},
        )


def _report() -> None:
    """Receive a receipt that repeats the text, and one that nobody can read."""
    [notice] = [one for one in notices(1) if one.subject == "A1"]
    raw = {"query": {"to": f"216{DIGITS[ANNA]}", "words": notice.text}}
    with connect() as connection:
        now = connection.scalar(text("SELECT now()"))
    store([RawReceipt("fatoura_sms", now, raw, notice.id, 1, "77", "delivered", "DELIVRD", now)])
    match_receipts()


def _bill_of_the_provider(folder: Path) -> None:
    with connect() as connection:
        sent = connection.execute(text("SELECT * FROM notice WHERE kind = 'bill' ORDER BY subject")).all()
    # The first one, ANNA's, without an id: only its number and its time tell which message it is.
    ids = [{}, *({"ref": f"{one.id}/1", "provider_id": "77"} for one in sent[1:])]
    lines = [
        line(phone=opened(one.phone), at=one.submitted_at, **by) for one, by in zip(sent, ids, strict=True)
    ]
    # A further part of CORA's, and a message to ANNA that is not ours.
    lines += [lines[-1], line(phone=f"+216{DIGITS[ANNA]}", at=datetime(2026, 5, 3, tzinfo=UTC))]
    import_statement(detail(folder, lines), "fatoura_sms", Period(2026, 5), form_name="kannel")
