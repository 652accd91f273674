"""Whole lives of bills in real Airflow: told, due, warned or not, paid late, handed over. The clock is moved.

One stack lives through eight weeks in some minutes; what became of each bill is then looked at life by life.
Feeds land as files, and runs are started as an operator starts them, but for those that start by themselves.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from fatoura.cycles.keys import ExtractKey
from fatoura.settings import get_settings
from fatoura.stack import processes
from fatoura.stack.local import URGENT_POOL
from tests.deliveries import deliver, record
from tests.e2e.running import eventually
from tests.e2e.story import Story, beginning
from tests.payments import fact, payment, reversal, write_facts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

WARNINGS, HANDOVER, FEEDS, CONFIRMATIONS = (
    "cutoff_warnings",
    "cutoff_handover",
    "payment_feeds",
    "payment_confirmations",
)
CYCLE = "2026-05-T1"
AMOUNT = 85_352
MOST_A_DAY = 8

# Customers by what becomes of them. The sandbox delivers by the last digit of the phone.
UNPAID, PAID_IN_THE_NIGHT, LATE_PAYER, UNDELIVERED, NO_RECEIPT, PAID_AFTER_HANDOVER, PART_PAYER = range(1, 8)
BOUNCED, PAID_WHILE_PLANNED, PAID_WHILE_CLAIMED = range(8, 11)
ON_PLAN, PAYS_EARLY = 11, range(12, 31)
KILLED = range(31, 37)
OLD_DEBTS = range(1, 7)
"""These are due first."""
_LAST_DIGIT = {UNDELIVERED: 1, NO_RECEIPT: 7}


def invoice(customer: int) -> str:
    """Return the number of a customer's bill."""
    return f"F{customer:06d}"


def customer(number: str) -> int:
    """Return whose bill a number is."""
    return int(number.removeprefix("F"))


