"""`fatoura notices doubts` and `resolve`: seen first, changed only on request, and nobody's number shown."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any
from uuid import uuid4

import pytest
from click.testing import CliRunner, Result

from fatoura.cli import main
from tests.doubts import decisions, doubt, receipt
from tests.notices import ids, states

REASON = ("--reason", "the provider's log shows it")


@pytest.fixture(autouse=True)
def _day(database, configure):
    configure(now="2026-05-20T10:00:00+01:00")


def run(*arguments: Any, code: int = 0) -> Result:
    done = CliRunner().invoke(main, ["notices", *map(str, arguments)])
    assert done.exit_code == code, done.output
    assert "2000000" not in done.output
    return done


def test_without_a_doubt_it_says_so(database):
    assert run("doubts").stdout == "No notice is in doubt.\n"
    assert json.loads(run("doubts", "--json").stdout) == {"total": 0, "counts": [], "doubts": []}


def test_the_list_says_how_many_how_old_and_what_becomes_of_them():
    cycle = doubt(2, hours=3)
    doubt(1, kind="warning", hours=30, first=10)
    told = run("doubts").stdout
    assert told.splitlines()[0] == "3 in doubt"
    assert "2  bill, fatoura_sms, the oldest 3 h old: goes out once more; a second copy does less" in told
    assert "1  warning, fatoura_sms, the oldest 1 d 6 h old: is on the list: nothing more happens" in told
    assert f"{ids(cycle)[0]}  3 h old, attempt 1 with fatoura_sms" in told
    assert "to +216 ** *** 000: no answer in 30 s" in told
    assert "goes out once more after 2026-05-20 13:00; a second copy" in told
    assert told.index("warning 1 of") < told.index("bill 1 of")  # the oldest first


def test_the_list_can_be_narrowed_and_cut():
    doubt(3, hours=3)
    doubt(1, kind="warning", hours=30, first=10)
    assert run("doubts", "--older-than", "1d").stdout.startswith("1 in doubt")
    assert run("doubts", "--older-than", "90m").stdout.startswith("4 in doubt")
    assert run("doubts", "--kind", "bill").stdout.startswith("3 in doubt")
    assert run("doubts", "--next", "listed").stdout.startswith("1 in doubt")
    assert run("doubts", "--gateway", "another").stdout.startswith("No notice")
    assert run("doubts", "--limit", "1").stdout.endswith("… and 3 more: --limit shows them\n")
    assert "attempt" not in run("doubts", "--limit", "0").stdout.replace("… and 4 more", "")


def test_the_document_has_stable_names():
    cycle = doubt(hours=3)
    document = json.loads(run("doubts", "--json").stdout)
    [counted], [listed] = document["counts"], document["doubts"]
    assert set(counted) == {"gateway", "kind", "next", "why", "notices", "oldest"}
    assert set(listed) == {
        *("id", "kind", "subject", "sequence", "cycle", "gateway", "phone", "attempt", "since", "answer"),
        *("next", "why", "due", "by_receipt", "by_asking"),
    }
    assert (listed["id"], listed["next"], listed["phone"]) == (
        str(ids(cycle)[0]),
        "resend",
        "+216 ** *** 000",
    )
    assert datetime.fromisoformat(listed["due"]).utcoffset() is not None


@pytest.mark.parametrize("age", ["2", "2 days", "-1h", "1w", ""])
def test_an_age_that_is_none_is_wrong_usage(age):
    assert "no age" in run("doubts", "--older-than", age, code=2).stderr


def test_notices_are_resolved_by_their_ids_with_reason_and_name():
    cycle = doubt(3)
    one, two, _ = ids(cycle)
    told = run("resolve", one, two, "--as", "undeliverable", *REASON, "--by", "amel").stdout
    assert told == "2 resolved as undeliverable\n"
    assert states(cycle) == {"undeliverable": 2, "in_doubt": 1}
    assert [(d.decided_by, d.reason) for d in decisions()] == [("amel", REASON[1])] * 2


def test_what_goes_out_again_is_said():
    cycle = doubt(1)
    told = run("resolve", ids(cycle)[0], "--as", "not_accepted", *REASON).stdout
    assert "go out again with the send tasks of 2026-05-T1 (billing_cycle); where the run has " in told
    assert states(cycle) == {"planned": 1}
    assert decisions()[0].decided_by  # the user who runs this


def test_what_could_not_be_resolved_is_named_and_the_exit_code_tells():
    cycle = doubt(2)
    one, two = ids(cycle)
    receipt(one, "delivered")
    lost = uuid4()
    done = run("resolve", one, two, lost, "--as", "accepted", *REASON, code=1)
    assert f"not resolved: {one}: it is delivered already" in done.stdout
    assert f"not resolved: {lost}: there is no such notice" in done.stdout
    assert states(cycle) == {"delivered": 1, "accepted": 1}
    done = run("resolve", two, "--as", "accepted", *REASON, "--json", code=1)
    document = json.loads(done.stdout)
    assert document["resolved"] == []
    assert document["unresolved"] == [{"id": str(two), "why": "it is accepted already"}]


def test_many_are_resolved_only_after_a_look():
    cycle = doubt(5, hours=30)
    doubt(2, hours=1, first=10)
    doubt(1, hours=30, first=20, kind="warning")
    chosen = ("--all-older-than", "1d", "--kind", "bill", "--as", "undeliverable", *REASON)
    told = run("resolve", *chosen).stdout
    assert told.startswith("5 would be resolved as undeliverable\n")
    assert "add --yes" in told
    document = json.loads(run("resolve", *chosen, "--json").stdout)
    assert (document["dry_run"], document["would_resolve"]) == (True, 5)
    assert states(cycle) == {"in_doubt": 8}
    assert run("resolve", *chosen, "--yes").stdout == "5 resolved as undeliverable\n"
    assert states(cycle) == {"in_doubt": 3, "undeliverable": 5}
    document = json.loads(run("resolve", *chosen, "--yes", "--json").stdout)
    assert (document["dry_run"], document["resolved"], document["unresolved"]) == (False, [], [])


@pytest.mark.parametrize(
    "arguments",
    [
        ("--as", "accepted", *REASON),
        (uuid4(), "--all-older-than", "1d", "--as", "accepted", *REASON),
        (uuid4(), "--kind", "bill", "--as", "accepted", *REASON),
        (uuid4(), "--as", "delivered", *REASON),
        (uuid4(), *REASON),
        (uuid4(), "--as", "accepted"),
        ("20000001", "--as", "accepted", *REASON),
    ],
)
def test_a_decision_without_its_parts_is_wrong_usage(database, arguments):
    run_unchecked = CliRunner().invoke(main, ["notices", "resolve", *map(str, arguments)])
    assert run_unchecked.exit_code == 2
    assert decisions() == []


@pytest.mark.parametrize("extra", [(), ("--yes",)])
def test_a_reason_with_a_number_is_refused_before_anything_is_done(extra):
    cycle = doubt(1, hours=30)
    told = run(
        *("resolve", "--all-older-than", "1d", "--as", "accepted", "--reason", "20 000 001 told me", *extra),
        code=1,
    )
    assert "phone number" in told.stderr
    assert "000 001" not in told.stderr
    assert states(cycle) == {"in_doubt": 1}
