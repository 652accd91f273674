"""Whole lives of subscriptions in real Airflow: coupon, welcome, bill, fee announced, charged, paid, refused.

Three customers sign a coupon on the same day. One pays the yearly fee; one refuses, lapses, and pays after
all; one neither pays nor refuses, lapses, and signs again. The clock is moved through half a year.
"""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from fatoura.cycles.keys import ExtractKey
from tests.coupons import coupon, write_coupons, write_customers
from tests.deliveries import deliver, record
from tests.e2e.running import eventually
from tests.e2e.story import Story, beginning
from tests.fees import answer, write_answers
from tests.payments import payment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500)]

ENROLMENT, WELCOME, FEES, FEEDS, NEWS, WARNINGS = (
    "enrolment_intake",
    "welcome_messages",
    "annual_fee_renewals",
    "payment_feeds",
    "payment_confirmations",
    "cutoff_warnings",
)
PAYS, REFUSES, SIGNS_AGAIN = range(1, 4)
ALL = (PAYS, REFUSES, SIGNS_AGAIN)
FEE = 1_000
DUE = "2026-09-28"


def phone_of(number: int) -> str:
    """Return a customer's number: messages to it arrive."""
    return f"+2162000{number}000"


class Subscribers(Story):
    """What happens to them, step by step."""

    def coupons(self, batch: str, *numbers: int, signed_on: str) -> None:
        """Let a batch of captured coupons land."""
        rows = [
            coupon(
                f"{batch}-{number}",
                f"{number:09d}",
                phone=phone_of(number),
                language=("ar", "fr")[number % 2],
                signed_on=signed_on,
            )
            for number in numbers
        ]
        write_coupons(batch, rows, folder=self.landing / "coupons" / batch)

    def bills(self, cycle: str, issued: str, due: str, first: int) -> None:
        """Land an extract with a bill of each customer, and run its cycle."""
        delivered = deliver(
            ExtractKey.parse(cycle),
            [
                record(first + number, customer_reference=f"{number:09d}", issue_date=issued, due_date=due)
                for number in ALL
            ],
            issue_date=issued,
        )
        self.running.land(cycle, delivered)
        self.run("billing_cycle", cycle, {"cycle": cycle})

    def answered(self, feed: str, **results: str) -> None:
        """Let answers of the billing system land, complete until now: by charge, what became of it."""
        now = self.clock.read()
        rows = [
            answer(charge, result, FEE, at=now.isoformat("T", "seconds"))
            for charge, result in results.items()
        ]
        write_answers(feed, rows, until=now, folder=self.landing / "fee_results" / feed)

    def news(self, day: str) -> None:
        """Wait until the news of a day has left by itself, and arrived."""
        eventually(lambda: set(self.states_of(f"subscription-news-{day}")) == {"delivered"})
        for one in self.running.stack.api.runs(NEWS):
            self.ended(NEWS, one["dag_run_id"])

    # --- The steps

    def they_sign_coupons(self) -> None:
        """Take in the register and the coupons; each number is welcomed by itself."""
        register = {f"{number:09d}": "open" for number in ALL}
        write_customers("c-0520", register, folder=self.landing / "customers" / "c-0520")
        self.coupons("b-0520", *ALL, signed_on="2026-05-12")
        self.run(ENROLMENT)
        (welcome,) = eventually(lambda: self.running.stack.api.runs(WELCOME))
        self.ended(WELCOME, welcome["dag_run_id"])
        self.seen["proven"] = self.subscriptions("proven_at IS NOT NULL")

    def they_are_told_of_a_bill_and_pay_it(self) -> None:
        """Send the first bill."""
        self.bills("2026-05-T1", "2026-05-20", "2026-06-24", first=100)
        self.begin("2026-05-29", "10:00")
        paid = self.clock.read().isoformat("T", "seconds")
        self.feed(
            "p-0529", *(payment(f"P{number}", f"F{100 + number:06d}", 90_000, paid_at=paid) for number in ALL)
        )
        self.run(FEEDS)

    def the_fee_is_announced(self) -> None:
        """Announce in June what is charged in July."""
        self.begin("2026-06-01", "10:00")
        self.run(FEES, "announced")
        self.seen["announced"] = self.charges("state, period_start::text, amount_millimes")

    def it_is_charged(self) -> None:
        """Write the file for the billing system."""
        self.begin("2026-07-01", "10:00")
        self.run(FEES, "charged")
        self.seen["charged"] = self.charges("state, grace_until::text")

    def one_is_refused_and_one_is_paid(self) -> None:
        """Take the billing system's answers back."""
        self.begin("2026-07-06", "11:00")
        self.answered("2026-07-06", F1="accepted", F2="refused", F3="accepted")
        self.run(FEEDS)
        self.begin("2026-07-20", "11:00")
        self.answered("2026-07-20", F1="paid")
        self.run(FEEDS)
        self.news("2026-07-20")
        self.seen["answered"] = self.charges("state")
        self.seen["in July"] = self.subscriptions("true", "state, paid_until::text")

    def another_bill_is_not_paid_by_who_refused(self) -> None:
        """Send a bill in September; all but one pay it."""
        self.begin("2026-09-01", "10:00")
        self.bills("2026-09-T1", "2026-09-01", DUE, first=200)

    def two_lapse(self) -> None:
        """Nothing of a fee was paid within its grace."""
        self.begin("2026-10-01", "10:00")
        self.answered("2026-10-01")
        self.run(FEES, "lapsed")
        self.seen["lapsed"] = self.subscriptions("true", "state, state_reason")

    def who_has_lapsed_is_warned_of_what_it_was_told_and_told_of_nothing_new(self) -> None:
        """Warn of the September bill; then a new one comes."""
        self.begin("2026-10-05", "10:00")
        paid = self.clock.read().isoformat("T", "seconds")
        self.feed(
            "p-1005",
            *(
                payment(f"Q{number}", f"F{200 + number:06d}", 90_000, paid_at=paid)
                for number in (PAYS, SIGNS_AGAIN)
            ),
        )
        self.run(WARNINGS)
        self.begin("2026-10-06", "10:00")
        self.bills("2026-10-T1", "2026-10-06", "2026-11-03", first=300)

    def both_come_back(self) -> None:
        """One pays late; one signs another coupon, with another language and number."""
        self.begin("2026-11-19", "11:00")
        self.answered("2026-11-19", F2="paid")
        self.run(FEEDS)
        self.news("2026-11-19")
        self.coupons("b-1119", SIGNS_AGAIN, signed_on="2026-11-19")
        self.run(ENROLMENT)
        self.run(FEEDS)
        self.begin("2026-12-01", "10:00")
        self.run(FEES, "december")

    def one_leaves_and_time_goes_by(self) -> None:
        """Let the one who paid leave; the nights of a winter erase what is kept no longer."""
        self.running.command(
            "subscribers", "leave", f"{PAYS:09d}", "--evidence", "letter 17", "--by", "A. Clerk"
        )
        self.seen["ledgers"] = self.ledgers()
        self.begin("2027-03-09", "10:00")
        self.run("retention")

    # --- Looking

    def ledgers(self) -> list[dict[str, Any]]:
        """Return the ledgers of all bills."""
        return [self.running.ledger(cycle) for cycle in ("2026-05-T1", "2026-09-T1", "2026-10-T1")]

    def subscriptions(self, where: str, columns: str = "state") -> dict[int, Any]:
        """Return the current subscriptions, by customer."""
        rows = self.running.query(
            f"SELECT customer_reference, {columns} FROM subscription WHERE state <> 'ended' AND {where}"
        )
        return {
            int(reference): tuple(values) if len(values) > 1 else values[0] for reference, *values in rows
        }

    def charges(self, columns: str) -> dict[str, Any]:
        """Return the charges, by their ids."""
        rows = self.running.query(f"SELECT 'F' || id, {columns} FROM fee_charge ORDER BY id")
        return {charge: tuple(values) if len(values) > 1 else values[0] for charge, *values in rows}

    def messages(self, number: int) -> list[tuple[str, str]]:
        """Return what a customer was told: the kind, and what became of it; the first message first."""
        return self.running.query(
            "SELECT n.kind, n.state FROM notice n JOIN subscription s ON s.id = n.subscription_id "
            "WHERE s.customer_reference = %s ORDER BY n.planned_at, n.id",
            "fatoura",
            f"{number:09d}",
        )

    def file(self, name: str) -> tuple[list[dict[str, str]], dict[str, Any]]:
        """Return a file for the billing system: its rows, and its manifest."""
        folder = self.running.folder / "var" / "outbox" / "fees" / name
        with (folder / "charges.csv").open(encoding="utf-8", newline="") as stream:
            return list(csv.DictReader(stream)), json.loads((folder / "manifest.json").read_text())


