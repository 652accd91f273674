"""The import of subscribers into the database, and its command. All numbers are invented."""

import csv
import json
import stat
from datetime import date
from pathlib import Path
from threading import Thread

import pytest
from click.testing import CliRunner
from sqlalchemy import text

from fatoura.cli import main
from fatoura.database import begin, connect
from fatoura.errors import BadInput
from fatoura.subscriptions import import_subscribers

HEADER = "customer_reference,phone,language,channel,consent_date"


@pytest.fixture(autouse=True)
def _day(database, configure):
    configure(now="2026-05-20T10:00:00+01:00")


@pytest.fixture
def subscribers(tmp_path: Path):
    def write(*lines: str, header: str = HEADER) -> Path:
        path = tmp_path / "subscribers.csv"
        path.write_text("\n".join([header, *lines, ""]), encoding="utf-8")
        return path

    return write


def stored() -> list[tuple]:
    with connect() as connection:
        return [
            tuple(row)
            for row in connection.execute(
                text(
                    "SELECT customer_reference, phone, language, channel, consent_date, state "
                    "FROM subscription ORDER BY customer_reference, id"
                )
            )
        ]


def test_new_subscribers_are_added(subscribers):
    outcome = import_subscribers(
        subscribers(
            "012345678,+216 20 000 001,ar,coupon,2026-01-05",
            "000000002,20000002,fr,web,2026-05-20",
        )
    )
    assert (outcome.rows, outcome.added, outcome.refused, outcome.refused_file) == (2, 2, 0, None)
    assert stored() == [
        ("000000002", "+21620000002", "fr", "web", date(2026, 5, 20), "active"),
        ("012345678", "+21620000001", "ar", "coupon", date(2026, 1, 5), "active"),
    ]


def test_one_phone_may_serve_several_contracts(subscribers):
    path = subscribers(*(f"00000000{n},+21620000001,ar,coupon,2026-01-05" for n in range(5)))
    assert import_subscribers(path).added == 5


def test_importing_again_changes_nothing(subscribers):
    path = subscribers("012345678,+21620000001,ar,coupon,2026-01-05")
    import_subscribers(path)
    with connect() as connection:
        before = connection.execute(text("SELECT * FROM subscription")).all()
    again = import_subscribers(path)
    assert (again.added, again.changed, again.unchanged) == (0, 0, 1)
    with connect() as connection:
        assert connection.execute(text("SELECT * FROM subscription")).all() == before


def test_other_data_change_the_subscription_that_stands(subscribers, configure):
    import_subscribers(subscribers("012345678,+21620000001,ar,coupon,2026-01-05"))
    with begin() as connection:
        connection.execute(text("UPDATE subscription SET state = 'suspended', study_arm = 'treatment'"))
    configure(now="2026-05-21T10:00:00+01:00")
    outcome = import_subscribers(subscribers("012345678,+21620000009,fr,coupon,2026-01-05"))
    assert (outcome.added, outcome.changed) == (0, 1)
    assert stored() == [("012345678", "+21620000009", "fr", "coupon", date(2026, 1, 5), "suspended")]
    with connect() as connection:
        changed, arm = connection.execute(text("SELECT changed_at::date, study_arm FROM subscription")).one()
    assert (changed, arm) == (date(2026, 5, 21), "treatment")


def test_who_left_comes_back_with_a_new_consent_only(subscribers):
    import_subscribers(subscribers("012345678,+21620000001,ar,coupon,2026-01-05"))
    with begin() as connection:
        connection.execute(
            text("UPDATE subscription SET state = 'ended', changed_at = '2026-03-10T12:00:00+01:00'")
        )
    old = import_subscribers(subscribers("012345678,+21620000001,ar,coupon,2026-01-05"))
    assert (old.added, old.refused, old.reasons) == (0, 1, {"consent_date: left_since": 1})
    new = import_subscribers(subscribers("012345678,+21620000001,ar,web,2026-03-10"))
    assert new.added == 1
    assert [row[-1] for row in stored()] == ["ended", "active"]


def test_copies_count_once_and_contradictions_not_at_all(subscribers):
    outcome = import_subscribers(
        subscribers(
            "000000001,+21620000001,ar,coupon,2026-01-05",
            "000000002,+21620000002,ar,coupon,2026-01-05",
            "000000001,20 000 001,ar,coupon,2026-01-05",
            "000000002,+21620000003,ar,coupon,2026-01-05",
            "000000003,+21620000004,en,coupon,2026-01-05",
            "000000003,+21620000004,ar,coupon,2026-01-05",
        )
    )
    assert (outcome.rows, outcome.added, outcome.repeated, outcome.refused) == (6, 2, 1, 3)
    assert outcome.reasons == {"customer_reference: conflicting_rows": 2, "language: unknown": 1}
    assert [row[0] for row in stored()] == ["000000001", "000000003"]


