"""An extract is loaded whole or not at all, once, and replaced only as long as nothing rests on it."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from datetime import date
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy
from sqlalchemy import text
from upath import UPath

from fatoura.cycles.keys import ExtractKey
from fatoura.database import begin, connect
from fatoura.errors import NotReady
from fatoura.extracts import DatabaseSource, ExtractRefused, LandingSource, load_extract
from fatoura.extracts.columns import COLUMNS
from fatoura.extracts.loading import staging_table
from fatoura.extracts.sample import Sample, write_sample
from tests.staging import plan_notice, subscribe

if TYPE_CHECKING:
    from pathlib import Path

KEY = ExtractKey("2026-05-T1")
GOOD = {
    "invoice_number": "A-1",
    "customer_reference": "000000001",
    "district": "TUN1",
    "supply": "gas",
    "period_start": "2026-03-01",
    "period_end": "2026-05-01",
    "amount_due_millimes": "85352",
    "due_date": "2026-06-15",
    "issue_date": "2026-05-20",
    "estimated": "false",
}


@pytest.fixture(autouse=True)
def landing(tmp_path, database, configure) -> Path:
    configure(now="2026-05-20T10:00:00+01:00", landing=str(tmp_path / "landing"))
    return tmp_path / "landing"


def row(n: int, **changed: str) -> dict[str, str]:
    return GOOD | {"invoice_number": f"A-{n}", "customer_reference": f"{n:09d}"} | changed


def as_csv(*rows: dict[str, str], columns: tuple[str, ...] = COLUMNS) -> bytes:
    written = io.StringIO()
    writer = csv.DictWriter(written, columns)
    writer.writeheader()
    writer.writerows(rows)
    return written.getvalue().encode()


def deliver(
    landing: Path,
    parts: dict[str, bytes] | bytes,
    rows: int | list[int],
    total: int,
    key: ExtractKey = KEY,
    manifest: dict[str, object] | None = None,
) -> Path:
    """Write an extract into the landing folder, manifest last."""
    folder = landing / "billing" / str(key)
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(parts, bytes):
        parts = {"invoices.csv": parts}
    if isinstance(rows, int):
        rows = [rows]
    for name, content in parts.items():
        (folder / name).write_bytes(content)
    document = {
        "cycle": key.cycle,
        "issue_date": "2026-05-20",
        "rows": sum(rows),
        "total_amount_millimes": total,
        "parts": [
            {"name": name, "rows": count, "sha256": hashlib.sha256(content).hexdigest()}
            for (name, content), count in zip(parts.items(), rows, strict=True)
        ],
    }
    (folder / "manifest.json").write_text(json.dumps(document | (manifest or {})))
    return folder


def load(key: ExtractKey = KEY, **more):
    return load_extract(key, run_id="test", **more)


def staged(extract_id: int) -> list[dict]:
    with connect() as connection:
        rows = connection.execute(text(f"SELECT * FROM {staging_table(extract_id)} ORDER BY row_number"))
        return [dict(one) for one in rows.mappings()]


def refusal(key: ExtractKey = KEY, **more) -> str:
    with pytest.raises(ExtractRefused) as refused:
        load(key, **more)
    return "\n".join(refused.value.problems)


def execute(statement: str, **values: object):
    with begin() as connection:
        result = connection.execute(text(statement), values)
        return result.all() if result.returns_rows else None


def assert_nothing_is_kept() -> None:
    assert execute("SELECT count(*) FROM cycle")[0][0] == 0
    assert execute("SELECT count(*) FROM extract")[0][0] == 0
    assert execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'staging'")[0][0] == 0
    assert execute("SELECT count(*) FROM stage")[0][0] == 0


# --- What is loaded ----------------------------------------------------------------------------------


def test_records_are_staged_as_they_came_and_typed(landing):
    bad = row(2, amount_due_millimes="12,5", due_date="15/06/2026", estimated="yes", period_start="")
    deliver(landing, as_csv(row(1), bad), 2, 85352)
    loaded = load()
    assert (loaded.outcome, loaded.rows, loaded.total_amount_millimes) == ("loaded", 2, 85352)
    first, second = staged(loaded.extract_id)
    assert first == {
        "row_number": 1,
        "part": "invoices.csv",
        "part_row": 1,
        **row(1),
        "unknown": None,
        "flaw": None,
        "period_start_d": date(2026, 3, 1),
        "period_end_d": date(2026, 5, 1),
        "due_date_d": date(2026, 6, 15),
        "issue_date_d": date(2026, 5, 20),
        "amount_i": 85352,
        "estimated_b": False,
    }
    assert {name: second[name] for name in COLUMNS} == bad
    assert [second[name] for name in ("period_start_d", "due_date_d", "amount_i", "estimated_b")] == [
        None
    ] * 4
    assert second["period_end_d"] == date(2026, 5, 1)


def test_the_cycle_and_the_extract_are_registered(landing):
    folder = deliver(landing, as_csv(row(1)), 1, 85352)
    loaded = load()
    [one] = execute(
        "SELECT c.key, c.issue_date, e.supplement, e.source, e.location, e.manifest, e.declared_rows, "
        "e.declared_total_millimes, e.loaded_at, e.validated_at FROM extract e "
        "JOIN cycle c ON c.id = cycle_id"
    )
    assert one[:5] == ("2026-05-T1", date(2026, 5, 20), 0, "landing", str(folder))
    assert one[5] == json.loads((folder / "manifest.json").read_text())
    assert (one[6], one[7]) == (1, 85352)
    assert one[8].isoformat().startswith("2026-05-20T09:00")
    assert one[9] is None
    [stage] = execute("SELECT cycle_id, name, supplement, run_id, counts FROM stage")
    assert stage == (loaded.cycle_id, "extract", 0, "test", {"rows": 1, "parts": 1, "outcome": "loaded"})


def test_parts_follow_each_other(landing):
    parts = {
        "invoices-0001.csv": as_csv(row(1), row(2)),
        "invoices-0002.csv": as_csv(row(3), columns=tuple(reversed(COLUMNS))),
    }
    deliver(landing, parts, [2, 1], 3 * 85352)
    rows = staged(load().extract_id)
    assert [(one["row_number"], one["part"], one["part_row"]) for one in rows] == [
        (1, "invoices-0001.csv", 1),
        (2, "invoices-0001.csv", 2),
        (3, "invoices-0002.csv", 1),
    ]
    assert rows[2]["customer_reference"] == "000000003"


def test_parquet_and_csv_may_stand_side_by_side(landing):
    file = io.BytesIO()
    typed = {name: [value] for name, value in row(2).items()} | {
        "amount_due_millimes": pa.array([85352], pa.int64()),
        "due_date": pa.array([date(2026, 6, 15)]),
        "estimated": pa.array([False]),
    }
    pq.write_table(pa.table(typed), file)
    deliver(landing, {"a.csv": as_csv(row(1)), "b.parquet": file.getvalue()}, [1, 1], 2 * 85352)
    first, second = staged(load().extract_id)
    assert second == first | row(2) | {"row_number": 2, "part": "b.parquet"}


def test_unknown_columns_are_kept_apart_and_reported(landing, caplog):
    content = as_csv(row(1) | {"remark": 'é "x"'}, columns=(*COLUMNS, "remark"))
    deliver(landing, content, 1, 85352)
    loaded = load()
    assert staged(loaded.extract_id)[0]["unknown"] == {"remark": 'é "x"'}
    assert loaded.unknown_columns == ["remark"]
    assert execute("SELECT unknown_columns FROM extract") == [(["remark"],)]
    assert "unknown column 'remark', kept apart" in caplog.text


def test_broken_records_are_staged_with_their_flaw(landing):
    lines = as_csv(row(1), row(2), row(3), row(4)).split(b"\r\n")
    lines[1] = lines[1].rpartition(b",")[0]
    lines[2] = lines[2].replace(b"TUN1", b"T\xe9")
    lines[3] += b",more"
    deliver(landing, b"\r\n".join(lines), 4, 4 * 85352)
    loaded = load()
    rows = staged(loaded.extract_id)
    assert [one["flaw"] for one in rows] == ["ragged", "not_utf8", "ragged", None]
    assert loaded.flaws == {"ragged": 2, "not_utf8": 1}
    assert rows[0]["estimated"] == ""
    assert rows[0]["amount_i"] == 85352
    assert rows[2]["unknown"] == {"": ["more"]}


def test_amounts_beyond_64_bits_count_in_the_total(landing):
    huge = 10**30
    deliver(landing, as_csv(row(1, amount_due_millimes=str(huge)), row(2)), 2, huge + 85352)
    loaded = load()
    assert loaded.total_amount_millimes == huge + 85352
    assert [one["amount_i"] for one in staged(loaded.extract_id)] == [None, 85352]
    assert load().total_amount_millimes == huge + 85352


def test_an_extract_of_no_records_is_loaded(landing):
    deliver(landing, as_csv(), 0, 0)
    assert load().rows == 0
    assert load().outcome == "already loaded"


def test_the_landing_folder_may_be_any_path_that_opens(landing, tmp_path):
    deliver(landing, as_csv(row(1)), 1, 85352)
    remote = UPath(f"memory://{tmp_path.name}")
    for path in (landing / "billing" / str(KEY)).iterdir():
        copy = remote / "billing" / str(KEY) / path.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    assert load(landing=remote).rows == 1


def test_an_edit_of_the_districts_takes_effect(landing, tmp_path, configure):
    deliver(landing, as_csv(row(1)), 1, 85352)
    load()
    assert execute("SELECT name_fr FROM district WHERE code = 'TUN1'") == [("Tunis Ville",)]
    path = tmp_path / "districts.csv"
    path.write_text("code,name_fr,name_ar\nTUN1,Tunis,تونس\nNEW1,Neuf,جديد\n", encoding="utf-8")
    configure(districts_file=str(path))
    load()
    assert execute("SELECT code, name_fr FROM district ORDER BY code") == [
        ("NEW1", "Neuf"),
        ("TUN1", "Tunis"),
    ]


# --- What is refused ---------------------------------------------------------------------------------


def test_an_extract_without_a_manifest_is_not_complete(landing):
    deliver(landing, as_csv(row(1)), 1, 85352)
    (landing / "billing" / str(KEY) / "manifest.json").unlink()
    assert "there is no manifest.json in" in refusal()
    assert "there is no manifest.json in" in refusal(ExtractKey("2026-05-T9"))


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        ({"total_amount_millimes": 85353}, "make 170,704, the manifest says 85,353 (difference +85,351)"),
        ({"cycle": "2026-05-T2"}, "the folder is that of 2026-05-T1"),
        ({"rows": 3}, "rows is 3, but the parts' rows make 2"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(landing, manifest, said):
    deliver(landing, as_csv(row(1), row(2)), 2, 2 * 85352, manifest=manifest)
    assert said in refusal()
    assert_nothing_is_kept()


def test_a_wrong_count_is_refused(landing):
    deliver(landing, as_csv(row(1), row(2)), 3, 2 * 85352)
    assert refusal() == "invoices.csv: holds 2 records, the manifest says 3; the file is cut short"
    deliver(landing, as_csv(row(1), row(2)), 1, 2 * 85352)
    assert refusal() == "invoices.csv: holds 2 records, the manifest says 1"
    assert_nothing_is_kept()


def test_a_file_cut_short_is_refused_for_checksum_count_and_total(landing):
    folder = deliver(landing, as_csv(row(1), row(2), row(3)), 3, 3 * 85352)
    content = (folder / "invoices.csv").read_bytes()
    (folder / "invoices.csv").write_bytes(content[: len(content) // 2])
    said = refusal().splitlines()
    assert "its sha256 is" in said[0]
    assert "the file is cut short or was changed" in said[0]
    assert "records, the manifest says 3" in said[1]
    assert_nothing_is_kept()


def test_everything_wrong_is_said_at_once(landing):
    few = tuple(name for name in COLUMNS if name not in {"supply", "estimated"})
    parts = {
        "invoices-0001.csv": as_csv({name: row(1)[name] for name in few}, columns=few),
        "invoices-0002.csv": as_csv(row(2)),
        "invoices-0003.csv": as_csv(row(3)),
        "invoices-0004.csv": as_csv(row(4)).decode().encode("utf-16"),
        "invoices-0005.parquet": b"PAR1 no",
    }
    folder = deliver(landing, parts, [1, 2, 1, 1, 1], 1)
    (folder / "invoices-0003.csv").unlink()
    said = refusal().splitlines()
    assert said[0] == "invoices-0001.csv: the header lacks supply, estimated"
    assert said[1].startswith("invoices-0003.csv: named in the manifest, but not there")
    assert said[2].startswith("invoices-0004.csv: written in UTF-16")
    assert said[3].startswith("invoices-0005.parquet: cannot be read as Parquet")
    assert said[4].startswith("invoices-0002.csv: holds 1 records, the manifest says 2")
    assert len(said) == 5
    assert_nothing_is_kept()


def test_files_that_the_manifest_does_not_name_are_left_alone_and_reported(landing, caplog):
    folder = deliver(landing, as_csv(row(1)), 1, 85352)
    (folder / "invoices-old.csv").write_bytes(b"x")
    (folder / "supplement-1").mkdir()
    loaded = load()
    assert loaded.remarks == ["invoices-old.csv: not named in the manifest, left alone"]
    assert "invoices-old.csv: not named in the manifest" in caplog.text


def test_a_part_that_is_a_folder_is_refused(landing):
    folder = deliver(landing, as_csv(row(1)), 1, 85352)
    (folder / "invoices.csv").unlink()
    (folder / "invoices.csv").mkdir()
    assert "invoices.csv: a folder, not a file" in refusal()


def test_the_same_file_for_another_cycle_is_refused(landing):
    deliver(landing, as_csv(row(1)), 1, 85352)
    load()
    other = ExtractKey("2026-05-T2")
    deliver(landing, as_csv(row(1)), 1, 85352, other)
    assert refusal(other).startswith("invoices.csv: the same file as was loaded for 2026-05-T1")
    again = ExtractKey("2026-05-T1", 1)
    deliver(landing, as_csv(row(1)), 1, 85352, again)
    assert "the same file as was loaded for 2026-05-T1" in refusal(again)
    assert execute("SELECT count(*) FROM extract")[0][0] == 1


# --- Again -------------------------------------------------------------------------------------------


def add_invoice(extract_id: int, revision: int = 0) -> None:
    """Do what the match stage does, with the first staged row."""
    execute(
        "INSERT INTO invoice (extract_id, row_number, cycle_id, invoice_number, revision, "
        "customer_reference, district, supply, period_start, period_end, amount_due_millimes, due_date, "
        "issue_date, estimated, bucket, subscription_id) "
        "SELECT e.id, row_number, cycle_id, invoice_number, :revision, customer_reference, district, "
        "supply, period_start_d, period_end_d, amount_i, due_date_d, issue_date_d, estimated_b, 'noticed', "
        f":subscription FROM extract e, {staging_table(extract_id)} WHERE e.id = :extract AND row_number = 1",
        extract=extract_id,
        revision=revision,
        subscription=subscribe(f"00000000{revision + 1}"),
    )


def bring_to_notices(extract_id: int, state: str = "planned") -> None:
    """Do what the later stages do: one rejected row, one invoice, its notice in a state, a cut-off case."""
    add_invoice(extract_id)
    plan_notice(extract_id, "A-1", state="cancelled" if state == "cancelled" else "planned")
    if state not in {"planned", "cancelled"}:
        execute("UPDATE notice SET state = 'sending'")
    if state in {"in_doubt", "accepted"}:
        execute("UPDATE notice SET state = :state", state=state)
    execute("UPDATE extract SET validated_at = now(), rejected_rows = 1, matched_at = now()")
    execute(
        "INSERT INTO rejected_row (extract_id, row_number, part, part_row, reasons, fields) "
        "VALUES (:extract, 2, 'invoices.csv', 2, '{ragged}', '{}')",
        extract=extract_id,
    )
    execute(
        "INSERT INTO cutoff_case (invoice_number, cycle_id, subscription_id, customer_reference, district, "
        "revision, notice_id, amount_due_millimes, issue_date, due_date, warn_from) "
        "SELECT subject, cycle_id, subscription_id, '000000001', 'TUN', 0, id, 85352, '2026-05-20', "
        "'2026-06-15', '2026-06-18' FROM notice"
    )


def counts() -> dict[str, int]:
    tables = ("rejected_row", "invoice", "notice", "cutoff_case")
    return {table: execute(f"SELECT count(*) FROM {table}")[0][0] for table in tables}


def test_the_same_extract_again_does_nothing(landing, caplog):
    caplog.set_level("INFO")
    deliver(landing, as_csv(row(1), row(2)), 2, 2 * 85352)
    first = load()
    (landing / "billing" / str(KEY) / "invoices.csv").unlink()  # it is not even looked at
    bring_to_notices(first.extract_id, "accepted")
    before = counts()
    again = load()
    assert (again.outcome, again.rows, again.extract_id) == ("already loaded", 2, first.extract_id)
    assert counts() == before
    assert "outcome already loaded" in caplog.text


def test_a_manifest_written_again_in_other_words_changes_nothing(landing):
    folder = deliver(landing, as_csv(row(1)), 1, 85352)
    load()
    document = json.loads((folder / "manifest.json").read_text())
    document["parts"][0]["sha256"] = document["parts"][0]["sha256"].upper()
    (folder / "manifest.json").write_text(json.dumps(document, indent=4))
    assert load().outcome == "already loaded"


@pytest.mark.parametrize("state", ["planned", "cancelled"])
def test_a_changed_extract_replaces_what_has_not_gone_out(landing, state):
    deliver(landing, as_csv(row(1), row(2)), 2, 2 * 85352)
    first = load()
    bring_to_notices(first.extract_id, state)
    deliver(landing, as_csv(row(3)), 1, 85352, manifest={"issue_date": "2026-05-19"})
    again = load()
    assert (again.outcome, again.extract_id, again.rows) == ("replaced", first.extract_id, 1)
    assert counts() == {"rejected_row": 0, "invoice": 0, "notice": 0, "cutoff_case": 0}
    assert [one["invoice_number"] for one in staged(again.extract_id)] == ["A-3"]
    assert execute("SELECT validated_at, rejected_rows, matched_at FROM extract") == [(None, None, None)]
    assert execute("SELECT issue_date FROM cycle") == [(date(2026, 5, 19),)]


@pytest.mark.parametrize("state", ["sending", "in_doubt", "accepted"])
def test_a_changed_extract_of_which_a_notice_went_out_is_refused(landing, state):
    deliver(landing, as_csv(row(1), row(2)), 2, 2 * 85352)
    first = load()
    bring_to_notices(first.extract_id, state)
    before = counts()
    deliver(landing, as_csv(row(3)), 1, 85352)
    assert refusal() == (
        "it differs from the one that was loaded, and 1 of its notices have gone out; deliver what has "
        "changed as 2026-05-T1/supplement-1"
    )
    assert counts() == before
    assert len(staged(first.extract_id)) == 2


def test_a_bad_extract_does_not_replace_a_good_one(landing):
    deliver(landing, as_csv(row(1), row(2)), 2, 2 * 85352)
    first = load()
    bring_to_notices(first.extract_id)
    before = counts()
    deliver(landing, as_csv(row(3)), 2, 85352)
    refusal()
    assert counts() == before
    assert len(staged(first.extract_id)) == 2


def test_a_notice_claimed_meanwhile_is_not_taken_back(landing):
    deliver(landing, as_csv(row(1), row(2)), 2, 2 * 85352)
    bring_to_notices(load().extract_id)
    deliver(landing, as_csv(row(3)), 1, 85352)
    claim = sqlalchemy.create_engine(sqlalchemy.make_url(os.environ["FATOURA_DATABASE_URL"])).connect()
    claim.execute(text("UPDATE notice SET state = 'sending'"))
    outcome: list[BaseException] = []

    def replace() -> None:
        try:
            load()
        except NotReady as error:
            outcome.append(error)

    loading = threading.Thread(target=replace)
    loading.start()
    while not execute(
        "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    ):
        time.sleep(0.02)
    claim.commit()
    loading.join()
    claim.close()
    claim.engine.dispose()
    assert "taken for sending" in str(outcome[0])
    assert counts()["invoice"] == 1


def test_a_supplement_needs_its_cycles_extract(landing):
    supplement = ExtractKey("2026-05-T1", 1)
    deliver(landing, as_csv(row(1, amount_due_millimes="1")), 1, 1, supplement)
    with pytest.raises(NotReady, match="load that of 2026-05-T1 first"):
        load(supplement)
    deliver(landing, as_csv(row(1)), 1, 85352)
    first = load()
    loaded = load(supplement)
    assert loaded.cycle_id == first.cycle_id
    assert staged(loaded.extract_id)[0]["amount_i"] == 1
    assert execute("SELECT issue_date FROM cycle") == [(date(2026, 5, 20),)]


def test_a_changed_extract_under_a_supplement_is_refused(landing):
    deliver(landing, as_csv(row(1)), 1, 85352)
    load()
    deliver(landing, as_csv(row(1, amount_due_millimes="1")), 1, 1, ExtractKey("2026-05-T1", 1))
    load(ExtractKey("2026-05-T1", 1))
    deliver(landing, as_csv(row(3)), 1, 85352)
    assert "supplement-1 rests on it; deliver what has changed as 2026-05-T1/supplement-2" in refusal()


def test_a_changed_supplement_replaces_until_it_has_corrected_something(landing):
    deliver(landing, as_csv(row(1)), 1, 85352)
    load()
    supplement = ExtractKey("2026-05-T1", 1)
    for amount in (1, 2):
        deliver(landing, as_csv(row(1, amount_due_millimes=str(amount))), 1, amount, supplement)
        loaded = load(supplement)
    assert loaded.outcome == "replaced"
    add_invoice(loaded.extract_id, revision=1)
    deliver(landing, as_csv(row(1, amount_due_millimes="3")), 1, 3, supplement)
    assert "it has corrected 1 invoices; deliver what has changed as 2026-05-T1/supplement-2" in refusal(
        supplement
    )


@pytest.mark.parametrize("lost", ["TRUNCATE", "DROP TABLE"])
def test_staged_rows_that_a_crash_of_the_server_emptied_are_loaded_again(landing, lost):
    deliver(landing, as_csv(row(1), row(2)), 2, 2 * 85352)
    first = load()
    execute(f"{lost} {staging_table(first.extract_id)}")
    again = load()
    assert (again.outcome, again.extract_id) == ("loaded", first.extract_id)
    assert len(staged(first.extract_id)) == 2
    execute("UPDATE extract SET matched_at = now()")
    execute(f"{lost} {staging_table(first.extract_id)}")
    assert load().outcome == "already loaded"  # every row has its bucket by now


def test_two_runs_of_a_cycle_take_turns(landing, tmp_path):
    write_sample(tmp_path / "sample", Sample("2026-05-T1", invoices=2000))
    folder = landing / "billing"
    folder.mkdir(parents=True)
    (tmp_path / "sample").rename(folder / str(KEY))
    outcomes = []
    runs = [threading.Thread(target=lambda: outcomes.append(load().outcome)) for _ in range(3)]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert sorted(outcomes) == ["already loaded", "already loaded", "loaded"]


_KILLED = """
import sys
from fatoura.cycles.keys import ExtractKey
from fatoura.extracts import load_extract
from fatoura.extracts.reading import Reading

