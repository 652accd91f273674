"""Enrolment by coupon in real Airflow: a batch is taken, judged and welcomed by itself; clerks correct it."""

from __future__ import annotations

import csv
import re
from typing import TYPE_CHECKING, Any

import openpyxl
import pytest

from tests.coupons import coupon, crossed, write_coupons, write_customers
from tests.e2e.running import eventually
from tests.e2e.story import Story, beginning

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

WELCOME = "welcome_messages"
CYCLE = "welcome-2026-05-20"
REACHED, WRONG_NUMBER, TWO_NUMBERS, UNSIGNED, CROSSED_OUT = range(1, 6)
ALL = (REACHED, WRONG_NUMBER, TWO_NUMBERS, UNSIGNED, CROSSED_OUT)


def reference(customer: int) -> str:
    """Return a customer's reference: zeros in front, which spreadsheets like to lose."""
    return f"{customer:09d}"


def phone(customer: int, *, works: bool = True) -> str:
    """Return a customer's number. The sandbox delivers by the last digit."""
    return f"+2162000{customer}00{0 if works else 1}"


class Coupons(Story):
    """What happens to them, step by step."""

    def a_batch_lands(self) -> None:
        """Let the register land, and a workbook of coupons; wait until its messages have their last words."""
        register = {reference(customer): "open" for customer in ALL}
        write_customers("c-0520", register, folder=self.landing / "customers" / "c-0520")
        self.land(
            "b-0520",
            coupon("K1", reference(REACHED), phone=phone(REACHED), language="fr"),
            coupon("K2", reference(WRONG_NUMBER), phone=phone(WRONG_NUMBER, works=False)),
            coupon("K3", reference(TWO_NUMBERS), phone=phone(TWO_NUMBERS)),
            coupon("K4", reference(TWO_NUMBERS), phone=phone(6)),
            coupon("K5", reference(UNSIGNED), phone=phone(UNSIGNED), signed="false", signed_on=""),
            coupon("K6", reference(CROSSED_OUT), phone=phone(CROSSED_OUT)),
        )
        self.proven(REACHED, CROSSED_OUT)
        self.seen["first"] = self.subscriptions()
        self.seen["unreachable"] = self.listed("unreachable.csv")

    def clerks_answer(self) -> None:
        """Take the corrections back, a coupon with the right number, and one that was crossed out."""
        self.seen["corrections"] = self.listed("corrections.csv")
        path = self.running.folder / "back.xlsx"
        book = openpyxl.load_workbook(self.lists / "corrections.xlsx")
        names = [cell.value for cell in book.active[1]]
        for row in book.active.iter_rows(min_row=2):
            cells = dict(zip(names, row, strict=True))
            if cells["coupon_id"].value == "K5":
                cells["signed"].value, cells["signed_on"].value = "true", "2026-05-02"
            elif cells["coupon_id"].value == "K4":
                cells["phone"].value = phone(TWO_NUMBERS)
        book.save(path)
        self.seen["told"] = self.running.command("coupons", "correct", str(path), "--by", "A. B.")
        self.land(
            "b-0521",
            coupon("K7", reference(WRONG_NUMBER), phone=phone(WRONG_NUMBER), signed_on="2026-05-19"),
            crossed("K6", reference(CROSSED_OUT)),
        )
        self.proven(REACHED, WRONG_NUMBER, TWO_NUMBERS, UNSIGNED)

    # --- Doing and looking

    @property
    def lists(self) -> Path:
        """Where the clerks' lists are."""
        return self.running.folder / "var" / "enrolment"

    def land(self, batch: str, *rows: dict[str, Any]) -> None:
        """Let a batch of captured coupons land, as a workbook."""
        write_coupons(batch, rows, folder=self.landing / "coupons" / batch, part="coupons.xlsx")

    def proven(self, *customers: int) -> None:
        """Wait until these and no others are known to be reached, and all runs that welcome are over."""
        wanted = set(customers)
        eventually(lambda: {who for who, (*_, proven) in self.subscriptions().items() if proven} == wanted)
        for one in self.running.stack.api.runs(WELCOME):
            self.ended(WELCOME, one["dag_run_id"])

    def listed(self, name: str) -> list[dict[str, str]]:
        """Return the rows of a list."""
        with (self.lists / name).open(encoding="utf-8-sig", newline="") as file:
            return list(csv.DictReader(file))

    def subscriptions(self) -> dict[int, tuple[str, str | None, bool]]:
        """Return what is subscribed, by customer: the state, its reason, and whether the number is proven."""
        rows = self.running.query(
            "SELECT customer_reference, state, state_reason, proven_at IS NOT NULL FROM subscription "
            "WHERE state <> 'ended'"
        )
        return {int(customer): tuple(told) for customer, *told in rows}


