"""The refusal of an extract: one error that holds everything wrong with it.

Raised while a manifest is read and an extract is loaded or checked. Its sentences name file, row and
field, never a value: a misplaced column could put a phone number there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fatoura.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Sequence

_SHOWN = 40


class ExtractRefused(BadInput):
    """An extract that cannot be loaded as it is; nothing of it has been kept."""

    def __init__(self, subject: str, problems: Sequence[str]) -> None:
        """Keep what is wrong.

        :param subject: which extract: a key, or the folder of one that is checked from outside.
        :param problems: a sentence for each thing that is wrong: where, what, and what to do.
        """
        self.subject = subject
        self.problems = tuple(problems)
        shown = [f"- {problem}" for problem in self.problems[:_SHOWN]]
        if len(self.problems) > _SHOWN:
            shown.append(f"- and {len(self.problems) - _SHOWN} more")
        if len(self.problems) == 1:
            super().__init__(f"extract {subject} is refused: {self.problems[0]}")
        else:
            super().__init__(
                f"extract {subject} is refused for {len(self.problems)} reasons:\n" + "\n".join(shown)
            )

    def __reduce__(self) -> tuple[type[ExtractRefused], tuple[str, tuple[str, ...]]]:
        """Let it cross processes: an error is rebuilt from its arguments."""
        return ExtractRefused, (self.subject, self.problems)
