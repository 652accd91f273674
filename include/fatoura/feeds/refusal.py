"""The refusal of a feed as a whole; rows that break a rule are set aside instead, and the rest is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from fatoura.refusals import Refused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fatoura.feeds.records import RowFlaws


class FeedRefused(Refused):
    """A feed that cannot be taken as it is; nothing of it has been kept."""

    what: ClassVar[str] = "feed"

    def __init__(self, subject: str, problems: Sequence[str], rows: Sequence[RowFlaws] = ()) -> None:
        """Keep what is wrong.

        :param rows: the first rows that break a rule, when there are too many of them.
        """
        super().__init__(subject, problems)
        self.rows = tuple(rows)

    def __reduce__(self) -> tuple[type[Refused], tuple[Any, ...]]:
        """Let it cross processes: an error is rebuilt from its arguments."""
        return type(self), (self.subject, self.problems, self.rows)


class FeedDiffers(FeedRefused):
    """Another feed was loaded under this name."""