def settings_of(_: Path) -> dict[str, str]:
    """Return the settings of the stack: it looks for coupons often, and for nothing else."""
    return {"FATOURA_ENROLMENT_POLL": "3", "FATOURA_LANDING_POLL": "P1D"}


@pytest.fixture(scope="module")
def story() -> Iterator[Coupons]:
    """Live through it all."""
    with beginning(Coupons, "enrolment", settings_of) as story:
        story.live(story.a_batch_lands, story.clerks_answer)
        yield story


def test_a_welcome_that_arrives_proves_the_number_and_one_that_does_not_suspends(story):
    assert story.seen["first"] == {
        REACHED: ("active", None, True),
        WRONG_NUMBER: ("suspended", "number_unreachable", False),
        CROSSED_OUT: ("active", None, True),
    }
    (row,) = story.seen["unreachable"]
    assert (row["customer_reference"], row["phone"], row["coupon_id"], row["message_state"]) == (
        reference(WRONG_NUMBER),
        phone(WRONG_NUMBER, works=False),
        "K2",
        "undeliverable",
    )


def test_what_needs_a_clerk_is_in_the_file_and_what_was_mended_is_enrolled(story):
    assert [(row["coupon_id"], row["reasons"]) for row in story.seen["corrections"]] == [
        ("K5", "signed: not_signed"),
        ("K3", "conflicting_coupons"),
        ("K4", "conflicting_coupons"),
    ]
    assert "1 row(s) were not touched" in story.seen["told"]
    eventually(lambda: story.listed("corrections.csv") == [])
    assert story.listed("unreachable.csv") == []
    reached = (REACHED, WRONG_NUMBER, TWO_NUMBERS, UNSIGNED)
    assert story.subscriptions() == dict.fromkeys(reached, ("active", None, True))


def test_each_consent_is_on_record_with_its_evidence_and_so_is_its_end(story):
    rows = story.running.query(
        "SELECT customer_reference, act, wording_version, evidence FROM consent "
        "ORDER BY customer_reference, id"
    )
    assert [(int(customer), act, wording, evidence) for customer, act, wording, evidence in rows] == [
        (REACHED, "given", "2026-1", "scan-K1 of coupon K1"),
        (WRONG_NUMBER, "given", "2026-1", "scan-K2 of coupon K2"),
        (WRONG_NUMBER, "changed", "2026-1", "scan-K7 of coupon K7"),
        (TWO_NUMBERS, "given", "2026-1", "scan-K3 of coupon K3"),
        (UNSIGNED, "given", "2026-1", "scan-K5 of coupon K5"),
        (CROSSED_OUT, "given", "2026-1", "scan-K6 of coupon K6"),
        (CROSSED_OUT, "revoked", None, "scan-K6 of coupon K6"),
    ]


def test_each_number_is_welcomed_once_in_its_customer_s_language(story):
    rows = story.running.query(
        "SELECT n.phone, n.language, n.state FROM notice n JOIN cycle c ON c.id = n.cycle_id "
        "WHERE c.key = %s ORDER BY n.phone",
        "fatoura",
        CYCLE,
    )
    assert rows == [
        (phone(REACHED), "fr", "delivered"),
        (phone(WRONG_NUMBER), "ar", "delivered"),
        (phone(WRONG_NUMBER, works=False), "ar", "undeliverable"),
        *((phone(customer), "ar", "delivered") for customer in (TWO_NUMBERS, UNSIGNED, CROSSED_OUT)),
    ]
    assert set(story.running.accepted().values()) == {1}


def test_no_log_and_no_xcom_holds_a_number(story):
    logs = (story.running.folder / "var" / "logs").rglob("*.log*")
    held = [file.read_text(errors="replace") for file in logs]
    held += [value or "" for (value,) in story.running.query("SELECT value::text FROM xcom", "airflow")]
    assert sum(map(len, held)) > 10_000
    for text in held:
        assert not re.search(r"2000[1-6]00[01](?!\d)", text)
        assert not any(re.search(rf"(?<!\d){reference(customer)}(?!\d)", text) for customer in ALL)
