"""The refusal of an extract. Raised while a manifest is read and an extract is loaded or checked."""

from __future__ import annotations

from typing import ClassVar

from fatoura.refusals import Refused


class ExtractRefused(Refused):
    """An extract that cannot be loaded as it is; nothing of it has been kept."""

    what: ClassVar[str] = "extract"