def settings_of(folder: Path) -> dict[str, str]:
    """Return the settings of the stack: what looks by itself does so by hand, since looks take time."""
    return {
        "FATOURA_LANDING_POLL": "P1D",
        "FATOURA_ENROLMENT_POLL": "P1D",
        # Logs are as old as the machine says, and looked at when all is over.
        "FATOURA_KEEP_LOGS": "P36500D",
    }


@pytest.fixture(scope="module")
def story() -> Iterator[Subscribers]:
    """Live through it all."""
    with beginning(Subscribers, "subscriptions", settings_of) as story:
        story.live(
            story.they_sign_coupons,
            story.they_are_told_of_a_bill_and_pay_it,
            story.the_fee_is_announced,
            story.it_is_charged,
            story.one_is_refused_and_one_is_paid,
            story.another_bill_is_not_paid_by_who_refused,
            story.two_lapse,
            story.who_has_lapsed_is_warned_of_what_it_was_told_and_told_of_nothing_new,
            story.both_come_back,
            story.one_leaves_and_time_goes_by,
        )
        yield story


def test_a_coupon_begins_a_subscription_and_its_welcome_message_proves_the_number(story):
    assert story.seen["proven"] == dict.fromkeys(ALL, "active")
    ((early,),) = story.running.query(
        "SELECT count(*) FROM notice n JOIN subscription s ON s.id = n.subscription_id "
        "WHERE n.kind = 'welcome' AND s.proven_at < n.submitted_at"
    )
    assert early == 0
    evidence = story.running.query("SELECT act, channel, evidence, wording_version FROM consent ORDER BY id")
    assert evidence[:3] == [
        ("given", "coupon", f"scan-b-0520-{number} of coupon b-0520-{number}", "2026-1") for number in ALL
    ]


