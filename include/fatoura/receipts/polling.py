"""Ask providers that do not report by themselves what became of their messages.

Called by the settle task, and by the workflow that takes late receipts. What a provider says is stored as
what comes by itself is, and matched in the same way. Who calls it opens the connections. Of one gateway there
is one question at a time, whoever asks, and a provider that is silent is only asked again later.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, text
from sqlalchemy.exc import SQLAlchemyError

from fatoura import clock
from fatoura.database import begin, connect
from fatoura.errors import BadInput, FatouraError
from fatoura.gateways.session import Session
from fatoura.gateways.transport import Transport
from fatoura.receipts.intake import RawReceipt, store
from fatoura.sending.routing import refuse_another_provider
from fatoura.settings import get_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from uuid import UUID

    from fatoura.gateways import Gateway, Receipt

log = logging.getLogger(__name__)

ASKED_FOR = timedelta(days=7)
"""Messages are asked for so long after they were handed over."""

_PAGE = 1000

# Only a message whose id the provider has told can be asked for: one in doubt seldom has one.
_ASKABLE = """
    notice.state IN ('accepted', 'in_doubt') AND notice.submitted_at > :since AND EXISTS (
        SELECT FROM attempt WHERE attempt.notice_id = notice.id AND attempt.gateway = {gateway}
            AND attempt.provider_id IS NOT NULL
    )
"""
# Ids tell when a notice was planned: those of years before are not looked through.
_RECENT = "notice.id > (SELECT uuidv7(make_interval(days => -60)))"
_EVERY = """make_interval(
    secs => greatest(:every, coalesce(CAST(capabilities ->> 'seconds_between_statuses' AS float), 0))
)"""
_WAITING = text(
    f"""
    SELECT name, extract(epoch FROM coalesce(polled_at + {_EVERY} - clock_timestamp(), '0')) AS seconds
    FROM gateway WHERE capabilities ->> 'receipts' = 'poll' AND EXISTS (
        SELECT FROM notice WHERE {_RECENT} AND {_ASKABLE.format(gateway="gateway.name")}
            AND (CAST(:cycle AS int) IS NULL OR cycle_id = :cycle)
    )
    """
)
_CLAIM = text(
    f"""
    UPDATE gateway SET polled_at = clock_timestamp()
    WHERE name = :gateway AND coalesce(polled_at + {_EVERY} <= clock_timestamp(), true)
    RETURNING polled_to
    """
)
_ASKABLE_NOW = text(
    f"""
    WITH page AS (
        SELECT notice.id FROM notice
        WHERE {_RECENT} AND (CAST(:after AS uuid) IS NULL OR notice.id > :after)
            AND {_ASKABLE.format(gateway=":gateway")}
        ORDER BY notice.id LIMIT :most
    )
    SELECT page.id, attempt.number, attempt.provider_id FROM page
    JOIN attempt ON attempt.notice_id = page.id
    WHERE attempt.gateway = :gateway AND attempt.provider_id IS NOT NULL
    ORDER BY page.id, attempt.number
    """
)


@dataclass(frozen=True)
class Poll:
    """What came of asking one gateway.

    :param asked: for how many messages.
    :param stored: how many receipts were new.
    :param problem: why it was not asked, or not to the end; null when all went well.
    """

    gateway: str
    asked: int = 0
    stored: int = 0
    problem: str | None = None


def seconds_to_poll(connection: Connection, cycle_id: int | None = None) -> dict[str, float]:
    """Return which gateways are to be asked for receipts, and in how many seconds; 0 or less: now.

    Those that report by themselves are never among them, nor those of which nothing is open. Also those that
    take no new messages any more.

    :param cycle_id: only for the messages of this cycle.
    """
    rows = connection.execute(_WAITING, {**_since(), "cycle": cycle_id})
    return {row.name: float(row.seconds) for row in rows}


def poll_receipts(open_gateway: Callable[[str], Gateway], cycle_id: int | None = None) -> list[Poll]:
    """Ask all gateways that it is time to ask, and store what is new. The caller matches it.

    No provider's trouble is raised: it is logged, and the next poll tries again.

    :param open_gateway: returns the adapter of a connection; may raise what it likes.
    :param cycle_id: only gateways that hold messages of this cycle; they are asked for others' too.
    """
    with connect() as connection:
        due = [name for name, seconds in seconds_to_poll(connection, cycle_id).items() if seconds <= 0]
    rounds = [one for name in due if (one := _begin(name)) is not None]
    for one in rounds:
        one.open(open_gateway)
    if rounds:
        asyncio.run(_ask_all(rounds))
    return [one.end() for one in rounds]


async def _ask_all(rounds: Sequence[_Round]) -> None:
    await asyncio.gather(*(one.ask() for one in rounds))


def _begin(name: str) -> _Round | None:
    """Take a gateway's round; nothing when another task asks, or has just asked."""
    with begin() as connection:
        row = connection.execute(_CLAIM, {"gateway": name, **_since()}).one_or_none()
    return None if row is None else _Round(name, row.polled_to)


