"""The refusal of a delivery as a whole: one error that holds everything wrong with it.

What comes from outside in files (extracts, feeds) derives its own error from `Refused`. Sentences name file,
row and field, never a value: a misplaced column could put a phone number there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from fatoura.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Sequence

_SHOWN = 40


class Refused(BadInput):
    """A delivery that cannot be taken as it is; nothing of it has been kept."""

    what: ClassVar[str] = "delivery"
    """What is refused, in a word."""

    def __init__(self, subject: str, problems: Sequence[str]) -> None:
        """Keep what is wrong.

        :param subject: which delivery: a key or a name, or the folder of one that is checked from outside.
        :param problems: a sentence for each thing that is wrong: where, what, and what to do.
        """
        self.subject = subject
        self.problems = tuple(problems)
        shown = [f"- {problem}" for problem in self.problems[:_SHOWN]]
        if len(self.problems) > _SHOWN:
            shown.append(f"- and {len(self.problems) - _SHOWN} more")
        if len(self.problems) == 1:
            super().__init__(f"{self.what} {subject} is refused: {self.problems[0]}")
        else:
            super().__init__(
                f"{self.what} {subject} is refused for {len(self.problems)} reasons:\n" + "\n".join(shown)
            )

    def __reduce__(self) -> tuple[type[Refused], tuple[Any, ...]]:
        """Let it cross processes: an error is rebuilt from its arguments."""
        return type(self), (self.subject, self.problems)