batches = Reading.batches
def slowly(self):
    for n, batch in enumerate(batches(self)):
        yield batch
        if n == 2:
            print("half", flush=True)
            sys.stdin.read()
Reading.batches = slowly
load_extract(ExtractKey("2026-05-T1"), run_id="killed")
"""


def test_a_load_that_is_killed_leaves_nothing_and_can_be_repeated(landing, tmp_path):
    write_sample(tmp_path / "sample", Sample("2026-05-T1", invoices=60_000))
    (landing / "billing").mkdir(parents=True)
    (tmp_path / "sample").rename(landing / "billing" / str(KEY))
    worker = subprocess.Popen(
        [sys.executable, "-c", _KILLED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ.copy()
    )
    assert worker.stdout is not None
    assert worker.stdout.readline() == b"half\n"
    os.kill(worker.pid, signal.SIGKILL)
    worker.communicate()
    assert_nothing_is_kept()
    assert load().rows == 60_000


# --- From a billing database -------------------------------------------------------------------------

_BILLING = """
CREATE TABLE invoices (cycle text, invoice_number text, customer_reference text, district text, supply text,
    period_start date, period_end date, amount_due_millimes {integer}, due_date date, issue_date date,
    estimated boolean, remark text)
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def billing(request, tmp_path, postgres):
    if request.param == "sqlite":
        engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path}/billing.db")
    else:
        name = f"billing_{tmp_path.name}".replace("-", "_").lower()[:60]
        postgres.create_database(name)
        engine = sqlalchemy.create_engine(postgres.url(name))
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE IF EXISTS invoices"))
        connection.execute(text(_BILLING.format(integer="bigint")))
    yield engine
    engine.dispose()


