"""How the house is built: who may import whom, what lies where, and that it speaks of itself alone."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[1]
INCLUDE, PLUGINS, DAGS = ROOT / "include" / "fatoura", ROOT / "plugins", ROOT / "dags"

PLUGIN_PACKAGES = {path.name for path in PLUGINS.iterdir() if (path / "__init__.py").exists()}
DAG_MODULES = {path.stem for path in DAGS.glob("*.py")}

TOP_LEVEL = {
    *(".ci", ".dockerignore", ".gitignore", ".pre-commit-config.yaml"),
    *("CHANGELOG.md", "Dockerfile", "LICENSE", "Makefile", "README.md", "docker-compose.yaml"),
    *("pyproject.toml", "requirements.txt"),
    *("dags", "docker", "docs", "include", "plugins", "tests"),
}

# Words of how it was made, or of one machine. Put together so that this file does not find itself.
FOREIGN = re.compile(
    "|".join(["/wo" + "rk/", "/tm" + r"p/w\b", r"\.\./sha" + "red", r"\bissue" + r"s? ?#\d"])
)


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def files(*folders: Path) -> list[Path]:
    return sorted(path for folder in folders for path in folder.rglob("*.py"))


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Give each import of a file, wherever in it, those by name included: line, dotted module."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, "." * node.level + (node.module or "")
        elif (
            isinstance(node, ast.Call)
            and ast.unparse(node.func).rpartition(".")[2] in ("import_module", "__import__")
            and node.args
            and isinstance(node.args[0], ast.Constant)
        ):
            yield node.lineno, str(node.args[0].value)


def named(found: Iterator[tuple[Path, int, str]]) -> list[str]:
    return [f"{path.relative_to(ROOT)}:{line} {what}" for path, line, what in found]


def importers(folder: Path, of: set[str]) -> list[str]:
    return named(
        (path, line, module)
        for path in files(folder)
        for line, module in imports(path)
        if module.split(".")[0] in of
    )


def test_the_utility_s_work_knows_neither_airflow_nor_what_extends_it():
    assert importers(INCLUDE, {"airflow", "plugins", "dags", *PLUGIN_PACKAGES, *DAG_MODULES}) == []


def test_what_extends_airflow_knows_no_workflow():
    assert importers(PLUGINS, {"dags", *DAG_MODULES}) == []


def test_nothing_imports_the_tests():
    for folder in (INCLUDE, PLUGINS, DAGS):
        assert importers(folder, {"tests", "pytest", "hypothesis"}) == []


def test_workflows_only_wire():
    allowed = {"airflow", "fatoura", "pendulum", "datetime", "dataclasses", "__future__", *PLUGIN_PACKAGES}
    assert (
        named(
            (path, line, module)
            for path in files(DAGS)
            for line, module in imports(path)
            if module.split(".")[0] not in allowed
        )
        == []
    )


@pytest.mark.parametrize("folder", [PLUGINS, DAGS], ids=["plugins", "dags"])
def test_airflow_is_used_by_its_public_names(folder):
    """The task SDK, triggers and the plugin's own way in; the API server's login for its pages."""
    public = ("airflow.sdk", "airflow.triggers.base", "airflow.plugins_manager", "airflow.providers.")
    login = "airflow.api_fastapi.core_api.security"
    rights = "airflow.api_fastapi.auth.managers.models.resource_details"
    own = {
        "operations/pages.py": (login,),
        "operations/doubt_pages.py": (login, rights),
        "operations/deadlines.py": ("airflow.models",),  # evaluated by the scheduler, in its session
    }
    assert (
        named(
            (path, line, module)
            for path in files(folder)
            for line, module in imports(path)
            if module.split(".")[0] == "airflow"
            and not module.startswith(public)
            and module not in own.get(path.relative_to(folder).as_posix(), ())
        )
        == []
    )


def test_no_import_is_relative():
    assert (
        named(
            (path, line, module)
            for path in files(INCLUDE, PLUGINS, DAGS)
            for line, module in imports(path)
            if module.startswith(".")
        )
        == []
    )


def test_airflow_finds_the_plugin_s_own_module_and_no_other():
    from airflow._shared.module_loading import find_path_from_directory

    found = find_path_from_directory(str(PLUGINS), ".airflowignore", "glob")
    assert [Path(path).relative_to(PLUGINS).as_posix() for path in found] == ["fatoura_plugin.py"]


def test_airflow_finds_each_workflow_and_nothing_else_among_the_dags():
    assert {path.name for path in DAGS.iterdir()} - {"__pycache__"} == {f"{name}.py" for name in DAG_MODULES}
    for path in DAGS.glob("*.py"):  # Airflow's own quick look for these words skips a file without them
        content = path.read_text().lower()
        assert "dag" in content
        assert "airflow" in content


def test_no_name_hides_a_module_of_python_or_of_a_package():
    """Airflow puts plugins/ and dags/ on the module path: their top-level names are everybody's."""
    ours = {path.stem for path in PLUGINS.iterdir() if not path.name.startswith((".", "__"))} | DAG_MODULES
    assert ours & set(sys.stdlib_module_names) == set()
    assert ours & set(packages_distributions()) == set()
    # Were .airflowignore lost, Airflow would register every file under its bare name.
    stems = {path.stem for path in files(PLUGINS)} - {"__init__"}
    assert stems & (set(sys.stdlib_module_names) | set(packages_distributions())) == set()


def tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("not a git checkout: which files belong to the project is not known")
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def test_every_top_level_entry_is_among_the_expected_few():
    assert {path.relative_to(ROOT).parts[0] for path in tracked()} <= TOP_LEVEL


def test_the_project_speaks_of_itself_alone():
    found = []
    for path in tracked():
        try:
            content = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # a picture
        found += [
            f"{path.relative_to(ROOT)}:{number} {match[0]}"
            for number, line in enumerate(content.splitlines(), 1)
            if (match := FOREIGN.search(line))
        ]
    assert found == []


def test_nothing_is_printed_but_by_the_command():
    def printed() -> Iterator[tuple[Path, int, str]]:
        for path in files(INCLUDE, PLUGINS, DAGS):
            if INCLUDE / "cli" in path.parents:
                continue
            for node in ast.walk(tree(path)):
                if isinstance(node, ast.Call) and ast.unparse(node.func) in ("print", "click.echo", "pprint"):
                    yield path, node.lineno, ast.unparse(node.func)

    assert named(printed()) == []


def test_logs_are_written_with_lazy_arguments():
    """An f-string in a log call is put together even where nobody listens, and hides what is a value."""

    def eager() -> Iterator[tuple[Path, int, str]]:
        for path in files(INCLUDE, PLUGINS, DAGS):
            for node in ast.walk(tree(path)):
                if (
                    isinstance(node, ast.Call)
                    and isinstance(node.func, ast.Attribute)
                    and ast.unparse(node.func.value) in ("log", "self.log")
                    and node.args
                    and isinstance(node.args[0], (ast.JoinedStr, ast.BinOp))
                ):
                    yield path, node.lineno, ast.unparse(node)[:60]

    assert named(eager()) == []


def test_names_say_what_things_are():
    vague = re.compile(r"(Manager|Helpers?|Utils?|Handler)$", re.IGNORECASE)
    classes = named(
        (path, node.lineno, node.name)
        for path in files(INCLUDE, PLUGINS, DAGS)
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ClassDef) and vague.search(node.name)
    )
    assert classes == []
    assert [path for path in files(INCLUDE, PLUGINS, DAGS) if vague.search(path.stem)] == []


def test_each_module_says_what_it_owns():
    silent = [
        path.relative_to(ROOT)
        for path in files(INCLUDE, PLUGINS, DAGS)
        if path.stat().st_size and not ast.get_docstring(tree(path))
    ]
    assert silent == []