class Bills(Story):
    """What happens to them, step by step."""

    def pays(self, customer: int, millimes: int = AMOUNT) -> dict[str, Any]:
        """Return a payment of now."""
        return payment(
            f"P{customer}", invoice(customer), millimes, paid_at=self.clock.read().isoformat("T", "seconds")
        )

    def confirmed(self, runs: int) -> None:
        """Wait until so many runs that tell of payments have started by themselves, and all are over."""
        api = self.running.stack.api
        eventually(lambda: len(api.runs(CONFIRMATIONS)) >= runs)
        for one in api.runs(CONFIRMATIONS):
            self.ended(CONFIRMATIONS, one["dag_run_id"])

    def slots(self, number: int) -> None:
        """Set how many tasks may send what is urgent."""
        self.running.stack.api._request(
            "PATCH",
            f"/pools/{URGENT_POOL}",
            params={"update_mask": ["slots"]},
            json={"pool": URGENT_POOL, "slots": number, "include_deferred": False},
        )

    # --- The steps

    def bills_are_told(self) -> None:
        """Land the extract, and let its cycle run to its end but for a receipt that never comes."""
        folder = self.running.folder
        subscribers = folder / "subscribers.csv"
        with subscribers.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["customer_reference", "phone", "language", "channel", "consent_date"])
            for number in [*range(1, 31), *KILLED]:
                digit = _LAST_DIGIT.get(number, 0)
                writer.writerow(
                    [
                        f"{number:09d}",
                        f"+216200{number:04d}{digit}",
                        ("ar", "fr")[number % 2],
                        "coupon",
                        "2026-01-01",
                    ]
                )
        self.running.command("subscribers", "import", str(subscribers))
        dues = dict.fromkeys(OLD_DEBTS, "2026-06-23") | dict.fromkeys(KILLED, "2026-07-03")
        delivered = deliver(
            ExtractKey.parse(CYCLE),
            [
                record(number, amount_due_millimes=AMOUNT, due_date=dues.get(number, "2026-06-25"))
                for number in [*range(1, 31), *KILLED]
            ],
        )
        self.running.land(CYCLE, delivered)
        run_id = self.running.stack.api.trigger("billing_cycle", {"cycle": CYCLE})
        eventually(lambda: self.sent() == 36)
        self.begin("2026-05-24")
        assert self.running.finished(run_id) == "success", self.running.states(run_id)

    def a_feed_is_late(self) -> None:
        """Let all channels be complete but the post's: nobody is warned."""
        self.begin("2026-06-25", "18:00")
        write_facts(
            "f-0625",
            [fact("X1", f"{ON_PLAN:09d}", "payment_plan")],
            folder=self.landing / "facts" / "f-0625",
        )
        self.feed("p-0625", *(self.pays(number) for number in PAYS_EARLY))
        self.begin("2026-06-30")
        self.feed("p-0630a", stale="2026-06-26T18:00:00+01:00")
        before = self.sent()
        run_id = self.run(WARNINGS, "first", ends="failed")
        self.seen["stale log"] = self.running.log(run_id, "check_feeds", dag_id=WARNINGS)
        self.seen["stale states"] = self.running.states(run_id, dag_id=WARNINGS)
        self.seen["stale tries"] = self.running.task(run_id, "check_feeds", dag_id=WARNINGS)["try_number"]
        self.seen["sent while stale"] = self.sent() - before

    def it_comes_and_the_day_is_caught_up(self) -> None:
        """Deliver what was missing, and clear the task as its message says."""
        self.feed("p-0630b")
        self.run(FEEDS)
        self.running.begin_again(self.runs["first"], "check_feeds", dag_id=WARNINGS)
        # One of them never gets a receipt: the run waits for it without a worker.
        reminders = len(KILLED)
        awaited = Counter(delivered=MOST_A_DAY - 2 + reminders, undeliverable=1, accepted=1)
        eventually(lambda: self.states_of("cutoff-2026-06-30") == awaited)

    def payments_come_between_plan_and_claim(self) -> None:
        """Hold the senders back while two customers pay: one is taken up at once, one only when claimed."""
        self.begin("2026-07-01")
        self.slots(0)
        self.feed("p-0701a")
        run_id = self.start(WARNINGS, "second")
        eventually(lambda: self.running.states(run_id, dag_id=WARNINGS)["plan"] == "success")
        self.feed("p-0701b", self.pays(PAID_WHILE_PLANNED))
        self.run(FEEDS)
        self.feed("p-0701c", self.pays(PAID_WHILE_CLAIMED))
        self.running.command("payments", "take")
        self.seen["planned"] = self.states_of("cutoff-2026-07-01")
        self.slots(4)
        for run in ("second", "first"):
            self.ended(WARNINGS, self.runs[run])

    def some_pay_late(self) -> None:
        """Two pay in full after their warning and one a part; who has paid in full is told so."""
        self.begin("2026-07-02", "10:00")
        self.feed("p-0702", self.pays(LATE_PAYER), self.pays(BOUNCED), self.pays(PART_PAYER, 20_000))
        self.run(FEEDS)
        self.confirmed(1)

    def a_sender_dies(self) -> None:
        """Kill the process of a send task between claim and outcome; clear other runs' tasks meanwhile."""
        self.begin("2026-07-08")
        self.running.command("gateway", "set", "fatoura_sms", "--rate", "1")
        self.feed("p-0708")
        before = self.sent()
        run_id = self.start(WARNINGS, "killed")
        eventually(lambda: self.sent() > before)
        self.seen["killed"] = self.kill_senders(run_id)
        self.running.command("gateway", "set", "fatoura_sms", "--rate", "200")
        self.seen["before clearing"] = self.everything()
        # While Airflow waits before it tries the dead one's task again.
        tasks = [task["task_id"] for task in self.running.stack.api.tasks(WARNINGS, self.runs["second"])]
        with ThreadPoolExecutor(2) as both:
            list(
                both.map(lambda run: self.clear_each(self.runs[run], sorted(set(tasks))), ("first", "second"))
            )
        self.seen["after clearing"] = self.everything()
        self.ended(WARNINGS, run_id)

    def kill_senders(self, run_id: str) -> int:
        """Kill the processes in which a run's senders work; return how many."""
        tasks = self.running.stack.api.tasks(WARNINGS, run_id)
        titles = {f"airflow worker -- {task['id']}" for task in tasks if task["task_id"] == "send"}
        found = [
            process
            for process in processes.marked(self.running.stack.environment.mark)
            if (process.cmdline() or [""])[0] in titles
        ]
        for process in found:
            process.kill()
        return len(found)

    def clear_each(self, run_id: str, tasks: list[str]) -> None:
        """Clear each task of a finished run, one after the other."""
        for task_id in tasks:
            self.running.clear(run_id, task_id, dag_id=WARNINGS)

    def the_day_comes_near(self) -> None:
        """Warn a second time; a cheque has bounced meanwhile."""
        self.begin("2026-07-09")
        self.feed(
            "p-0709",
            reversal(
                "R1",
                f"P{BOUNCED}",
                invoice(BOUNCED),
                AMOUNT,
                paid_at=self.clock.read().isoformat("T", "seconds"),
            ),
        )
        self.run(WARNINGS, "third")

    def what_stands_is_handed_over(self) -> None:
        """Refuse the list on yesterday's knowledge; make it once the morning's feed has come."""
        self.begin("2026-07-13", "07:31")
        run_id = self.run(HANDOVER, "handover", ends="failed")
        self.seen["no list"] = self.running.log(run_id, "hand_over", dag_id=HANDOVER)
        self.feed("p-0713a", self.pays(PAID_IN_THE_NIGHT))
        self.running.begin_again(run_id, "take_feeds", dag_id=HANDOVER)
        self.ended(HANDOVER, run_id)

    def one_pays_after_that(self) -> None:
        """Call back the team from a customer who has paid."""
        self.begin("2026-07-13", "11:00")
        self.feed("p-0713b", self.pays(PAID_AFTER_HANDOVER))
        self.run(FEEDS)
        self.confirmed(2)
        self.begin("2026-07-14", "07:31")
        self.feed("p-0714")
        self.run(HANDOVER)

    # --- Looking

    def everything(self) -> dict[str, Any]:
        """Return what a rerun must not change, but for the run that is under way."""
        return {
            "cases": self.running.query(
                "SELECT invoice_number, sequence, state, reason FROM cutoff_case "
                "WHERE due_date <> '2026-07-03' ORDER BY 1, 2"
            ),
            "decisions": self.running.query("SELECT count(*) FROM cutoff_decision WHERE day < '2026-07-08'"),
            "notices": self.running.query(
                "SELECT n.id, n.state, n.attempts FROM notice n JOIN cycle c ON c.id = n.cycle_id "
                "WHERE c.key <> 'cutoff-2026-07-08' ORDER BY 1"
            ),
            "lists": self.running.query(
                "SELECT l.* FROM cutoff_list_line l JOIN cutoff_list k ON k.id = l.list_id "
                "WHERE k.day < '2026-07-08' ORDER BY 1, 2"
            ),
        }

    def life(self, customer: int, columns: str = "state") -> list[Any]:
        """Return the cases of a customer's bill."""
        return self.running.query(
            f"SELECT {columns} FROM cutoff_case WHERE invoice_number = %s ORDER BY sequence",
            "fatoura",
            invoice(customer),
        )

    def notices(self, customer: int) -> list[tuple[str, int, str]]:
        """Return the messages about a customer's bill: kind, sequence, state."""
        return self.running.query(
            "SELECT kind, sequence, state FROM notice WHERE subject = %s ORDER BY id",
            "fatoura",
            invoice(customer),
        )

    def listed(self, kind: str) -> dict[str, list[int]]:
        """Return whose bills are on the lists of a kind, by day."""
        rows = self.running.query(
            "SELECT k.day::text, l.invoice_number FROM cutoff_list k "
            "JOIN cutoff_list_line l ON l.list_id = k.id WHERE k.kind = %s ORDER BY 1, 2",
            "fatoura",
            kind,
        )
        found: dict[str, list[int]] = {}
        for day, number in rows:
            found.setdefault(day, []).append(customer(number))
        return found


