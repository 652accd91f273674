from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from click.testing import CliRunner
from sqlalchemy import text

from fatoura.cli import main
from fatoura.cycles.keys import ExtractKey
from fatoura.database import begin
from fatoura.errors import BadInput
from fatoura.extracts import load_extract
from fatoura.extracts.columns import COLUMNS
from fatoura.quality import validate_extract
from fatoura.quality.corrections import HELPERS, export_rejected, write_supplement
from tests.deliveries import load, record

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.database

CYCLE = ExtractKey("2026-05-T1")


@pytest.fixture(autouse=True)
def _on_the_day_of_issue(database: str, configure) -> None:
    configure(now="2026-05-20T10:00:00+01:00")


@pytest.fixture
def validated() -> None:
    """Validate an extract of 41 rows, of which three are rejected."""
    load(
        CYCLE,
        [
            *(record(n) for n in range(1, 39)),
            record(39, supply="gaz", amount_due_millimes="85,500"),
            record(40, customer_reference="1"),
            b"cut,short",
        ],
    )
    assert validate_extract(CYCLE).rejected == 3


def exported() -> list[dict[str, str]]:
    out = io.StringIO()
    export_rejected(CYCLE, out)
    return list(csv.DictReader(io.StringIO(out.getvalue())))


def corrected(tmp_path: Path, rows: list[dict[str, Any]], **options: Any) -> Path:
    path = tmp_path / "corrected.csv"
    pd.DataFrame(rows).to_csv(path, index=False, **options)
    return path


def match(key: ExtractKey) -> None:
    """Let the cycle's extract be matched, as far as a supplement asks for it."""
    with begin() as connection:
        connection.execute(
            text(
                "UPDATE extract SET matched_at = now() FROM cycle AS c WHERE c.id = cycle_id AND c.key = :key"
            ),
            {"key": key.cycle},
        )


@pytest.mark.usefixtures("validated")
def test_rejected_rows_are_exported_as_they_came_with_what_is_wrong() -> None:
    first, second, third = exported()

    assert tuple(first) == (*COLUMNS, *HELPERS)
    assert first["supply"] == "gaz"
    assert first["amount_due_millimes"] == "85,500"
    assert first["customer_reference"] == "000000039"
    assert (first["part"], first["row"]) == ("invoices.csv", "39")
    assert first["reasons"] == "supply_unknown amount_unreadable"
    assert first["explanation"] == (
        "The supply is electricity, gas or both. The amount due is an integer number of millimes."
    )
    assert second["reasons"] == "customer_reference_form"
    assert (third["reasons"], third["row"]) == ("ragged", "41")


def test_what_nothing_was_rejected_of_exports_a_header() -> None:
    load(CYCLE, [record(1)])
    validate_extract(CYCLE)
    out = io.StringIO()

    assert export_rejected(CYCLE, out) == 0
    assert out.getvalue().splitlines() == [",".join((*COLUMNS, *HELPERS))]


def test_what_was_never_loaded_cannot_be_exported() -> None:
    with pytest.raises(BadInput, match="there is no extract 2026-05-T1"):
        export_rejected(CYCLE, io.StringIO())


@pytest.mark.usefixtures("validated")
def test_corrected_rows_come_back_by_the_normal_way(tmp_path: Path) -> None:
    match(CYCLE)
    rows = exported()[:2]
    rows[0] |= {"supply": "gas", "amount_due_millimes": "85500"}
    rows[1] |= {"customer_reference": "000000040"}

    written = write_supplement(CYCLE, corrected(tmp_path, rows))

    assert written.key == ExtractKey(CYCLE.cycle, 1)
    assert (written.rows, written.total_amount_millimes) == (2, 85_500 + 85_000)
    loaded = load_extract(written.key, run_id="test")
    assert (loaded.rows, loaded.unknown_columns) == (2, [])
    outcome = validate_extract(written.key)
    assert (outcome.kept, outcome.rejected) == (2, 0)


@pytest.mark.usefixtures("validated")
def test_rows_that_are_not_mended_are_rejected_once_more(tmp_path: Path) -> None:
    match(CYCLE)

    written = write_supplement(CYCLE, corrected(tmp_path, [record(1, amount_due_millimes=1), *exported()]))

    load_extract(written.key, run_id="test")
    outcome = validate_extract(written.key)
    assert (outcome.kept, outcome.rejected) == (1, 3)
    assert outcome.rejected_by_code["supply_unknown"] == 2  # the row that was cut short has none