def test_the_fee_is_announced_before_it_is_charged_once_and_told_in_one_file(story):
    assert story.seen["announced"] == dict.fromkeys(("F1", "F2", "F3"), ("announced", "2026-05-20", FEE))
    assert story.seen["charged"] == dict.fromkeys(("F1", "F2", "F3"), ("filed", "2026-09-29"))
    rows, manifest = story.file("2026-07-01-1")
    assert [(row["charge_id"], row["customer_reference"], row["amount_millimes"]) for row in rows] == [
        (f"F{number}", f"{number:09d}", str(FEE)) for number in ALL
    ]
    assert (manifest["rows"], manifest["total_charged_millimes"]) == (3, 3 * FEE)


def test_who_pays_is_renewed_and_told_each_thing_once(story):
    assert story.seen["in July"][PAYS] == ("active", "2027-05-19")
    assert story.messages(PAYS) == [
        ("welcome", "delivered"),
        ("bill", "delivered"),
        ("fee_announced", "delivered"),
        ("subscription_renewed", "delivered"),
        ("bill", "delivered"),
        ("bill", "delivered"),
    ]


def test_who_does_not_pay_lapses_when_the_grace_is_over_and_not_before(story):
    assert story.seen["answered"] == {"F1": "paid", "F2": "refused", "F3": "accepted"}
    assert {state for state, _ in story.seen["in July"].values()} == {"active"}
    assert story.seen["lapsed"] == {
        PAYS: ("active", None),
        REFUSES: ("lapsed", "fee_refused"),
        SIGNS_AGAIN: ("lapsed", "fee_unpaid"),
    }