def settings_of(folder: Path) -> dict[str, str]:
    """Return the settings of the stack; the rules allow few warnings a day."""
    text = get_settings().cutoff_rules.read_text(encoding="utf-8")
    assert text.count("most_warnings_a_day: 20_000") == 1
    rules = folder / "rules.yaml"
    rules.write_text(text.replace("most_warnings_a_day: 20_000", f"most_warnings_a_day: {MOST_A_DAY}"))
    return {
        "FATOURA_CUTOFF_RULES": str(rules),
        "FATOURA_LEASE": "8",
        "FATOURA_SETTLE_HORIZON": "40",
        # By hand: looks take time.
        "FATOURA_LANDING_POLL": "P1D",
        "FATOURA_ENROLMENT_POLL": "P1D",
    }


@pytest.fixture(scope="module")
def story() -> Iterator[Bills]:
    """Live through it all."""
    with beginning(Bills, "cutoff", settings_of) as story:
        story.live(
            story.bills_are_told,
            story.a_feed_is_late,
            story.it_comes_and_the_day_is_caught_up,
            story.payments_come_between_plan_and_claim,
            story.some_pay_late,
            story.a_sender_dies,
            story.the_day_comes_near,
            story.what_stands_is_handed_over,
            story.one_pays_after_that,
        )
        yield story


