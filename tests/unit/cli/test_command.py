"""The command as a whole: help everywhere, its exit codes, and what it does not load."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import click
import psycopg
import pytest
from click.testing import CliRunner
from sqlalchemy.exc import OperationalError

from fatoura.cli import main

if TYPE_CHECKING:
    from collections.abc import Iterator

# Seconds to import, each of them: a command that needs one imports it when it runs.
HEAVY = {"airflow", "great_expectations", "pandas", "matplotlib", "pyarrow", "aiohttp", "requests", "fastapi"}


def every_command(command: click.Command = main, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None, name
            yield from every_command(below, (*path, name))


def find(path: tuple[str, ...]) -> click.Command:
    command: click.Command = main
    for name in path:
        assert isinstance(command, click.Group)
        found = command.get_command(click.Context(command), name)
        assert found is not None
        command = found
    return command


COMMANDS = list(every_command())


def run(*arguments: str):
    return CliRunner().invoke(main, arguments)


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_every_command_explains_itself(path, option):
    done = run(*path, option)
    assert done.exit_code == 0
    assert done.stdout.startswith("Usage: ")
    assert done.stderr == ""
    command = find(path)
    assert command.help
    assert command.help.strip().splitlines()[0].endswith((".", ":"))


def test_the_commands_of_the_contract_are_there():
    names = {" ".join(path) for path in COMMANDS}
    assert names >= {"sample", "subscribers import", "ledger", "notices show", "report"}


@pytest.mark.parametrize(
    "path", [path for path in COMMANDS if isinstance(find(path), click.Group)], ids=" ".join
)
def test_a_group_alone_is_wrong_usage_and_shows_its_help(path):
    done = run(*path)
    assert done.exit_code == 2
    assert "Commands:" in done.output


@pytest.mark.parametrize(
    "arguments",
    [
        ("nothing",),
        ("notices", "nothing"),
        ("ledger",),
        ("ledger", "2026-05-T1", "another"),
        ("ledger", "--nothing", "2026-05-T1"),
        ("notices", "show"),
        ("demo", "--invoices", "many"),
        ("calendar", "show", "--days", "0"),
        ("report", "2026-05-T1", "--language", "ar"),
    ],
)
def test_wrong_usage_ends_with_2_and_says_so_on_standard_error(arguments):
    done = run(*arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "Error: " in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("notices", "preview", "nothing"), "the kinds are: bill"),
        (("report", "../secrets"), "is not a cycle key"),
        (("gateway", "sandbox", "--fault", "503=often"), "give it as KIND=SHARE"),
        (("quality", "export", "2026-05-T1/supplement-x"), "is not a cycle key"),
    ],
)
def test_a_refusal_ends_with_1_and_one_line_on_standard_error(arguments, words):
    done = run(*arguments)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith("fatoura: ")
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_wrong_settings_are_refused_with_their_names(configure, monkeypatch):
    monkeypatch.setenv("FATOURA_SEND_LANES", "many")
    done = run("ledger", "2026-05-T1")
    assert done.exit_code == 1
    assert "FATOURA_SEND_LANES" in done.stderr


@pytest.mark.parametrize(
    "arguments", [("notices", "preview", "bill", "--json"), ("quality", "rules", "--json")], ids=" ".join
)
def test_what_is_done_ends_with_0_and_json_is_one_document_and_nothing_else(arguments):
    done = run(*arguments)
    assert (done.exit_code, done.stderr) == (0, "")
    assert isinstance(json.loads(done.stdout), dict)


def test_a_database_that_is_away_is_said_in_one_line_without_the_statement(configure):
    configure(database_url="postgresql+psycopg://somebody:secretword@127.0.0.1:1/nowhere")
    done = run("ledger", "2026-05-T1", "--json")
    assert (done.exit_code, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    assert "the database does not answer" in done.stderr
    assert "make up" in done.stderr
    assert "secretword" not in done.stderr


@pytest.mark.parametrize(
    "error",
    [
        OperationalError(
            "SELECT secretword", {"phone": "+21620000001"}, psycopg.OperationalError("gone\nmore")
        ),
        psycopg.OperationalError("gone\nmore"),
    ],
)
def test_a_database_that_goes_away_meanwhile_too(monkeypatch, error):
    def gone(cycle: str) -> None:
        raise error

    monkeypatch.setattr("fatoura.ledger.cycle_ledger", gone)
    done = run("ledger", "2026-05-T1")
    assert done.exit_code == 1
    assert done.stderr.startswith("fatoura: the database does not answer: gone. Start it")


def test_any_other_error_is_not_hidden(monkeypatch):
    def broken(cycle: str) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("fatoura.ledger.cycle_ledger", broken)
    assert isinstance(run("ledger", "2026-05-T1").exception, ZeroDivisionError)


def test_the_command_starts_without_what_only_some_commands_need():
    loads = (
        "import sys; from click.testing import CliRunner; from fatoura.cli import main; "
        "assert CliRunner().invoke(main, ['--help']).exit_code == 0; print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", loads], capture_output=True, text=True, check=True, env=os.environ
    )
    assert HEAVY & set(done.stdout.split()) == set()


def test_the_module_is_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "fatoura", "--version"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert "fatoura" in done.stdout
