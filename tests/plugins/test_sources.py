"""Where a run's extract is read from: the landing folder, or a billing database behind a connection."""

from __future__ import annotations

import json
import uuid

import pytest
import sqlalchemy
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from fatoura.cycles.keys import ExtractKey
from fatoura.database import connect
from fatoura.errors import BadInput
from fatoura.extracts import ExtractRefused
from fatoura.extracts.columns import COLUMNS
from fatoura.feeds import take_feeds
from operations.connections import database_url
from operations.sources import load_from, payment_sources
from tests.deliveries import deliver, record
from tests.payments import payment

KEY = "2026-05-T1"
PASSWORD = "p@ss:w/rd?"


@pytest.fixture(autouse=True)
def _day(database, configure):
    configure(now="2026-05-20T10:00:00+01:00")


@pytest.fixture
def billing(postgres, connect_as):
    """A billing database with two tables of invoices, and a function that defines the connection to it."""
    name = f"billing_{uuid.uuid4().hex}"
    postgres.create_database(name)
    engine = sqlalchemy.create_engine(postgres.url(name))
    with engine.begin() as db:
        for table, rows in (("invoices", 3), ("other", 2)):
            columns = ", ".join(f"{column} text" for column in COLUMNS if column != "amount_due_millimes")
            db.execute(text(f"CREATE TABLE {table} (cycle text, amount_due_millimes bigint, {columns})"))
            for number in range(1, rows + 1):
                values = record(number) | {"cycle": KEY}
                names = ", ".join(f":{column}" for column in values)
                db.execute(text(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({names})"), values)
    engine.dispose()

    def define(**changed: object) -> None:
        fields = {"host": str(postgres.socket), "login": "postgres", "password": PASSWORD, "schema": name}
        connect_as("fatoura_billing_db", **{"conn_type": "postgres", **fields, **changed})

    define()
    return define


def stored() -> list[tuple[str, str]]:
    with connect() as connection:
        return [tuple(row) for row in connection.execute(text("SELECT source, location FROM extract"))]


def test_an_extract_is_loaded_from_the_landing_folder():
    deliver(ExtractKey(KEY), [record(n) for n in range(1, 6)])
    told = load_from("landing", KEY, run_id="manual__1")
    assert told["rows"] == 5
    assert json.loads(json.dumps(told)) == told  # it goes through Airflow's XCom
    [(source, location)] = stored()
    assert source == "landing"
    assert location.endswith(f"billing/{KEY}")


def test_a_supplement_has_a_key_of_its_own():
    deliver(ExtractKey(KEY), [record(1)])
    deliver(ExtractKey(KEY, 1), [record(2)])
    load_from("landing", KEY, run_id=None)
    assert load_from("landing", f"{KEY}/supplement-1", run_id=None)["rows"] == 1
    assert len(stored()) == 2


def test_an_extract_that_did_not_land_is_refused():
    with pytest.raises(ExtractRefused, match=KEY):
        load_from("landing", KEY, run_id=None)


def test_an_extract_is_loaded_from_the_billing_database(billing):
    assert load_from("database", KEY, run_id="manual__1")["rows"] == 3
    assert stored() == [("database", f"fatoura_billing_db: invoices, {KEY}")]


@pytest.mark.parametrize(
    ("extra", "rows"),
    [
        ({"table": "other"}, 2),
        ({"query": f"SELECT {', '.join(COLUMNS)} FROM other WHERE cycle = :cycle"}, 2),
        ({"table": "invoices", "cycle_column": "cycle", "connect_timeout": 5, "application_name": "x"}, 3),
        ({"sqlalchemy_scheme": "postgresql+psycopg2"}, 3),
    ],
)
def test_the_extra_of_the_connection_says_where_the_rows_are_and_the_rest_is_the_driver_s(
    billing, extra, rows
):
    billing(extra=extra)
    assert load_from("database", KEY, run_id=None)["rows"] == rows


def test_the_setting_names_the_connection(billing, configure, monkeypatch):
    import os

    configure(billing_conn_id="old_billing")
    monkeypatch.setenv("AIRFLOW_CONN_OLD_BILLING", os.environ["AIRFLOW_CONN_FATOURA_BILLING_DB"])
    monkeypatch.delenv("AIRFLOW_CONN_FATOURA_BILLING_DB")
    load_from("database", KEY, run_id=None)
    assert stored()[0][1].startswith("old_billing: ")


def test_a_table_that_is_not_there_is_refused_in_words_without_the_password(billing):
    billing(extra={"table": "nowhere"})
    with pytest.raises(ExtractRefused, match="nowhere cannot be read") as refused:
        load_from("database", KEY, run_id=None)
    assert PASSWORD not in str(refused.value)


def test_a_database_that_is_away_is_tried_again_and_its_password_not_told(billing):
    billing(host="127.0.0.1", port=1)
    with pytest.raises(OperationalError) as failed:
        load_from("database", KEY, run_id=None)
    assert PASSWORD not in str(failed.value)


def test_a_database_that_no_installed_driver_speaks_is_refused_in_words(billing):
    for kind in ("oracle", "nonsense", ""):
        billing(conn_type=kind)
        with pytest.raises(BadInput, match="sqlalchemy_scheme") as refused:
            load_from("database", KEY, run_id=None)
        assert PASSWORD not in str(refused.value)


def test_a_password_may_hold_any_character(connect_as):
    from airflow.sdk import BaseHook

    fields = {"host": "db.example.tn", "port": 5433, "login": "reader", "schema": "billing"}
    connect_as(
        "fatoura_billing_db",
        conn_type="postgres",
        **fields,
        password=PASSWORD,
        extra={"sslmode": "require", "table": "x"},
    )
    url = database_url(BaseHook.get_connection("fatoura_billing_db"), but=("table",))
    again = sqlalchemy.make_url(url.render_as_string(hide_password=False))
    assert (again.password, again.host, again.port, again.query) == (
        PASSWORD,
        "db.example.tn",
        5433,
        {"sslmode": "require"},
    )
    assert PASSWORD not in repr(url)


@pytest.mark.parametrize(
    ("source", "cycle", "words"),
    [
        ("landing", "", "without a cycle: give its key in the form"),
        ("landing", "../secrets", "is not a cycle key"),
        ("post", KEY, "no source 'post': landing and database are"),
    ],
)
def test_what_a_form_may_hold_is_refused_in_words(source, cycle, words):
    with pytest.raises(BadInput, match=words):
        load_from(source, cycle, run_id=None)


# --- Payments ----------------------------------------------------------------------------------------


@pytest.fixture
def till(postgres, connect_as, configure):
    """A database of payments with one row, and a function that defines the connection to it."""
    name = f"till_{uuid.uuid4().hex}"
    postgres.create_database(name)
    engine = sqlalchemy.create_engine(postgres.url(name))
    with engine.begin() as db:
        row = payment("P1", "F1", 5000, paid_at="2026-05-19T10:00:00")
        columns = ", ".join(
            f"{column} text" for column in row if column not in ("amount_millimes", "paid_at")
        )
        db.execute(
            text(f"CREATE TABLE taken (amount_millimes bigint, paid_at timestamp, at timestamptz, {columns})")
        )
        values = row | {"at": "2026-05-19T10:00:00Z"}
        names = ", ".join(f":{column}" for column in values)
        db.execute(text(f"INSERT INTO taken ({', '.join(values)}) VALUES ({names})"), values)
        db.execute(text("CREATE TABLE known AS SELECT 'counter' AS channel, timestamptz '2026-05-20 05:00Z'"))
        db.execute(text("ALTER TABLE known RENAME timestamptz TO complete_until"))
    engine.dispose()
    configure(now="2026-05-20T10:00:00+01:00", payments_conn_id="till")
    usual = {
        **{"table": "taken", "changed_column": "at", "watermark_table": "known"},
        **{"timezone": "Africa/Tunis", "overlap_minutes": 30, "application_name": "x"},
    }

    def define(extra: dict[str, object] | None = None, **changed: object) -> None:
        fields = {"host": str(postgres.socket), "login": "postgres", "password": PASSWORD, "schema": name}
        extra = usual | (extra or {})
        connect_as("till", **{"conn_type": "postgres", **fields, "extra": extra, **changed})

    define()
    return define


def test_payments_are_taken_from_the_database_that_the_setting_names(till):
    taken = take_feeds(sources=payment_sources())
    assert [one.counts for one in taken.loaded] == [{"new": 1}]
    with connect() as connection:
        assert f"{connection.scalar(text('SELECT paid_at FROM payment')):%H}" == "09"


def test_without_the_setting_no_database_is_asked():
    assert payment_sources() == ()


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({"timezone": "Tunis"}, "timezone a name such as Africa/Tunis"),
        ({"overlap_minutes": "long"}, "overlap_minutes is a number"),
        ({"watermark_query": "SELECT 1"}, "the query of watermarks cannot be read"),
    ],
)
def test_what_is_wrong_with_the_connection_of_payments_is_told_and_stops_nothing(till, extra, words):
    till(extra)
    [refused] = take_feeds(sources=payment_sources()).refused
    assert refused.feed == "till"
    assert words in refused.problems[0]
    assert PASSWORD not in refused.problems[0]


def test_a_connection_of_payments_that_is_not_there_is_told(till, configure):
    configure(payments_conn_id="gone")
    [refused] = take_feeds(sources=payment_sources()).refused
    assert "there is no connection 'gone'" in refused.problems[0]


def test_a_database_of_payments_that_is_away_is_asked_again(till):
    till(host="127.0.0.1", port=1)
    assert "does not answer" in take_feeds(sources=payment_sources()).unreachable["till"]
