"""What a content says of itself, so that its feeds can be read, checked, merged and settled by one way.

A content is what feeds are about: payments, account facts. Each declares one `Content`, in its own folder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime  # noqa: TC003
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, TypeVar

from fatoura.feeds.manifest import FeedManifest

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from fatoura.feeds.records import Flaw, Record

ContentName = Literal["payments", "facts", "customers", "coupons", "departures", "fee_results"]

M = TypeVar("M", bound=FeedManifest)

RowCheck = Callable[["Record"], "tuple[Any, ...] | list[Flaw]"]
"""Checks one row: its typed values, in the order of `Content.typed`, or everything that is wrong with it."""


class NewFeed(NamedTuple):
    """A feed whose rows are being merged; `at` is the instant of the load."""

    id: int
    name: str
    manifest: Any
    at: datetime


def _no_channels(_manifest: FeedManifest) -> tuple[str, ...]:
    return ()


def _nothing(*_: object) -> None:
    """Do nothing more."""


def _as_it_came(fields: Mapping[str, Any], _flaw: str | None) -> Mapping[str, Any]:
    return fields


@dataclass(frozen=True)
class Content(Generic[M]):
    """One kind of thing that feeds tell of.

    :param folder: below the landing folder.
    :param columns: of its CSV, as the contract names them.
    :param amounts: the column that the manifest's control total sums; none where it has none.
    :param manifest: the form of its manifests, and `form` an example of one.
    :param check: gives the check of a row, for a manifest: the clock is looked at once.
    :param table: where what stands is kept.
    :param typed: the columns of a good row, with their SQL types; those of `table` but for `told_in`.
    :param key: the columns that tell rows apart; the first is the subject.
    :param values: the columns that make two rows of one key differ.
    :param rank: what decides between them, as SQL on the row: the greater stands.
    :param extras: further columns of `table`, as SQL on the row `m`.
    :param settles: whether a row `t` that stands settles a row `s` of feed `f` that was set aside, as SQL.
    :param channels: of which channels a feed says something, for its refusal; none where there are none.
    :param after: what is to be done once the rows have been merged, in the same transaction.
    :param freed: what is to be done once a refused feed lies there no more.
    :param bears_on_warnings: whether nobody is warned whom a row names that was set aside.
    :param endings: of the files that parts may be.
    :param kept: how a row that is set aside is kept: sealed, where it holds a number.
    :param bad_rows_share: how many of its rows may break a rule; none: the setting of all feeds.
    :param bad_rows_setting: what that is set by.
    """

    name: ContentName
    folder: str
    columns: tuple[str, ...]
    amounts: str | None
    manifest: type[M]
    form: str
    check: Callable[[M], RowCheck]
    table: str
    typed: Mapping[str, str]
    key: tuple[str, ...]
    values: tuple[str, ...]
    rank: tuple[str, ...]
    settles: str
    channels: Callable[[M], tuple[str, ...]] = _no_channels
    extras: Mapping[str, str] = field(default_factory=dict)
    after: Callable[[Connection, NewFeed], None] = _nothing
    freed: Callable[[Connection], None] = _nothing
    bears_on_warnings: bool = True
    endings: tuple[str, ...] = (".csv",)
    kept: Callable[[Mapping[str, Any], str | None], Mapping[str, Any]] = _as_it_came
    bad_rows_share: Callable[[], float] | None = None
    bad_rows_setting: str = "FATOURA_GUARD_BAD_ROWS_SHARE"

    @property
    def subject(self) -> str:
        """The column with the id of what a row tells of."""
        return self.key[0]

    def called(self, feed: str) -> str:
        """Return how messages name a feed: ``payments/2026-06-29-0600``."""
        return f"{self.name}/{feed}"