def insert(engine: sqlalchemy.Engine, *rows: dict[str, str], cycle: str = "2026-05-T1") -> None:
    columns = ", ".join(["cycle", *COLUMNS])
    values = ", ".join(f":{name}" for name in ["cycle", *COLUMNS])
    with engine.begin() as connection:
        for one in rows:
            converted = one | {"cycle": cycle, "estimated": one["estimated"] == "true"}
            connection.execute(text(f"INSERT INTO invoices ({columns}) VALUES ({values})"), converted)


def test_the_same_columns_are_read_from_a_billing_database(billing, landing):
    insert(billing, row(2, estimated="true"), row(1))
    insert(billing, row(3), cycle="another")
    loaded = load(source=DatabaseSource(billing, name="billing_db", fetch=1))
    rows = staged(loaded.extract_id)
    assert [{name: one[name] for name in COLUMNS} for one in rows] == [row(1), row(2, estimated="true")]
    assert rows[1]["estimated_b"] is True
    assert rows[0]["unknown"] == {"remark": ""}
    assert (loaded.rows, loaded.total_amount_millimes, loaded.unknown_columns) == (2, 2 * 85352, ["remark"])
    [[source, location, manifest]] = execute("SELECT source, location, manifest FROM extract")
    assert (source, location) == ("database", "billing_db: invoices, 2026-05-T1")
    assert (manifest["rows"], manifest["issue_date"]) == (2, "2026-05-20")


