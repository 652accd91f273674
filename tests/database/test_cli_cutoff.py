"""`fatoura cutoff`: status, lists, rules, days and reports, each for people and as one JSON document."""

import json
from datetime import date

import pytest
from click.testing import CliRunner

from fatoura.cli import main
from fatoura.cutoff.deciding import decide_day
from fatoura.cutoff.list_files import list_folder
from fatoura.cutoff.planning import plan_day
from fatoura.cutoff.settling import conclude_cases
from tests.cutoff import bill, cases, pay, send, watermark


@pytest.fixture(autouse=True)
def on(database, configure):
    """Move the clock to an hour of a day; payments are complete up to then."""

    def move(day: str, hour: str = "09:30", *, fresh: bool = True) -> None:
        configure(now=f"{day}T{hour}:00+01:00")
        if fresh:
            watermark()

    move("2026-06-24")
    return move


def run(*arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(main, ["cutoff", *arguments])
    assert done.exit_code == code, done.output
    return done.stdout if code == 0 else done.stderr


def document(*arguments: str) -> dict:
    return json.loads(run(*arguments, "--json"))


def warn(on, day: str, outcome: str = "delivered") -> None:
    on(day)
    plan_day(decide_day().cycle)
    send(outcome)
    conclude_cases()


def test_status_tells_what_is_due_and_how_fresh_the_feeds_are(on):
    bill("FAC-1")
    bill("FAC-2", "000000002")
    pay("FAC-2")
    on("2026-06-29")
    told = run("status")
    assert told == (
        "2026-06-29, by the rules 2026-1\n"
        "\n"
        "Cases\n"
        "  scheduled                2\n"
        "  warned                   0\n"
        "  warned_again             0\n"
        "  handed_over              0\n"
        "  not_warned               0\n"
        "  paid                     0\n"
        "  excluded                 0\n"
        "  under way                0  whose message has no last word yet\n"
        "\n"
        "Due today, Mon 2026-06-29\n"
        "           0  reminder\n"
        "           0  warning\n"
        "           0  second warning\n"
        "           0  for the field teams\n"
        "\n"
        "Due tomorrow, Tue 2026-06-30\n"
        "           0  reminder\n"
        "           2  warning\n"
        "           0  second warning\n"
        "           0  for the field teams\n"
        "\n"
        "Payments are known\n"
        "  counter   up to 2026-06-29 09:30\n"
        "  post      up to 2026-06-29 09:30\n"
        "  bank      up to 2026-06-29 09:30\n"
        "  web       up to 2026-06-29 09:30\n"
        "  app       up to 2026-06-29 09:30\n"
        "  debit     up to 2026-06-29 09:30\n"
        "\n"
        "The daily run has never decided anything.\n"
    )
    on("2026-06-30")
    plan_day(decide_day().cycle)
    told = run("status")
    assert "  paid                     1\n" in told
    assert "  under way                1  whose" in told
    assert "           0  warning\n" in told
    assert "The daily run decided last 2026-06-30 09:30, for 2026-06-30, 0 left waiting.\n" in told


def test_status_names_what_is_stale_and_days_on_which_nothing_is_sent_or_cut(on):
    on("2026-07-02", fresh=False)
    told = run("status")
    assert (
        "  post      up to 2026-06-24 09:30  STALE: nobody is warned; needed up to 2026-07-01 03:30\n" in told
    )
    assert "Due tomorrow, Fri 2026-07-03\n" in told
    assert told.count("  supply is not cut on this day\n") == 1
    on("2026-07-04", "22:00")
    on("2026-07-05", "07:30", fresh=False)
    told = run("status")
    assert "  nobody is written to on this day\n" in told
    assert (
        "  post      up to 2026-07-04 22:00  too old for the field teams' list, which needs 2026-07-05 05:00"
        in told
    )
    found = document("status")
    assert found["for_warnings"]["post"]["stale"] is False
    assert found["for_hand_over"]["post"]["stale"] is True
    assert [due["may_cut"] for due in found["due"]] == [False, True]
    assert set(found["states"]) == {
        *("scheduled", "warned", "warned_again", "handed_over", "not_warned", "paid", "excluded")
    }


def test_the_field_teams_list_is_handed_over_only_when_it_is_asked_for(on):
    bill("FAC-1")
    for day in ("2026-06-30", "2026-07-09"):
        warn(on, day)
    on("2026-07-13", "07:30")
    assert "no list of cases for the field teams was made on 2026-07-13" in run("hand-over", code=1)
    assert cases() == [("warned_again",)]
    told = run("hand-over", "--make")
    folder = list_folder(date(2026, 7, 13))
    assert told == (
        "1 added, 1 on the list; 0 settled or left out instead\n"
        "1 cases for the field teams of 2026-07-13:\n"
        f"  {folder}/hand_over.csv\n"
        f"  {folder}/hand_over.xlsx\n"
    )
    assert cases() == [("handed_over",)]
    on("2026-07-14")
    again = document("hand-over", "--day", "2026-07-13")
    assert (again["list"], again["day"], again["lines"]) == ("hand_over", "2026-07-13", 1)
    assert again["csv"] == f"{folder}/hand_over.csv"


def test_letters_and_calls_back_are_made_and_written_elsewhere(on, tmp_path):
    bill("FAC-1")
    warn(on, "2026-06-30", "undeliverable")
    made = document("letters", "--make", "--to", str(tmp_path))
    assert (made["added"], made["closed"], made["lines"]) == (1, 0, 1)
    assert made["workbook"] == f"{tmp_path}/letters.xlsx"
    none = document("call-back", "--make")
    assert (none["lines"], none["csv"]) == (0, None)
    assert "there are no cases to call back today" in run("call-back", "--make")


@pytest.mark.parametrize("name", ["letters", "hand-over", "call-back"])
def test_a_list_is_made_on_its_own_day_only(name):
    assert "--make goes with no --day but today's" in run(name, "--make", "--day", "2026-06-23", code=2)
    assert "'yesterday' is not a day" in run(name, "--day", "yesterday", code=2)


def test_a_list_is_not_made_on_stale_feeds(on):
    on("2026-07-13", "07:30", fresh=False)
    assert "nothing is handed over: the payments are not known up to now" in run(
        "hand-over", "--make", code=1
    )


def test_the_rules_are_said_in_words():
    told = run("rules", "--on", "2026-06-30")
    assert "- Version 2026-1, in force from 1 January 2026 on.\n" in told
    assert "it names a day of the cut at least 10 days away" in told.replace("\n  ", " ")
    assert "- What is left to pay has to be 5,000 DT at least; nobody is warned for less.\n" in told
    assert "Supply is not cut on Fridays, Saturdays and Sundays" in told
    found = document("rules")
    assert (found["version"], found["from"]) == ("2026-1", "2026-01-01")
    assert found["steps"][1]["notice_days"] == 10


def test_rules_that_are_wrong_are_refused_in_words(configure, tmp_path):
    (tmp_path / "rules.yaml").write_text("versions: []")
    configure(cutoff_rules=str(tmp_path / "rules.yaml"))
    assert "versions: Tuple should have at least 1 item" in run("rules", code=1)


def test_the_days_of_a_cut_are_shown_and_why_the_others_are_none():
    told = run("cut-days", "--from", "2026-07-22", "--days", "6")
    assert told == (
        "Wed 2026-07-22  supply may be cut\n"
        "Thu 2026-07-23  supply may be cut\n"
        "Fri 2026-07-24  no cut: no cut on Fridays; the day before Republic Day\n"
        "Sat 2026-07-25  no cut: no cut on Saturdays; Republic Day\n"
        "Sun 2026-07-26  no cut: no cut on Sundays\n"
        "Mon 2026-07-27  supply may be cut\n"
    )
    days = document("cut-days", "--days", "2")["days"]
    assert days[0] == {"day": "2026-06-24", "may_cut": True, "why_not": []}


def test_the_pages_are_written(on):
    bill("FAC-1")
    warn(on, "2026-06-30")
    page = run("report").strip()
    assert page.endswith("2026-06-30/report.html")
    found = document("report", "--day", "2026-06-30", "--language", "en")
    assert found["path"] == page
    assert "report.xlsx" in found["files"]
    found = document("report", "--cycle", "2026-05-T1")
    assert found["path"].endswith("2026-05-T1/cutoff.html")
    assert "give --day or --cycle" in run("report", "--day", "2026-06-30", "--cycle", "2026-05-T1", code=2)
    assert "no cycle" in run("report", "--cycle", "2026-01-T1", code=1)