@pytest.mark.usefixtures("validated")
def test_each_supplement_takes_the_next_number_that_is_free(tmp_path: Path) -> None:
    path = corrected(tmp_path, [record(1, amount_due_millimes=1)])

    first = write_supplement(CYCLE, path)
    match(CYCLE)
    load_extract(first.key, run_id="test")
    second = write_supplement(first.key, path)
    third = write_supplement(CYCLE, path, str(tmp_path / "elsewhere"))

    assert [one.key.supplement for one in (first, second, third)] == [1, 2, 2]
    assert third.folder == str(tmp_path / "elsewhere/billing/2026-05-T1/supplement-2")


@pytest.mark.usefixtures("validated")
def test_what_a_french_spreadsheet_saves_is_read(tmp_path: Path) -> None:
    rows = [record(39, note="façade; à gauche")]

    written = write_supplement(CYCLE, corrected(tmp_path, rows, sep=";", encoding="utf-8-sig"))

    with open(f"{written.folder}/invoices.csv", encoding="utf-8", newline="") as file:
        [row] = csv.DictReader(file)
    assert row == {key: str(value) for key, value in rows[0].items()}


@pytest.mark.usefixtures("validated")
def test_a_large_correction_is_written_piece_by_piece(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("fatoura.quality.corrections._CHUNK", 7)
    rows = [record(1000 + n) for n in range(50)]

    written = write_supplement(CYCLE, corrected(tmp_path, rows))

    assert written.rows == 50
    match(CYCLE)
    assert load_extract(written.key, run_id="test").rows == 50


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the header lacks"),
        (b"invoice_number,district\nF1,TUN1\n", "the header lacks customer_reference"),
        (",".join(COLUMNS).encode() + b"\n", "there is no row in it"),
        (",".join(COLUMNS).encode() + b"\n" + b"," * 12 + b"\n", "more fields than the header"),
        (",".join(COLUMNS).encode() + b"\n" + b"," * 9 + b"\n" + b"," * 12 + b"\n", "line 3"),
        (",".join(COLUMNS).encode() + b"\n\xe9,,,,,,,,,\n", "save it as CSV UTF-8"),
    ],
)
@pytest.mark.usefixtures("validated")
def test_a_file_that_cannot_be_used_is_refused_and_leaves_nothing(
    tmp_path: Path, content: bytes, said: str
) -> None:
    path = tmp_path / "corrected.csv"
    path.write_bytes(content)

    with pytest.raises(BadInput, match=said):
        write_supplement(CYCLE, path, str(tmp_path / "landing"))

    assert not (tmp_path / "landing").exists()


def test_a_missing_file_and_an_unknown_cycle_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="there is no cycle '2026-05-T1'"):
        write_supplement(CYCLE, tmp_path / "none.csv")
    load(CYCLE, [record(1)])
    with pytest.raises(BadInput, match="No such file"):
        write_supplement(CYCLE, tmp_path / "none.csv")


@pytest.mark.usefixtures("validated")
def test_the_way_there_and_back_on_the_command_line(tmp_path: Path) -> None:
    out = tmp_path / "rejected.csv"
    run = CliRunner()

    told = run.invoke(main, ["quality", "export", "2026-05-T1", "--out", str(out)])
    assert told.exit_code == 0
    assert told.stdout == ""
    assert "3 rejected rows of 2026-05-T1" in told.stderr
    assert run.invoke(main, ["quality", "export", "2026-05-T1"]).stdout == out.read_text()

    told = run.invoke(
        main,
        ["quality", "supplement", "2026-05-T1", str(out), "--landing", str(tmp_path / "in"), "--json"],
    )
    assert told.exit_code == 0
    document = json.loads(told.stdout)
    assert (document["key"], document["rows"]) == ("2026-05-T1/supplement-1", 3)
    assert document["folder"] == str(tmp_path / "in/billing/2026-05-T1/supplement-1")

    told = run.invoke(main, ["quality", "export", "2026-05-T9"])
    assert told.exit_code == 1
    assert told.stderr == "fatoura: there is no extract 2026-05-T9\n"
    assert run.invoke(main, ["quality", "export"]).exit_code == 2
