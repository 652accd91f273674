"""The migrations lead to exactly the tables that the code builds its statements from."""

import itertools

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from fatoura.cutoff.states import CaseState
from fatoura.cutoff.states import may_move as case_may_move
from fatoura.database import begin, connect
from fatoura.database.schema import metadata
from fatoura.fees.states import FIRST, OWED, ChargeState
from fatoura.fees.states import may_move as charge_may_move
from fatoura.notices.states import State, may_move


def test_migrations_and_tables_agree(database):
    with connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": "fatoura_version"})
        assert compare_metadata(context, metadata) == []


def plan_notice(connection, subject: str) -> None:
    connection.execute(
        text(
            "INSERT INTO notice (kind, subject, sequence, subscription_id, phone, language, text, encoding, "
            "segments, priority, send_from, send_until, validity_minutes) VALUES "
            "('bill', :subject, 1, 1, '+21620000000', 'fr', 'x', 'gsm7', 1, 5, now(), now(), 60)"
        ),
        {"subject": subject},
    )


def path_to(state: State, attempts: int) -> list[State]:
    """Return a way from planned to a state, over allowed moves only."""
    ways = [[State.PLANNED]]
    for way in ways:
        if way[-1] is state:
            return way[1:]
        ways += [[*way, new] for new in State if may_move(way[-1], new, attempts=attempts) and new not in way]
    raise AssertionError(f"no way leads to {state}")


@pytest.mark.parametrize("attempts", [0, 1])
def test_the_database_refuses_exactly_what_the_state_machine_forbids(database, attempts):
    begun = text("UPDATE notice SET attempts = :attempts WHERE subject = :subject")
    move = text("UPDATE notice SET state = :state WHERE subject = :subject")
    for old, new in itertools.product(State, State):
        subject = f"{old}-{new}"
        with begin() as connection:
            plan_notice(connection, subject)
            connection.execute(begun, {"attempts": attempts, "subject": subject})
            for state in path_to(old, attempts):
                connection.execute(move, {"state": state, "subject": subject})
        if old is new or may_move(old, new, attempts=attempts):
            with begin() as connection:
                connection.execute(move, {"state": new, "subject": subject})
        else:
            with pytest.raises(IntegrityError, match="may not go from"), begin() as connection:
                connection.execute(move, {"state": new, "subject": subject})


def test_a_notice_begins_as_planned(database):
    with pytest.raises(IntegrityError, match="begins as planned"), begin() as connection:
        connection.execute(
            text(
                "INSERT INTO notice (kind, subject, sequence, subscription_id, language, encoding, segments, "
                "priority, send_from, send_until, validity_minutes, state) VALUES "
                "('bill', 'A2', 1, 1, 'fr', 'gsm7', 1, 5, now(), now(), 60, 'delivered')"
            )
        )


def open_case(connection, number: str) -> None:
    connection.execute(
        text(
            "INSERT INTO cutoff_case (invoice_number, cycle_id, subscription_id, customer_reference, "
            "district, revision, notice_id, amount_due_millimes, issue_date, due_date, warn_from) "
            "VALUES (:number, 1, 1, '000000001', 'TUN1', 0, uuidv7(), 12500, '2026-05-20', '2026-06-25', "
            "'2026-06-30')"
        ),
        {"number": number},
    )


def test_the_database_refuses_exactly_what_the_machine_of_cases_forbids(database):
    move = text("UPDATE cutoff_case SET state = :state WHERE invoice_number = :number")
    for old, new in itertools.product(CaseState, CaseState):
        number = f"{old}-{new}"
        ways = [[CaseState.SCHEDULED]]
        for way in ways:
            if way[-1] is old:
                break
            ways += [[*way, after] for after in CaseState if case_may_move(way[-1], after)]
        with begin() as connection:
            open_case(connection, number)
            for state in way[1:]:
                connection.execute(move, {"state": state, "number": number})
        if old is new or case_may_move(old, new):
            with begin() as connection:
                connection.execute(move, {"state": new, "number": number})
        else:
            with pytest.raises(IntegrityError, match="may not go from"), begin() as connection:
                connection.execute(move, {"state": new, "number": number})


def raise_charge(connection, subscription: int, first: ChargeState) -> None:
    connection.execute(
        text(
            "INSERT INTO fee_charge (subscription_id, customer_reference, period_start, period_end, "
            "amount_millimes, rules_version, state, state_since) VALUES (:subscription, '000000001', "
            "'2027-05-10', '2028-05-09', 1000, '2026-1', :state, now())"
        ),
        {"subscription": subscription, "state": first},
    )


def test_the_database_refuses_exactly_what_the_machine_of_charges_forbids(database):
    move = text("UPDATE fee_charge SET state = :state, owed_millimes = :owed WHERE subscription_id = :of")
    for of, (old, new) in enumerate(itertools.product(ChargeState, ChargeState)):
        ways = [[first] for first in ChargeState if first in FIRST]
        for way in ways:
            if way[-1] is old:
                break
            ways += [[*way, after] for after in ChargeState if charge_may_move(way[-1], after)]
        with begin() as connection:
            raise_charge(connection, of, way[0])
            for state in way[1:]:
                connection.execute(move, {"state": state, "owed": 1000 * (state in OWED), "of": of})
        values = {"state": new, "owed": 1000 * (new in OWED), "of": of}
        if old is new or charge_may_move(old, new):
            with begin() as connection:
                connection.execute(move, values)
        else:
            with pytest.raises(IntegrityError, match="may not go from"), begin() as connection:
                connection.execute(move, values)


@pytest.mark.parametrize("state", sorted(set(ChargeState) - FIRST))
def test_a_charge_begins_as_announced_or_waived(database, state):
    with pytest.raises(IntegrityError, match="begins as announced or waived"), begin() as connection:
        raise_charge(connection, 1, state)