def test_the_same_rows_of_a_database_again_do_nothing_and_changed_ones_replace(billing):
    insert(billing, row(1), row(2))
    source = DatabaseSource(billing)
    load(source=source)
    assert load(source=source).outcome == "already loaded"
    insert(billing, row(3))
    assert load(source=source).outcome == "replaced"
    assert execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'staging'") == [(1,)]


def test_a_query_stands_in_for_a_table_and_a_supplement_bears_its_own_key(billing):
    insert(billing, row(1))
    insert(billing, row(1, amount_due_millimes="5"), cycle="2026-05-T1/supplement-1")
    columns = ", ".join(COLUMNS)
    source = DatabaseSource(billing, query=f"SELECT {columns} FROM invoices WHERE cycle = :cycle;")
    load(source=source)
    loaded = load(ExtractKey("2026-05-T1", 1), source=source)
    assert (loaded.rows, loaded.total_amount_millimes, loaded.unknown_columns) == (1, 5, [])


def test_a_database_without_the_table_columns_or_rows_is_refused_in_words(billing):
    assert "holds no row of 2026-05-T1" in refusal(source=DatabaseSource(billing))
    assert "nowhere cannot be read" in refusal(source=DatabaseSource(billing, table="nowhere"))
    query = "SELECT invoice_number FROM invoices"
    assert "the header lacks customer_reference" in refusal(source=DatabaseSource(billing, query=query))
    assert_nothing_is_kept()


def test_rows_that_arrive_while_they_are_read_belong_to_no_snapshot(billing):
    insert(billing, row(1), row(2))
    source = DatabaseSource(billing)
    with source.open(KEY) as delivery:
        if billing.dialect.name == "postgresql":  # SQLite lets nobody write meanwhile
            insert(billing, row(3))
        [part] = delivery.parts
        assert sum(len(records) for records in part.records()) == delivery.declared_rows == 2


def test_amounts_that_the_database_cannot_sum_are_refused(postgres, tmp_path):
    name = f"text_{tmp_path.name}".replace("-", "_").lower()[:60]
    postgres.create_database(name)
    engine = sqlalchemy.create_engine(postgres.url(name))
    with engine.begin() as connection:
        connection.execute(text(_BILLING.format(integer="text")))
    insert(engine, row(1))
    assert "make it an integer" in refusal(source=DatabaseSource(engine))
    engine.dispose()


def test_a_location_never_holds_a_password():
    source = DatabaseSource("postgresql+psycopg://user:secret@host/db", name="billing_db")
    assert "secret" not in source.location(KEY)
    assert LandingSource("/data").location(KEY) == "/data/billing/2026-05-T1"
