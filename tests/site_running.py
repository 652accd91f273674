"""The web site as a process on a ground of its own, with customers and a gateway: to be loaded or fuzzed.

Everything listens on loopback and is removed at the end. Phones and references are invented.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import requests

from tests.processes import Child, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.bench.ground import Ground

DATABASE = "site"
KEY = "a-key-of-the-site-for-trials-only"

_CUSTOMERS = """
INSERT INTO invoice (extract_id, row_number, cycle_id, invoice_number, revision, customer_reference, district,
    supply, period_start, period_end, amount_due_millimes, due_date, issue_date, estimated, bucket, reason)
SELECT 1, i, 1, 'F-' || i, 0, (100000000 + i)::text, 'TUN1', 'both', '2026-03-01', '2026-04-30', 85352,
    '2026-06-25', '2026-05-01', false, 'unsubscribed', 'not_subscribed' FROM generate_series(1, %s) i
"""
_SUBSCRIBED = """
INSERT INTO subscription (customer_reference, phone, language, channel, consent_date, proven_at)
SELECT (100000000 + i)::text, '+21690' || lpad(i::text, 6, '0'), 'fr', 'coupon', '2026-05-01', now()
FROM generate_series(1, %s) i
"""


def reference(number: int) -> str:
    """Return the reference of a customer, counted from 1; the invoice is ``F-<number>``."""
    return str(100_000_000 + number)


@dataclass(frozen=True)
class RunningSite:
    """A site that runs.

    :param port: where it listens.
    :param pid: of its process.
    """

    ground: Ground
    port: int
    pid: int
    child: Child

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def query(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Ask its database."""
        with self.ground.connect(DATABASE) as db:
            return db.execute(statement.encode(), values).fetchall()


@contextmanager
def running_site(
    ground: Ground, *, customers: int, subscribed: int = 0, sends: bool = True, **settings: object
) -> Iterator[RunningSite]:
    """Run a site.

    :param customers: how many have a bill.
    :param subscribed: how many of them, the first ones, are subscribed: with +21690 and their number.
    :param sends: whether a gateway takes its codes.
    """
    ground.make_database(DATABASE)
    port, gateway = free_port(), free_port()
    connection = {
        "conn_type": "http",
        "host": "127.0.0.1",
        "port": gateway,
        "login": "fatoura",
        "password": "sandbox",
        "extra": {"provider": "kannel"},
    }
    key = ground.folder / "site_key"
    key.write_text(KEY)
    environment = ground.environment(
        DATABASE, site_port=port, site_key_file=key, segments_per_second=1000, **settings
    ) | {"AIRFLOW_CONN_FATOURA_SMS": json.dumps(connection)}
    ground.run(["fatoura", "db", "upgrade"], environment)
    with ground.connect(DATABASE) as db:
        db.execute(_CUSTOMERS, (customers,))
        db.execute(_SUBSCRIBED, (subscribed,))
        db.execute("ANALYZE")
    with ExitStack() as stack:
        if sends:
            words = [
                "gateway",
                "sandbox",
                "--port",
                str(gateway),
                "--receipts",
                "0",
                "--acknowledgements",
                "0",
            ]
            sandbox = Child(
                [sys.executable, "-m", "fatoura", *words], log=ground.folder / "sandbox.log", env=environment
            )
            stack.callback(sandbox.stop)
            sandbox.wait_for_port(gateway)
        child = Child(
            [sys.executable, "-m", "fatoura", "site"], log=ground.folder / "site.log", env=environment
        )
        stack.callback(child.stop)
        child.wait_for_port(port, 60)
        site = RunningSite(ground, port, child.process.pid, child)
        end = time.monotonic() + 30
        while requests.get(f"{site.url}/health", timeout=10).status_code != 200:
            assert time.monotonic() < end, child.log.read_text()[-2000:]
            time.sleep(0.1)
        yield site
