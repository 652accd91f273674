"""The page on privacy says of every personal column for how long it is kept, as the rules and settings do."""

from __future__ import annotations

import re

from fatoura.privacy.personal import PERSONAL_COLUMNS
from fatoura.privacy.retention import RULES
from fatoura.settings import PROJECT_ROOT, get_settings

LINE = re.compile(r"^\| `([a-z_.]+)` \| [^|]+ \| ([^|]+) \| `FATOURA_(KEEP_[A-Z_]+)` \|$", re.MULTILINE)


def test_every_personal_column_stands_on_the_page_with_its_time_and_setting():
    told = {
        place: (words, name)
        for place, words, name in LINE.findall((PROJECT_ROOT / "docs" / "privacy.md").read_text())
    }
    assert set(told) == {str(column) for column in PERSONAL_COLUMNS}
    settings = get_settings()
    for rule in RULES:
        words, name = told[rule.place]
        assert rule.keep(settings) == getattr(settings, name.lower()), rule.place
        assert f"{rule.keep(settings).days} days" in words, rule.place