WARNING_KINDS = ("cutoff_warning", "cutoff_second_warning")


def of(kind: str, notices: list[tuple[str, int, str]]) -> list[tuple[int, str]]:
    """Return the messages of one kind: their sequence and state."""
    return [(sequence, state) for one, sequence, state in notices if one == kind]


def test_a_late_feed_stops_the_day_names_its_channel_and_nobody_is_warned(story):
    log, states = story.seen["stale log"], story.seen["stale states"]
    assert "nobody is warned" in log
    assert "post is complete until 2026-06-26 18:00, needed until 2026-06-29 03:3" in log
    assert "counter is complete" not in log
    assert states.pop("take_feeds") == "success"
    assert states.pop("check_feeds") == "failed"
    assert set(states.values()) == {"upstream_failed"}
    assert story.seen["stale tries"] == 1  # what a person must mend is not tried again
    assert story.seen["sent while stale"] == 0


def test_once_it_has_come_all_are_caught_up_the_oldest_first_and_never_too_many_a_day(story):
    rows = story.running.query(
        "SELECT day::text, invoice_number FROM cutoff_decision "
        "WHERE verdict = 'notify' AND notice_kind = ANY(%s) ORDER BY id",
        "fatoura",
        list(WARNING_KINDS),
    )
    days: dict[str, list[int]] = {}
    for day, number in rows:
        days.setdefault(day, []).append(customer(number))
    assert days.pop("2026-06-30") == list(range(1, MOST_A_DAY + 1))
    assert days.pop("2026-07-01") == [PAID_WHILE_PLANNED, PAID_WHILE_CLAIMED]
    assert days.pop("2026-07-08") == list(KILLED)
    assert days == {"2026-07-09": [UNPAID, PAID_IN_THE_NIGHT, PAID_AFTER_HANDOVER, PART_PAYER, BOUNCED]}


def test_all_messages_leave_within_the_window(story):
    times = [story.clock.read(request["at"]) for request in story.running.requests()]
    assert {(one.hour, one.weekday() == 6) for one in times} <= {(hour, False) for hour in range(9, 20)}


def test_a_bill_is_reminded_of_before_its_last_day(story):
    for number in KILLED:
        assert of("due_reminder", story.notices(number)) == [(1, "delivered")]
    assert of("due_reminder", story.notices(UNPAID)) == []


def test_who_pays_after_the_warning_is_withdrawn_and_told_so_once(story):
    assert story.life(LATE_PAYER, "state, reason") == [("paid", "paid")]
    assert story.notices(LATE_PAYER) == [
        ("bill", 1, "delivered"),
        ("cutoff_warning", 1, "delivered"),
        ("payment_received", 1, "delivered"),
    ]