class _Round:
    """One round of questions to a gateway, from where the last one ended.

    :param after: the notice that was asked about last; nothing: from the beginning.
    """

    def __init__(self, name: str, after: UUID | None) -> None:
        self._name = name
        self._after = after
        self._until = time.monotonic() + get_settings().receipt_poll.total_seconds()
        self._gateway: Gateway | None = None
        self._asked = 0
        self._stored = 0
        self._problem: str | None = None

    def open(self, open_gateway: Callable[[str], Gateway]) -> None:
        """Open the connection, or note why not."""
        try:
            gateway = open_gateway(self._name)
            with connect() as connection:
                refuse_another_provider(connection, gateway)
        except SQLAlchemyError:
            raise  # ours, not the provider's: the task tries again as a whole
        except FatouraError as error:
            self._problem = str(error)
        except Exception as error:
            # A library's own words may hold what the connection holds.
            self._problem = f"{type(error).__name__} on opening the connection"
        else:
            self._gateway = gateway

    async def ask(self) -> None:
        """Ask, and note what went wrong, if anything."""
        if self._gateway is None:
            return
        try:
            await self._ask(self._gateway)
        except BadInput as error:
            self._problem = str(error)
        except SQLAlchemyError:
            raise
        except Exception as error:
            log.exception("%s: asking for receipts failed", self._name)
            self._problem = f"{type(error).__name__} while asking"

    def end(self) -> Poll:
        """Write down where the next round goes on; tell what came of this one."""
        with begin() as connection:
            connection.execute(
                text("UPDATE gateway SET polled_to = :after WHERE name = :gateway"),
                {"after": self._after, "gateway": self._name},
            )
        if self._problem is not None:
            log.warning(
                "%s: receipts could not be asked for; the next poll tries again: %s",
                self._name,
                self._problem,
            )
        log.info("%s: asked for %d messages, %d new receipts", self._name, self._asked, self._stored)
        return Poll(self._name, self._asked, self._stored, self._problem)

    async def _ask(self, gateway: Gateway) -> None:
        """Ask group after group, to the last message or until the time is over.

        A group that cannot be asked for, or whose answer cannot be read, is not asked for again at once: the
        next round goes on after it.

        :raises ProviderSilent, ReceiptUnreadable: at the first group of which nothing was learnt.
        """
        can, timeout = gateway.capabilities, get_settings().request_timeout.total_seconds()
        async with Transport(connections=1, timeout=timeout) as transport:
            session = Session(gateway, transport)
            while rows := await asyncio.to_thread(self._page):
                for group in _groups(rows, can.statuses_at_once):
                    self._after = group[-1].id
                    receipts = await session.statuses([row.provider_id for row in group])
                    self._asked += len(group)
                    self._stored += await asyncio.to_thread(self._store, group, receipts)
                    if can.seconds_between_statuses or time.monotonic() >= self._until:
                        return  # nobody waits here: the next poll goes on
        self._after = None

    def _page(self) -> Sequence[Row[Any]]:
        with connect() as connection:
            return connection.execute(
                _ASKABLE_NOW, {**_since(), "gateway": self._name, "after": self._after, "most": _PAGE}
            ).all()

    def _store(self, group: Sequence[Row[Any]], receipts: Iterable[Receipt]) -> int:
        """Store what was not known yet: the same intermediate word, heard again and again, is one receipt."""
        with connect() as connection:
            known = {
                (row.notice_id, row.attempt, row.status, row.detail)
                for row in connection.execute(
                    text(
                        "SELECT notice_id, attempt, status, detail FROM receipt "
                        "WHERE notice_id = ANY(:ids) AND gateway = :gateway"
                    ),
                    {"ids": list({row.id for row in group}), "gateway": self._name},
                )
            }
        new: dict[tuple[Any, ...], RawReceipt] = {}
        for receipt in receipts:
            for row in group:
                told = (row.id, row.number, receipt.status.value, receipt.detail)
                if row.provider_id == receipt.provider_id and told not in known:
                    new[told] = self._raw(row, receipt)
        if new:
            store(list(new.values()))
        return len(new)

    def _raw(self, row: Row[Any], receipt: Receipt) -> RawReceipt:
        return RawReceipt(
            gateway=self._name,
            received_at=clock.now(),
            raw={"answer": dict(receipt.raw or {})},
            notice_id=row.id,
            attempt=row.number,
            provider_id=receipt.provider_id,
            status=receipt.status.value,
            detail=receipt.detail,
            happened_at=receipt.happened_at and clock.moved(receipt.happened_at),
        )


def _groups(rows: Sequence[Row[Any]], at_once: int) -> Iterator[list[Row[Any]]]:
    """Cut a page into questions. The attempts of one notice stay in one where they can."""
    group: list[Row[Any]] = []
    for _, of_one in groupby(rows, key=lambda row: row.id):
        attempts = list(of_one)
        if group and len(group) + len(attempts) > at_once:
            yield group
            group = []
        group += attempts
    if group:
        yield group


def _since() -> dict[str, Any]:
    return {
        "since": clock.now() - ASKED_FOR,
        "every": get_settings().receipt_poll.total_seconds(),
    }
