"""A running installation is sealed, given another key, and opened again; who compares numbers waits
meanwhile.
"""

from __future__ import annotations

import json
from datetime import timedelta
from threading import Event, Thread

import pytest
from click.testing import CliRunner
from sqlalchemy import text

from fatoura.cli import main
from fatoura.database import begin, connect
from fatoura.errors import NeedsAPerson, NotReady
from fatoura.notices.lifecycle import notice_lives
from fatoura.phones_at_rest import opened, sealed
from fatoura.privacy import sealing
from fatoura.privacy.sealing import convert_all, insist_on_one_form
from fatoura.sending.claims import claim
from fatoura.sending.routing import WHOLE
from fatoura.subscriptions import import_subscribers
from tests.keys import KeyFile
from tests.notices import plan_notices, run_sql, states

PHONE = "+21620000012"


@pytest.fixture(autouse=True)
def _clock(database, configure):
    configure(now="2026-05-20T10:00:00+01:00")


@pytest.fixture
def keys(configure, tmp_path) -> KeyFile:
    configure(phone_key_file=tmp_path / "phone_keys")
    return KeyFile(tmp_path / "phone_keys")


def fill() -> None:
    """Put a number into every place that may hold one."""
    plan_notices(3, phones=f"'{PHONE}'")
    run_sql(
        "INSERT INTO subscription (customer_reference, phone, language, channel, consent_date) "
        "SELECT lpad(i::text, 9, '0'), '+2162000' || lpad(i::text, 4, '0'), 'fr', 'web', '2026-01-01' "
        "FROM generate_series(1, 40) i"
    )
    run_sql(
        "INSERT INTO statement_line (statement_id, line, message, recipient, billed) "
        "VALUES (1, 1, 1, :p, true)",
        p=PHONE,
    )
    run_sql(
        "INSERT INTO set_aside_row (feed_id, row_number, part, part_row, content, reasons, fields) VALUES "
        "(1, 1, 'a', 1, 'coupons', '{phone: fixed_line}', '{\"phone\": \"71000000\", \"scan_id\": \"s\"}'), "
        "(1, 2, 'a', 2, 'facts', '{fact: unknown}', '{\"phone\": \"71000000\"}')"
    )
    run_sql(
        "INSERT INTO receipt (gateway, raw) VALUES ('g', :raw)",
        raw=json.dumps({"query": {"to": PHONE, "type": "1"}}),
    )


def column(statement: str) -> list:
    with connect() as connection:
        return list(connection.scalars(text(statement)))


PHONES = (
    "SELECT phone FROM notice UNION ALL SELECT phone FROM subscription UNION ALL "
    "SELECT recipient FROM statement_line UNION ALL "
    "SELECT fields ->> 'phone' FROM set_aside_row WHERE content = 'coupons'"
)


def test_every_number_is_sealed_given_another_key_and_opened_again(keys):
    fill()
    before = sorted(column(PHONES))
    first = keys.add_first()
    done = convert_all()
    assert done.values["subscription.phone"] == 40
    assert done.values["notice.phone"] == 3
    assert {stored.split(":")[2] for stored in column(PHONES)} == {first}
    assert sorted(map(opened, column(PHONES))) == before
    assert sum(convert_all().values.values()) == 0
    second = keys.add_first()
    convert_all()
    assert {stored.split(":")[2] for stored in column(PHONES)} == {second}
    keys.write("off", *keys.path.read_text().split())
    convert_all()
    assert sorted(column(PHONES)) == before
    assert column("SELECT raw -> 'query' ->> 'to' FROM receipt") == ["+216*****012"]
    assert column("SELECT fields ->> 'phone' FROM set_aside_row WHERE content = 'facts'") == ["71000000"]


def test_it_goes_on_where_it_was_killed(keys, monkeypatch):
    fill()
    keys.add_first()
    monkeypatch.setattr(sealing, "_BLOCKS", 1)
    batches = 0

    def kill(name: str, rows: int, share: float) -> None:
        nonlocal batches
        batches += 1
        if batches == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert_all(kill)
    assert 0 < len([stored for stored in column(PHONES) if stored.startswith("sealed:")]) < 45
    convert_all()
    assert all(stored.startswith("sealed:") for stored in column(PHONES))


def test_what_a_sender_holds_is_passed_over_and_comes_later(keys, monkeypatch):
    fill()
    keys.add_first()
    monkeypatch.setattr(sealing, "_PAUSE_SECONDS", 0.05)
    held, release = Event(), Event()

    def sender() -> None:
        with begin() as connection:
            connection.execute(text("SELECT FROM notice FOR UPDATE"))
            held.set()
            release.wait(20)

    thread = Thread(target=sender)
    thread.start()
    held.wait(20)
    monkeypatch.setattr(sealing, "_ROUNDS", 2)
    with pytest.raises(NeedsAPerson, match="run it again"):
        convert_all()
    release.set()
    thread.join()
    convert_all()
    assert all(stored.startswith("sealed:") for stored in column(PHONES))


