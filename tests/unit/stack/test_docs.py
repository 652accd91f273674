"""The generated pages are those of the sources as they stand; `make docs` writes them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fatoura.cutoff.states import OPEN, TRANSITIONS

if TYPE_CHECKING:
    from types import ModuleType

DOCS = Path(__file__).parents[3] / "docs"


def load_generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_docs", DOCS / "generate.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


generate = load_generator()


@pytest.mark.parametrize("name", sorted(generate.PAGES))
def test_a_generated_page_is_up_to_date(name: str) -> None:
    assert (DOCS / name).read_text() == generate.PAGES[name](), "run `make docs` and commit what it writes"


def test_each_setting_has_a_meaning() -> None:
    for line in generate.settings_page().splitlines():
        if line.startswith("| `FATOURA_"):
            assert line.split(" | ")[-1].strip(" |"), line


def test_a_workflow_without_a_runbook_is_refused(tmp_path: Path) -> None:
    (tmp_path / "silent.py").write_text("from airflow.sdk import dag\n")
    with pytest.raises(SystemExit, match="runbook"):
        generate.dags_page(tmp_path)


def test_the_diagram_of_a_case_draws_every_way_and_no_other() -> None:
    drawn = [line.strip().split(":")[0].split(" --> ") for line in generate._state_diagram() if "-->" in line]
    ways = {(old, new) for old, new in drawn if "[*]" not in (old, new) and old != "open"}
    ways |= {(str(old), new) for source, new in drawn if source == "open" for old in OPEN}
    assert ways == {(str(old), str(new)) for old, after in TRANSITIONS.items() for new in after}


def test_a_part_that_nobody_generates_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "cutoff.md"
    page.write_text("<!-- generated: weather -->\n<!-- end -->\n")
    with pytest.raises(KeyError, match="weather"):
        generate.cutoff_page(page)