def test_who_has_lapsed_gets_no_new_bill_but_is_still_warned_before_a_cut(story):
    assert story.messages(REFUSES) == [
        ("welcome", "delivered"),
        ("bill", "delivered"),
        ("fee_announced", "delivered"),
        ("bill", "delivered"),
        ("subscription_lapsed", "delivered"),
        ("cutoff_warning", "delivered"),
        ("subscription_renewed", "delivered"),
    ]
    ledger = story.running.ledger("2026-10-T1")
    assert (ledger["extracted"], ledger["noticed"], ledger["identity_holds"]) == (3, 1, True)
    reasons = story.running.query(
        "SELECT customer_reference, reason FROM invoice WHERE reason IS NOT NULL ORDER BY 1"
    )
    assert reasons == [(f"{number:09d}", "subscription_lapsed") for number in (REFUSES, SIGNS_AGAIN)]


def test_who_pays_late_comes_back_for_a_whole_year_and_keeps_the_history(story):
    assert story.subscriptions("true", "state, began_on::text, paid_until::text")[REFUSES] == (
        "active",
        "2026-11-19",
        "2027-11-18",
    )
    assert story.charges("lapsed_on IS NOT NULL")["F2"] is True
    told = story.running.command("fees", "show", "F2")
    for word in ("announced", "does not pay it", "lapsed", "paid"):
        assert word in told


def test_who_signs_again_comes_back_the_old_fee_is_withdrawn_and_the_new_one_announced(story):
    assert story.subscriptions("true", "state, began_on::text")[SIGNS_AGAIN] == ("active", "2026-11-19")
    assert story.charges("state, period_start::text")["F3"] == ("withdrawn", "2026-05-20")
    assert story.charges("state, period_start::text")["F4"] == ("announced", "2026-11-19")
    ((row,), _) = story.file("2026-12-01-1")
    assert (row["charge_id"], row["kind"], row["amount_millimes"]) == ("F3", "credit", str(FEE))
    assert [kind for kind, _ in story.messages(SIGNS_AGAIN)][-2:] == ["subscription_lapsed", "fee_announced"]


def test_the_books_balance(story):
    balance = json.loads(story.running.command("fees", "balance", "--json"))
    assert balance["agree"] is True
    assert {account: amount for account, amount in balance["accounts"].items() if amount} == {
        "collected": 2 * FEE,
        "given_up": FEE,
        "income": -3 * FEE,
    }


def test_each_message_left_once_by_day(story):
    assert set(story.running.accepted().values()) == {1}
    assert Counter(state for (state,) in story.running.query("SELECT state FROM notice")) == {
        "delivered": len(story.running.accepted())
    }
    times = [story.clock.read(request["at"]) for request in story.running.requests()]
    assert {one.hour for one in times} <= set(range(8, 20))


def test_what_is_kept_no_longer_is_gone_and_the_ledgers_say_the_same(story):
    assert story.ledgers() == story.seen["ledgers"]
    phones = story.running.query(
        "SELECT state, phone IS NULL FROM subscription ORDER BY customer_reference, id"
    )
    assert phones == [("ended", True), ("active", False), ("active", False)]
    ((without, within),) = story.running.query(
        "SELECT count(*) FILTER (WHERE final_at < '2026-09-01' AND text IS NOT NULL), "
        "count(*) FILTER (WHERE final_at > '2026-10-01' AND text IS NULL) FROM notice"
    )
    assert (without, within) == (0, 0)
    acts = story.running.query(
        "SELECT act, channel, evidence FROM consent WHERE customer_reference = %s ORDER BY id",
        "fatoura",
        f"{PAYS:09d}",
    )
    assert acts[1:] == [("revoked", "clerk", "letter 17")]


def test_the_month_has_its_page_which_the_run_leads_to(story):
    api = story.running.stack.api
    links = api._request("GET", f"/dags/{FEES}/dagRuns/{story.runs['december']}/taskInstances/report/links")
    address = links["extra_links"]["Report"]
    page = api._session.get(address, timeout=10)
    assert page.status_code == 200
    assert "2026" in page.text


def test_no_log_and_no_xcom_holds_a_number(story):
    national = {phone_of(number).removeprefix("+216") for number in ALL}
    held = [
        file.read_text(errors="replace") for file in (story.running.folder / "var" / "logs").rglob("*.log*")
    ]
    held += [value or "" for (value,) in story.running.query("SELECT value::text FROM xcom", "airflow")]
    assert sum(map(len, held)) > 10_000
    assert not [text for text in held if set(re.findall(r"(?:216|(?<!\d))(\d{8})(?!\d)", text)) & national]