def test_a_number_whose_key_is_gone_stops_it_and_says_which(keys):
    fill()
    lost = keys.add_first()
    convert_all()
    keys.path.unlink()
    keys.add_first()
    with pytest.raises(NeedsAPerson, match=lost):
        convert_all()


def test_without_its_key_nothing_is_claimed_and_the_sender_is_told_which_is_missing(keys, configure):
    cycle = plan_notices(3)
    run_sql("UPDATE notice SET subscription_id = NULL")
    lost = keys.add_first()
    convert_all()
    configure(phone_key_file="")
    for _ in range(2):
        with pytest.raises(NeedsAPerson, match=f"key {lost}.*FATOURA_PHONE_KEY_FILE"), begin() as connection:
            claim(
                connection,
                cycle,
                gateway="fatoura_sms",
                stretch=WHOLE,
                in_use=["fatoura_sms"],
                worker="test",
                most=10,
                lease=timedelta(minutes=5),
                doubt_horizon=timedelta(hours=6),
                sender_id="STEG",
            )
        assert states(cycle) == {"planned": 3}
    assert column("SELECT count(*) FROM attempt") == [0]
    assert notice_lives("2026-05-T1-0").notices[0].phone == "+216 ** *** ***"


def test_numbers_are_compared_only_where_they_are_stored_alike(keys, tmp_path):
    fill()
    keys.add_first()
    file = tmp_path / "subscribers.csv"
    file.write_text(
        "customer_reference,phone,language,channel,consent_date\n000000012,20000012,fr,web,2026-01-01\n"
    )
    with pytest.raises(NotReady, match="fatoura phones seal"):
        import_subscribers(file)
    convert_all()
    assert import_subscribers(file).unchanged == 1
    with begin() as connection:
        insist_on_one_form(connection, ("notice", "phone"), ("statement_line", "recipient"))
    keys.write("off", *keys.path.read_text().split())
    with pytest.raises(NotReady), begin() as connection:
        insist_on_one_form(connection, ("subscription", "phone"))


def test_what_is_asked_by_phone_is_found_however_it_is_stored(keys):
    fill()
    keys.add_first()
    run_sql("UPDATE notice SET phone = :stored WHERE subject LIKE '%-0'", stored=sealed(PHONE))
    lives = notice_lives("20 000 012")
    assert lives.total == 3
    assert {life.phone for life in lives.notices} == {"+216 ** *** 012"}
    assert {life.phone for life in notice_lives("20000012", unmasked=True).notices} == {PHONE}


# --- The command ---------------------------------------------------------------------------------------


def run(*words: str, code: int = 0) -> str:
    result = CliRunner().invoke(main, ["phones", *words])
    assert result.exit_code == code, result.output
    return result.output


def test_an_operator_seals_rotates_and_opens_by_command(keys):
    fill()
    assert "set FATOURA_PHONE_KEY_FILE" in run("seal", code=1) or not keys.path.exists()
    assert "seals and opens" in run("key")
    assert keys.path.stat().st_mode & 0o777 == 0o600
    made = json.loads(run("key", "--json"))
    assert run("key", "--json") == run("key", "--json")
    assert json.loads(run("seal", "--json"))["converted"]["subscription.phone"] == 40
    assert "there is one key" in run("rotate", code=1)
    run("key", "--add")
    both = json.loads(run("key", "--json"))
    assert both["seals"] == made["seals"]
    [new] = set(both["opens"]) - {made["seals"]}
    run("key", "--use", new)
    assert "are sealed with" in run("key", "--drop", made["seals"], code=1)
    run("rotate")
    status = json.loads(run("status", "--json"))
    assert status["columns"]["subscription.phone"] == {"as_they_are": 0, "by_key": {new: 40}}
    run("key", "--drop", made["seals"])
    assert "first let no key seal" in run("open", code=1)
    run("key", "--off")
    run("open")
    assert json.loads(run("status", "--json"))["columns"]["subscription.phone"]["as_they_are"] == 40
    assert "is the key in use" not in run("key", "--drop", new)
    assert "there is no key" in run("key", "--use", "12345678", code=1)


def test_without_the_setting_there_is_nothing_to_seal_with():
    assert "set FATOURA_PHONE_KEY_FILE" in run("key", code=1)
    assert "no key seals" in run("seal", code=1)
    assert "stored as they are" in run("status")


def test_status_says_which_keys_are_missing(keys, configure):
    fill()
    lost = keys.add_first()
    convert_all()
    configure(phone_key_file="")
    told = run("status")
    assert f"this process has no key {lost}" in told
    assert "20000012" not in told
