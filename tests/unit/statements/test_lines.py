"""Lines of a provider's detail: what can be read is read exactly, and what cannot is told by column."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fatoura.statements.files import Row
from fatoura.statements.forms import Columns, Form
from fatoura.statements.lines import Flaw, Line, Reader, Totals

TUNIS = ZoneInfo("Africa/Tunis")
ID = UUID("0190d4c5-1111-7222-8333-444455556666")
COLUMNS = (
    "notice_id",
    "provider_id",
    "recipient",
    "submitted_at",
    "segments",
    "unit_price",
    "amount",
    "status",
)
GOOD = {
    "provider_id": "00042",
    "recipient": "+216 20 000 000",
    "submitted_at": "20/05/2026 10:00:00",
    "segments": "1",
    "amount": "0,020",
}


def form(**values: Any) -> Form:
    columns = Columns(**{name: name for name in values.pop("columns", COLUMNS)})
    return Form(**{"description": "", "columns": columns, "times": ("%d/%m/%Y %H:%M:%S",)} | values)


def read(form_: Form | None = None, **cells: Any) -> Line | Totals | list[Flaw]:
    form_ = form_ or form()
    named = tuple(form_.columns.named())
    row = Row(7, [(GOOD | cells).get(name, "") for name in named])
    return Reader(form_, {name: at for at, name in enumerate(named)}, TUNIS).read(row)


def line(form_: Form | None = None, **cells: Any) -> Line:
    found = read(form_, **cells)
    assert isinstance(found, Line), found
    return found


def flaws(form_: Form | None = None, **cells: Any) -> list[str]:
    found = read(form_, **cells)
    assert isinstance(found, list), found
    return [f"{flaw.field}: {flaw.code}" for flaw in found]


def test_a_line_is_read_exactly():
    found = line(notice_id=f"{ID}", status="Remis")
    assert found == Line(
        line=7,
        notice_id=ID,
        attempt=None,
        provider_id="00042",
        recipient="+21620000000",
        submitted_at=datetime(2026, 5, 20, 9, tzinfo=UTC),
        until=datetime(2026, 5, 20, 9, 0, 1, tzinfo=UTC),
        segments=1,
        amount=Decimal(20),
        status="Remis",
        billed=True,
        messages=1,
        label=None,
        kinds=None,
    )


@pytest.mark.parametrize(
    ("written", "options", "millimes"),
    [
        ("0,020", {}, "20"),
        ("1 234,567", {}, "1234567"),
        ("1\u202f234,567 DT", {}, "1234567"),
        ("0,0205", {}, "20.5"),
        ("12", {}, "12000"),
        ("0.020", {"decimal": "."}, "20"),
        ("1,234.5", {"decimal": ".", "thousands": ","}, "1234500"),
        ("1.234,5", {"decimal": ",", "thousands": "."}, "1234500"),
        ("20", {"amounts_in": "millimes"}, "20"),
        ("19,5", {"amounts_in": "millimes"}, "19.5"),
        (0.02, {}, "20"),
        (0.06 + 1e-17, {}, "60"),
        (3 * 0.02, {}, "60"),
        (2, {}, "2000"),
    ],
)
def test_amounts_are_exact_millimes(written, options, millimes):
    assert line(form(**options), amount=written).amount == Decimal(millimes)


@pytest.mark.parametrize(
    ("written", "options", "reason"),
    [
        ("0.020", {}, "not_an_amount"),  # with a comma for decimals it is no twenty dinars
        ("0.020", {"thousands": "."}, "not_an_amount"),
        ("1,2,3", {}, "not_an_amount"),
        ("abc", {}, "not_an_amount"),
        ("1e5", {}, "not_an_amount"),
        ("٢٠", {}, "not_an_amount"),
        ("0,0000001", {}, "too_many_decimals"),
        ("9999999999", {}, "too_large"),
        ("-0,020", {}, "negative"),
    ],
)
def test_amounts_that_leave_a_doubt_are_flaws(written, options, reason):
    assert flaws(form(**options), amount=written) == [f"amount: {reason}"]


@given(st.decimals(min_value=0, max_value=10**8, places=6))
def test_every_amount_that_is_written_is_read_as_it_is(dinars):
    found = line(amount=f"{dinars:f}".replace(".", ","))
    assert found.amount == dinars * 1000


def test_an_amount_is_made_of_the_unit_price_where_there_is_none():
    assert line(amount="", unit_price="0,0195", segments="3").amount == Decimal("58.5")
    assert line(amount="").amount is None


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({"segments": "two"}, "segments: not_a_whole_number"),
        ({"segments": "1,5"}, "segments: not_a_whole_number"),
        ({"segments": "256"}, "segments: too_many"),
        ({"segments": "0"}, "segments: none"),
        ({"recipient": "not a phone"}, "recipient: not_a_number"),
        ({"recipient": "123"}, "recipient: not_a_number"),
        ({"submitted_at": "20-05-2026"}, "submitted_at: not_a_time"),
        ({"submitted_at": "20/05/1926 10:00:00"}, "submitted_at: not_of_our_time"),
        ({"provider_id": "1,5E+12"}, "provider_id: spoiled_by_a_spreadsheet"),
        ({"notice_id": "ABC-12"}, "notice_id: not_ours"),
        ({"provider_id": "", "recipient": ""}, "line: tells_no_message"),
    ],
)
def test_what_cannot_be_read_is_told_by_column_and_without_its_value(cells, reason):
    assert flaws(**cells) == [reason]


def test_everything_that_is_wrong_with_a_line_is_told_at_once():
    assert flaws(segments="x", amount="y") == ["segments: not_a_whole_number", "amount: not_an_amount"]


def test_a_row_that_is_too_short_or_could_not_be_cut_is_a_flaw():
    reader = Reader(form(), {name: at for at, name in enumerate(COLUMNS)}, TUNIS)
    assert reader.read(Row(3, ["1", "2"])) == [Flaw("line", "too_short")]
    assert reader.read(Row(3, ["1"], "not_csv")) == [Flaw("line", "not_csv")]


@pytest.mark.parametrize(
    "written",
    ["+216 20 000 000", "21620000000", "0021620000000", "20000000", "20 000 000", 21620000000.0, 20000000],
)
def test_a_recipient_is_found_in_every_usual_spelling(written):
    assert line(recipient=written).recipient == "+21620000000"


@pytest.mark.parametrize("written", ["+216 ** *** 345", "2162000xxxx", "21620…345"])
def test_a_recipient_that_the_provider_masked_is_not_compared(written):
    assert line(recipient=written).recipient is None


def test_our_id_may_come_with_the_attempt():
    assert line(notice_id=f"STEG-{ID}/2")[1:3] == (ID, 2)
    assert line(notice_id=f"STEG-{ID}")[1:3] == (ID, None)
    assert line(notice_id=ID.hex).notice_id == ID
    own = form(patterns={"notice_id": r"([0-9a-f-]{36})#(?P<attempt>[0-9]+)"})
    assert line(own, notice_id=f"{ID}#3")[1:3] == (ID, 3)


def test_the_id_of_a_resource_is_the_end_of_its_address():
    orange = form(patterns={"provider_id": r"([^/\s]+)/?\s*$"})
    address = "https://api.example/outbound/tel%3A%2B21699/requests/a-1"
    assert line(orange, provider_id=address).provider_id == "a-1"
    assert line(orange, provider_id="a-1").provider_id == "a-1"


def test_ids_keep_their_zeros_and_numbers_of_a_workbook_become_text():
    assert line(provider_id="000123").provider_id == "000123"
    assert line(provider_id=123.0).provider_id == "123"


@pytest.mark.parametrize(
    ("times", "written", "instant", "length"),
    [
        (("%d/%m/%Y %H:%M",), "20/05/2026 10:00", (2026, 5, 20, 9), timedelta(minutes=1)),
        (("%d/%m/%Y",), "20/05/2026", (2026, 5, 19, 23), timedelta(days=1)),
        (("iso",), "2026-05-20T10:00:00+01:00", (2026, 5, 20, 9), timedelta(seconds=1)),
        (("iso",), "2026-05-20T09:00:00Z", (2026, 5, 20, 9), timedelta(seconds=1)),
        (("iso",), "2026-05-20", (2026, 5, 19, 23), timedelta(days=1)),
        (("epoch",), "1779267600", (2026, 5, 20, 9), timedelta(seconds=1)),
        (("%Y", "iso"), "2026-05-20T10:00:00", (2026, 5, 20, 9), timedelta(seconds=1)),
        (("iso",), datetime(2026, 5, 20, 10), (2026, 5, 20, 9), timedelta(seconds=1)),
        (("iso",), date(2026, 5, 20), (2026, 5, 19, 23), timedelta(days=1)),
    ],
)
def test_times_are_local_without_an_offset_and_last_as_long_as_they_are_exact(
    times, written, instant, length
):
    found = line(form(times=times), submitted_at=written)
    assert found.submitted_at == datetime(*instant, tzinfo=UTC)
    assert found.until - found.submitted_at == length


@pytest.mark.parametrize(
    ("day", "hour"),
    [
        ("20/05/2026", "10:00:00"),
        (datetime(2026, 5, 20), "10:00:00"),
        (datetime(2026, 5, 20), time(10)),
    ],
)
def test_day_and_hour_may_stand_in_two_columns(day, hour):
    two = form(columns=(*COLUMNS, "hour"))
    assert line(two, submitted_at=day, hour=hour).submitted_at == datetime(2026, 5, 20, 9, tzinfo=UTC)


def test_what_is_listed_and_not_billed_is_kept_apart_unless_it_costs_something():
    refused = form(unbilled=("Refusé",))
    assert not line(refused, status="REFUSE", amount="0,000").billed
    assert not line(refused, status="refusé", amount="", segments="0").billed
    assert line(refused, status="refusé", amount="0,020").billed
    assert line(refused, status="Remis").billed


def test_the_file_s_own_total_is_no_line():
    found = read(form(total="(?i)^total"), provider_id="TOTAL général", segments="1 234", amount="24,680")
    assert found == Totals(1234, Decimal(24680))


def test_a_status_keeps_no_number_of_a_phone():
    assert line(status="Remis au 20 000 000").status == "Remis au ***"


def test_a_summary_counts_by_label():
    columns = ("label", "messages", "segments", "amount")
    bill = form(columns=columns, level="summary", kinds={"SMS Factures": ("bill",)})
    found = line(bill, label="SMS factures", messages="1 000", segments="1200", amount="24,000")
    assert (found.kinds, found.messages, found.segments, found.amount) == (
        ("bill",),
        1000,
        1200,
        Decimal(24000),
    )
    assert line(bill, label="Frais fixes", segments="", amount="50,000").kinds is None
    assert line(bill, label="Avoir", segments="", amount="-5,000").amount == Decimal(-5000)
    assert flaws(bill, label="vide", segments="", amount="") == ["line: counts_nothing"]