def test_refused_rows_go_to_a_private_file_that_can_be_corrected_and_imported(subscribers, configure):
    path = subscribers(
        "000000001,+21671000001,ar,coupon,2026-01-05,بن علي",
        "000000002,+21620000002,ar,coupon,2026-01-05,",
        "000000003,+21620000003,ar,coupon,2026-01-05,a",
        "000000003,+21620000004,ar,coupon,2026-01-05,b",
        "000000005,+21620000005,ar",
        header=HEADER + ",name",
    )
    outcome = import_subscribers(path)
    assert outcome.unknown_columns == ("name",)
    assert outcome.rows == outcome.added + outcome.refused == 5
    assert outcome.refused_file.parent == configure().var / "refused"
    assert stat.S_IMODE(outcome.refused_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(outcome.refused_file.parent.stat().st_mode) == 0o700
    with outcome.refused_file.open(encoding="utf-8-sig", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["refused_row", "refused_because", *HEADER.split(","), "name"]
    conflict = "customer_reference: conflicting_rows"
    assert rows == [
        ["1", "phone: fixed_line", "000000001", "+21671000001", "ar", "coupon", "2026-01-05", "بن علي"],
        ["5", "row: wrong_number_of_fields", "000000005", "+21620000005", "ar"],
        ["3", conflict, "000000003", "+21620000003", "ar", "coupon", "2026-01-05", "a"],
        ["4", conflict, "000000003", "+21620000004", "ar", "coupon", "2026-01-05", "b"],
    ]
    corrected = outcome.refused_file.read_text(encoding="utf-8-sig").replace("+21671000001", "+21620000001")
    outcome.refused_file.write_text(corrected, encoding="utf-8-sig")
    again = import_subscribers(outcome.refused_file)
    assert (again.rows, again.added, again.refused, again.unknown_columns) == (4, 1, 3, ("name",))
    assert again.refused_file != outcome.refused_file


def test_the_command_counts_and_never_tells_a_number(subscribers, caplog):
    path = subscribers(
        "000000001,+21671000001,ar,coupon,2026-01-05",
        "000000002,+21620000002,ar,coupon,2026-01-05",
    )
    answer = CliRunner().invoke(main, ["-v", "subscribers", "import", str(path), "--json"])
    assert answer.exit_code == 0
    document = json.loads(answer.stdout)
    assert Path(document.pop("refused_file")).is_file()
    assert document == {
        "file": str(path),
        "rows": 2,
        "added": 1,
        "changed": 0,
        "unchanged": 0,
        "repeated": 0,
        "refused": 1,
        "reasons": {"phone: fixed_line": 1},
        "first_refused": [{"row": 1, "field": "phone", "reason": "fixed_line"}],
        "unknown_columns": [],
    }
    told = CliRunner().invoke(main, ["subscribers", "import", str(path)])
    assert "row 1: phone: fixed_line" in told.stdout
    for output in (answer.stdout, answer.stderr, told.stdout, told.stderr, caplog.text):
        assert "71000001" not in output
        assert "20000002" not in output


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "cannot be read"),
        (b"", "is empty"),
        (b"customer_reference,phone\n", "lacks language, channel, consent_date"),
        ("téléphone\n".encode("latin-1"), "not UTF-8"),
    ],
)
def test_an_unusable_file_ends_with_1_and_a_reason(tmp_path, content, told):
    path = tmp_path / "subscribers.csv"
    if content is not None:
        path.write_bytes(content)
    refused = CliRunner().invoke(main, ["subscribers", "import", str(path), "--json"])
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert told in refused.stderr
    assert str(path) in refused.stderr


def test_a_file_without_rows_is_fine(subscribers):
    assert import_subscribers(subscribers()).rows == 0


def test_an_import_that_fails_leaves_neither_rows_nor_a_file(subscribers, configure, monkeypatch):
    def fail(*_):
        raise BadInput("the disk is full")

    monkeypatch.setattr("fatoura.subscriptions.importing._refuse_judged", fail)
    with pytest.raises(BadInput, match="the disk is full"):
        import_subscribers(
            subscribers(
                "000000009,,ar,coupon,2026-01-05",
                "000000001,+21620000001,ar,coupon,2026-01-05",
                "000000001,+21620000002,ar,coupon,2026-01-05",
                "000000002,+21620000002,ar,coupon,2026-01-05",
            )
        )
    assert stored() == []
    assert list((configure().var / "refused").iterdir()) == []


def test_two_imports_at_once_take_turns(subscribers):
    path = subscribers(*(f"{n:09},+21620000001,ar,coupon,2026-01-05" for n in range(3000)))
    outcomes = []
    threads = [Thread(target=lambda: outcomes.append(import_subscribers(path))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcome.added for outcome in outcomes) == [0, 0, 3000]
    assert sorted(outcome.unchanged for outcome in outcomes) == [0, 3000, 3000]