def test_who_does_not_pay_is_warned_twice_and_handed_over_with_proof(story):
    assert story.life(UNPAID, "state, cut_from::text") == [("handed_over", "2026-07-13")]
    assert story.notices(UNPAID) == [
        ("bill", 1, "delivered"),
        ("cutoff_warning", 1, "delivered"),
        ("cutoff_second_warning", 1, "delivered"),
    ]
    ((proof, kind, state, receipt, delivered, owed),) = story.running.query(
        "SELECT n.id::text, n.kind, n.state, r.status, l.delivered_at, l.balance_millimes "
        "FROM cutoff_list_line l JOIN notice n ON n.id = l.notice_id JOIN receipt r ON r.id = l.receipt_id "
        "JOIN cutoff_list k ON k.id = l.list_id AND k.kind = 'hand_over' WHERE l.invoice_number = %s",
        "fatoura",
        invoice(UNPAID),
    )
    assert (kind, state, receipt, owed) == ("cutoff_warning", "delivered", "delivered", AMOUNT)
    assert str(delivered).startswith("2026-06-30")
    folder = story.running.folder / "var" / "lists" / "cutoff" / "2026-07-13"
    lines = list(csv.DictReader((folder / "hand_over.csv").open(encoding="utf-8-sig")))
    assert [line["message_id"] for line in lines if line["invoice"] == invoice(UNPAID)] == [proof]
    assert (folder / "hand_over.xlsx").is_file()


def test_only_who_owes_in_the_morning_is_handed_over(story):
    assert "nothing is handed over" in story.seen["no list"]
    assert "counter is complete until 2026-07-09" in story.seen["no list"]
    assert story.listed("hand_over") == {"2026-07-13": [UNPAID, PAID_AFTER_HANDOVER, PART_PAYER]}
    assert story.life(PAID_IN_THE_NIGHT) == [("paid",)]
    assert of("payment_received", story.notices(PAID_IN_THE_NIGHT)) == [(1, "delivered")]


def test_who_pays_after_that_is_called_back(story):
    assert story.life(PAID_AFTER_HANDOVER) == [("paid",)]
    assert story.listed("call_back") == {"2026-07-14": [PAID_AFTER_HANDOVER]}
    assert of("payment_received", story.notices(PAID_AFTER_HANDOVER)) == [(1, "delivered")]


def test_who_pays_a_part_is_warned_about_the_rest(story):
    ((first, second),) = story.running.query(
        "SELECT min(text) FILTER (WHERE kind = 'cutoff_warning'), "
        "min(text) FILTER (WHERE kind = 'cutoff_second_warning') FROM notice WHERE subject = %s",
        "fatoura",
        invoice(PART_PAYER),
    )
    assert "85,352" in first
    assert "65,352" in second
    assert story.life(PART_PAYER) == [("handed_over",)]


def test_a_cheque_that_bounces_begins_anew(story):
    assert story.life(BOUNCED, "state, opened_because, cut_from::text") == [
        ("paid", "billed", "2026-07-13"),
        ("warned", "reversal", "2026-07-20"),
    ]
    assert of("cutoff_warning", story.notices(BOUNCED)) == [(1, "delivered"), (2, "delivered")]
    assert of("payment_received", story.notices(BOUNCED)) == [(1, "delivered")]


def test_whom_no_message_reached_gets_a_letter(story):
    assert story.life(UNDELIVERED, "state, reason") == [("not_warned", "undelivered")]
    assert story.life(NO_RECEIPT, "state, reason") == [("not_warned", "no_final_receipt")]
    listed = [number for day in story.listed("letters").values() for number in day]
    assert Counter(listed) == Counter([UNDELIVERED, NO_RECEIPT, *in_doubt(story)])


def in_doubt(story: Bills) -> list[int]:
    """Return whose warnings nobody knows about, since the process that sent them was killed."""
    rows = story.running.query("SELECT subject FROM notice WHERE state = 'in_doubt' ORDER BY 1")
    return [customer(number) for (number,) in rows]


