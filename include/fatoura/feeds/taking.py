"""Takes all feeds that are there: payments first, then account facts, then what other places have to tell.

Called every few minutes, and before anybody is warned. A feed that is refused stops no other one; it is told
at each look for as long as it lies there.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy import text

from fatoura.accounts.loading import FACTS
from fatoura.database import connect
from fatoura.departures.loading import DEPARTURES
from fatoura.errors import BadInput, NeedsAPerson, NotReady
from fatoura.feeds.delivery import open_folder
from fatoura.feeds.folders import find_feeds
from fatoura.feeds.loading import FeedLoaded, load_feed
from fatoura.feeds.refusal import FeedRefused
from fatoura.feeds.refused import Refusal, forget_all_but, remember_refusal
from fatoura.fees.results import FEE_RESULTS
from fatoura.landing import landing_path
from fatoura.payments.loading import PAYMENTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fatoura.feeds.content import Content
    from fatoura.landing import LandingPath

log = logging.getLogger(__name__)

CONTENTS: tuple[Content[Any], ...] = (PAYMENTS, FACTS, DEPARTURES, FEE_RESULTS)


class FeedsRefused(NeedsAPerson):
    """Some feeds were refused; the others are loaded."""


class FeedSource(Protocol):
    """A place beside the landing folder that is asked for what is new."""

    name: str

    def take(self, *, run_id: str | None = None) -> FeedLoaded:
        """Load what is new.

        :raises BadInput: when what is there cannot be taken.
        :raises NotReady: when it does not answer.
        """


@dataclass(frozen=True)
class RefusedFeed:
    """A feed that cannot be taken as it is: what, where, and why."""

    content: str
    feed: str
    location: str
    problems: tuple[str, ...]


@dataclass(frozen=True)
class FeedsTaken:
    """What a look brought.

    :param loaded: feeds that are new.
    :param already_loaded: how many were looked at again, and hold nothing new.
    :param refused: feeds that cannot be taken; somebody must read why.
    :param unreachable: places that do not answer, by name; they are asked again.
    """

    loaded: tuple[FeedLoaded, ...]
    already_loaded: int
    refused: tuple[RefusedFeed, ...]
    unreachable: dict[str, str]

    def as_dict(self) -> dict[str, Any]:
        """Return it as a JSON object of names and counts."""
        return {
            "loaded": [one.as_dict() for one in self.loaded],
            "already_loaded": self.already_loaded,
            "refused": [{**one.__dict__, "problems": list(one.problems)} for one in self.refused],
            "unreachable": self.unreachable,
        }

    def insist(self) -> None:
        """Complain about what could not be taken, once everything else has been dealt with.

        :raises FeedsRefused: when a feed was refused.
        :raises NotReady: when a place does not answer.
        """
        if self.refused:
            told = "\n".join(
                f"- {one.content}/{one.feed} in {one.location}: {'; '.join(one.problems)}"
                for one in self.refused
            )
            raise FeedsRefused(
                f"{len(self.refused)} feed(s) are refused, all others are loaded. Deliver what is in them "
                f"again, and take these away:\n{told}"
            )
        if self.unreachable:
            told = "; ".join(f"{name}: {why}" for name, why in self.unreachable.items())
            raise NotReady(f"what is new could not be asked for, it is tried again: {told}")


def take_feeds(
    landing: str | LandingPath | None = None,
    run_id: str | None = None,
    sources: Iterable[FeedSource] = (),
    contents: Sequence[Content[Any]] = CONTENTS,
) -> FeedsTaken:
    """Take every feed of these contents that lies in the landing folder, and what sources have.

    Each is loaded in a transaction of its own; taking again does nothing. A feed that is refused as a whole,
    and a source that does not answer, stop no other: they are in the answer (see `FeedsTaken.insist`). While
    a refused feed of payments lies there, the watermarks of its channels stay where they are.

    :param landing: the landing folder; none: the one of the settings.
    :param run_id: the run that asks for it, for the log.
    :param sources: other places to ask, such as a database of payments.
    :param contents: in the order in which they are taken.
    """
    folder = landing_path(landing)
    loaded: list[FeedLoaded] = []
    refused: list[RefusedFeed] = []
    unreachable: dict[str, str] = {}
    for content in contents:
        refusals = []
        for name, path, _ in find_feeds(folder / content.folder, loaded_at(content)):
            channels: tuple[str, ...] | None = None
            try:
                delivery = open_folder(content, path, named=True, subject=content.called(name))
                channels = content.channels(delivery.manifest)
                loaded.append(load_feed(content, delivery, run_id=run_id))
            except FeedRefused as why:
                refusals.append(Refusal(name, str(path), why.problems, channels))
                remember_refusal(content, refusals[-1])
        forget_all_but(content, [one.name for one in refusals])
        refused += [RefusedFeed(content.name, one.name, one.location, one.problems) for one in refusals]
    for source in sources:
        try:
            loaded.append(source.take(run_id=run_id))
        except BadInput as why:
            problems = why.problems if isinstance(why, FeedRefused) else (str(why),)
            refused.append(RefusedFeed("payments", source.name, source.name, problems))
        except NotReady as why:
            unreachable[source.name] = str(why)
    for one in refused:
        log.error("%s/%s in %s is refused: %s", one.content, one.feed, one.location, "; ".join(one.problems))
    for name, reason in unreachable.items():
        log.warning("%s does not answer: %s", name, reason)
    new = tuple(one for one in loaded if one.outcome == "loaded")
    return FeedsTaken(new, len(loaded) - len(new), tuple(refused), unreachable)


def loaded_at(content: Content[Any]) -> dict[str, Any]:
    """Return when the feeds that lie in folders were loaded, by name."""
    with connect() as connection:
        rows = connection.execute(
            text("SELECT name, loaded_at FROM feed WHERE content = :content"), {"content": content.name}
        )
        return {row.name: row.loaded_at for row in rows}
