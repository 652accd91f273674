"""Gateways as they are written down: known, in use, ill and well again, adjusted; and the commands."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from sqlalchemy import text

from fatoura.cli import main
from fatoura.database import begin, connect
from fatoura.errors import BadInput
from fatoura.gateways import GatewayConfig, create_gateway
from fatoura.notices.states import State
from fatoura.sending import routing
from tests.notices import plan_notices, run_sql


@pytest.fixture(autouse=True)
def _day(database, configure):
    configure(now="2026-05-20T10:00:00+01:00")


def kannel(name: str):
    return create_gateway("kannel", GatewayConfig(name, "http://127.0.0.1:9", "steg", "word"))


def aggregator(name: str, form: str = "l2t"):
    return create_gateway(
        "query_string", GatewayConfig(name, "http://127.0.0.1:9", "", "word", {"form": form})
    )


def register(*names: str) -> None:
    with begin() as connection:
        routing.register(connection, [kannel(name) for name in names])


def shares() -> dict[str, float]:
    with connect() as connection:
        return {one.name: one.share for one in routing.overview(connection)}


def in_trouble(name: str, seconds: int = 60, **more) -> float:
    """Note trouble as if the last was so long ago; return the health."""
    run_sql(
        "UPDATE gateway SET health_since = clock_timestamp() - make_interval(secs => :s) WHERE name = :n",
        s=seconds,
        n=name,
    )
    with begin() as connection:
        routing.note_trouble(connection, name, **more)
    return health(name)


def well(name: str, seconds: int = 60) -> float:
    run_sql(
        "UPDATE gateway SET health_since = clock_timestamp() - make_interval(secs => :s) WHERE name = :n",
        s=seconds,
        n=name,
    )
    with begin() as connection:
        routing.note_recovery(connection, name)
    return health(name)


def health(name: str) -> float:
    with connect() as connection:
        return float(connection.scalar(text("SELECT health FROM gateway WHERE name = :n"), {"n": name}) or 0)


def test_until_somebody_decides_the_first_gets_all_whoever_was_first_before():
    register("a")
    assert shares() == {"a": 1}
    register("b", "a")  # the next tender
    assert shares() == {"b": 1, "a": 0}
    register("b")
    assert shares() == {"b": 1, "a": 0}
    with connect() as connection:
        assert [one.position for one in routing.overview(connection)] == [0, None]


def test_what_an_operator_decided_stays():
    register("a", "b")
    with begin() as connection:
        routing.adjust(connection, "b", weight=25)
    assert shares() == {"a": 0.8, "b": 0.2}
    register("a", "b")
    assert shares() == {"a": 0.8, "b": 0.2}
    with begin() as connection:
        routing.adjust(connection, "a", weight=0)
    assert shares() == {"a": 0, "b": 1}


def test_a_change_of_a_connection_s_provider_is_refused_in_words():
    register("a")
    with begin() as connection, pytest.raises(BadInput, match="make a new connection") as refusal:
        routing.register(connection, [aggregator("a")])
    assert "as kannel, and now it says query_string l2t" in str(refusal.value)
    with begin() as connection:
        routing.register(connection, [aggregator("b")])
    with begin() as connection, pytest.raises(BadInput, match="query_string l2t, and now it says"):
        routing.register(connection, [aggregator("b", "winsms")])


def test_trouble_takes_a_share_step_by_step_and_leaves_a_probe():
    register("a", "b")
    assert [in_trouble("a") for _ in range(6)] == pytest.approx([0.8, 0.6, 0.4, 0.2, 0.02, 0.02])
    assert shares() == {"a": 0.02, "b": 0.98}
    assert in_trouble("a", seconds=1) == pytest.approx(0.02)


def test_trouble_that_is_told_again_and_again_counts_once_in_its_time():
    register("a", "b")
    assert in_trouble("a", seconds=6) == pytest.approx(0.8)
    for _ in range(20):
        with begin() as connection:
            routing.note_trouble(connection, "a")
    assert health("a") == pytest.approx(0.8)


def test_who_is_given_up_gets_nothing_until_a_task_begins_anew():
    register("a", "b")
    for _ in range(5):
        in_trouble("a", for_good=True)
    assert shares() == {"a": 0, "b": 1}
    register("a", "b")
    assert shares() == {"a": 0.02, "b": 0.98}


def test_recovery_is_slower_than_trouble_and_ends_at_the_whole_share():
    register("a", "b")
    for _ in range(3):
        in_trouble("a")
    assert [well("a") for _ in range(7)] == pytest.approx([0.5, 0.6, 0.7, 0.8, 0.9, 1, 1])
    in_trouble("a")
    assert well("a", seconds=9) == pytest.approx(0.8)


# --- The commands


def run(*arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(main, ["gateway", *arguments])
    assert done.exit_code == code, done.output
    return done.output


def test_list_says_so_when_nothing_is_known():
    assert "No gateway is known yet" in run("list")
    assert json.loads(run("list", "--json")) == {"gateways": []}


def test_list_shows_shares_limits_abilities_and_what_is_unsettled(configure):
    configure(now="2026-05-20T10:00:00+01:00", segments_per_second=40)
    with begin() as connection:
        routing.register(connection, [kannel("fatoura_sms"), aggregator("l2t_sms")])
    plan_notices(3)
    for state in (State.SENDING, State.ACCEPTED):
        run_sql("UPDATE notice SET state = :state, gateway = 'l2t_sms', attempts = 1", state=state)
    run_sql("UPDATE notice SET state = 'delivered' WHERE subject LIKE '%-0'")
    told = run("list")
    assert told.splitlines() == [
        "fatoura_sms (kannel): first, weight 100, health 100%, share now 100.0%; 40 segments a second",
        "  can: receipts by itself, at most 1 segment, receipts with our id, validity",
        "  unsettled: nothing",
        "l2t_sms (query_string l2t): fall-back 1, weight 0, health 100%, share now 0.0%; "
        "40 segments a second",
        "  can: receipts when asked, at most 1 segment, can be asked by its id, scheduled sending, balance",
        "  unsettled: 2 accepted",
    ]
    first, second = json.loads(run("list", "--json"))["gateways"]
    assert (first["share"], first["position"], first["form"], first["unsettled"]) == (1, 0, None, {})
    assert (second["form"], second["unsettled"]) == ("l2t", {"accepted": 2})
    assert second["capabilities"]["receipts"] == "poll"
    assert second["polled_at"] is None


def test_set_changes_weight_and_rate_and_shows_the_new_shares():
    register("a", "b")
    assert run("set", "b", "--weight", "300", "--rate", "12.5").splitlines() == [
        "a (kannel): first, weight 100, health 100%, share now 25.0%; 50 segments a second",
        "b (kannel): fall-back 1, weight 300, health 100%, share now 75.0%; 12.5 segments a second",
    ]
    assert "50 segments a second" in run("set", "b", "--rate", "0").splitlines()[1]
    assert shares() == {"a": 0.25, "b": 0.75}


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["nobody", "--weight", "1"], 1, "known are a, b"),
        (["a", "--weight", "-1"], 1, "a weight is a number from 0 up"),
        (["a", "--weight", "nan"], 1, "a weight is a number from 0 up"),
        (["a", "--rate", "-3"], 1, "a rate is a number"),
        (["a"], 2, "say what to change"),
        (["a", "--weight", "much"], 2, "not a valid float"),
    ],
)
def test_set_refuses_what_makes_no_sense(arguments, code, said):
    register("a", "b")
    assert said in run("set", *arguments, code=code)
    assert shares() == {"a": 1, "b": 0}