def test_a_payment_between_plan_and_claim_stops_the_message(story):
    assert story.seen["planned"] == Counter(planned=1, cancelled=1)
    for number, moment in ((PAID_WHILE_PLANNED, "feed"), (PAID_WHILE_CLAIMED, "claim")):
        assert of("cutoff_warning", story.notices(number)) == [(1, "cancelled")]
        assert of("payment_received", story.notices(number)) == []
        assert story.life(number) == [("paid",)]
        ((found,),) = story.running.query(
            "SELECT moment FROM cutoff_decision WHERE invoice_number = %s AND verdict = 'leave_out'",
            "fatoura",
            invoice(number),
        )
        assert found == moment


def test_who_pays_in_time_or_has_a_plan_is_left_alone(story):
    for number in (ON_PLAN, *PAYS_EARLY):
        assert story.notices(number) == [("bill", 1, "delivered")]
    assert story.life(ON_PLAN, "state, reason") == [("excluded", "payment_plan")]


def test_every_task_can_be_cleared_and_changes_nothing(story):
    assert story.seen["after clearing"] == story.seen["before clearing"]


def test_a_killed_sender_warns_nobody_twice_and_whom_it_may_have_warned_gets_a_letter(story):
    assert story.seen["killed"] > 0
    doubtful = in_doubt(story)
    assert doubtful
    for number in KILLED:
        expected = ("in_doubt", "not_warned") if number in doubtful else ("delivered", "warned")
        assert of("cutoff_warning", story.notices(number)) == [(1, expected[0])]
        assert story.life(number) == [(expected[1],)]


def test_the_gateway_saw_each_message_once_and_none_of_a_bill_that_was_paid_when_it_left(story):
    accepted = story.running.accepted()
    assert set(accepted.values()) == {1}
    told = dict(story.running.query("SELECT id::text, state FROM notice"))
    assert set(accepted) <= set(told)
    assert {told[notice] for notice in told.keys() - accepted.keys()} <= {"cancelled", "in_doubt"}
    assert "cancelled" not in {told[notice] for notice in accepted}
    ((of_paid_bills,),) = story.running.query(
        "SELECT count(*) FROM attempt a JOIN notice n ON n.id = a.notice_id "
        "JOIN invoice i ON i.invoice_number = n.subject WHERE n.kind NOT IN ('bill', 'payment_received') "
        "AND i.amount_due_millimes - 5000 < (SELECT sum(p.counts_millimes) FROM payment p "
        "JOIN feed f ON f.id = p.feed_id WHERE p.invoice_number = n.subject AND f.loaded_at < a.claimed_at)"
    )
    assert of_paid_bills == 0


def test_each_day_has_its_page_and_the_team_s_lists_are_not_among_the_reports(story):
    pages = story.running.folder / "var" / "reports" / "cutoff"
    assert {"2026-06-30", "2026-07-01", "2026-07-08", "2026-07-09"} <= {page.name for page in pages.iterdir()}
    run_id = story.runs["third"]
    api = story.running.stack.api
    links = api._request("GET", f"/dags/{WARNINGS}/dagRuns/{run_id}/taskInstances/report/links")
    address = links["extra_links"]["Report"]
    assert address.endswith("/fatoura/reports/cutoff/2026-07-09/report.html")
    assert api._session.get(address, timeout=10).status_code == 200
    assert not list((story.running.folder / "var" / "reports").rglob("hand_over*"))


def test_no_log_and_no_xcom_holds_a_number_or_a_text(story):
    national = {
        phone.removeprefix("+216") for (phone,) in story.running.query("SELECT phone FROM subscription")
    }
    texts = [
        line
        for (text,) in story.running.query("SELECT DISTINCT text FROM notice WHERE kind <> 'bill'")
        for line in text.splitlines()
        if len(line) > 12
    ]
    held = [
        file.read_text(errors="replace") for file in (story.running.folder / "var" / "logs").rglob("*.log*")
    ]
    held += [value or "" for (value,) in story.running.query("SELECT value::text FROM xcom", "airflow")]
    assert sum(map(len, held)) > 10_000
    for text in held:
        assert not set(re.findall(r"(?:216|(?<!\d))(\d{8})(?!\d)", text)) & national
        assert not [line for line in texts if line in text]
