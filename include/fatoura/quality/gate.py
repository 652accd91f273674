"""The quality gate: sets bad rows aside with their reasons, and stops or questions an extract as a whole.

Called by the cycle's validate task. Reads the staging table that `fatoura.extracts` filled; writes rejected
rows, the stage's figures and the Data Docs. Knows nothing of subscriptions and messages: it runs before them.
"""

from __future__ import annotations

import gc
import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import text

from fatoura import clock
from fatoura.cycles.stages import recorded_stage
from fatoura.database import begin, connect, driver, locked
from fatoura.errors import BadInput, FatouraError
from fatoura.extracts.columns import COLUMNS
from fatoura.quality.figures import earlier_cycles, measure, sentence
from fatoura.quality.suite import BatchRule, Suite, load_suite
from fatoura.settings import get_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date
    from pathlib import Path

    from sqlalchemy import Connection

    from fatoura.cycles.keys import ExtractKey
    from fatoura.quality.expectations import Verdict

log = logging.getLogger(__name__)


class BatchRefused(BadInput):
    """An extract is wrong as a whole; its rejected rows are kept for export, and nothing of it is sent."""

    def __init__(self, key: str, sentences: list[str]) -> None:
        """Keep what is wrong.

        :param key: the extract's key, as it is written.
        :param sentences: what is wrong, with the figures.
        """
        self.key, self.sentences = key, sentences
        super().__init__(
            f"extract {key} is refused as a whole, and nothing of it is sent: {'; '.join(sentences)}. "
            f"Have it delivered again, corrected; `fatoura quality export {key}` writes the rejected rows"
        )

    def __reduce__(self) -> tuple[type[BatchRefused], tuple[str, list[str]]]:
        """Let it cross processes: an error is rebuilt from its arguments."""
        return BatchRefused, (self.key, self.sentences)


class RowsUnsorted(FatouraError):
    """Some rows are neither kept nor rejected: the suite lacks a rule for them. Nothing may go on."""


class Tripped(NamedTuple):
    """A guard-rail that an extract trips: a person is asked before anything is sent."""

    code: str
    sentence: str


@dataclass(frozen=True)
class ValidationOutcome:
    """What the gate found. Numbers are rows of the extract.

    :param rejected_by_code: rows by the code of each rule they broke; a row can break several.
    :param tripped: the guard-rails of severity `ask` that it trips.
    :param skipped: rules that could not be looked at, and why.
    :param data_docs: the page that shows each rule's result.
    :param repeated: it was validated and matched before; nothing was done now.
    """

    rows: int
    rejected: int
    rejected_by_code: dict[str, int]
    tripped: list[Tripped]
    skipped: list[str]
    data_docs: Path
    repeated: bool = False

    @property
    def kept(self) -> int:
        """Rows that break no row rule and go on."""
        return self.rows - self.rejected


@dataclass(frozen=True)
class _Extract:
    key: ExtractKey
    id: int
    cycle_id: int
    issue_date: date
    declared_rows: int
    declared_total_millimes: int
    matched: bool

    @property
    def staging(self) -> str:
        return f"staging.extract_{self.id}"

    @property
    def rows(self) -> str:
        return f"staging.rows_{self.id}"

    @property
    def repeats(self) -> str:
        return f"staging.repeats_{self.id}"


@dataclass
class _Findings:
    stops: list[str] = field(default_factory=list)
    tripped: list[Tripped] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


def validate_extract(key: ExtractKey, *, run_id: str | None = None) -> ValidationOutcome:
    """Validate a loaded extract. The stage `validate`.

    Run again, it sorts the rows anew, as long as the extract has not been matched; then it says so and
    does nothing.

    :raises BatchRefused: when a rule of severity `stop` is broken.
    :raises BadInput: when the extract is not loaded, or the suite is wrong.
    """
    with locked(f"cycle {key.cycle}"):  # our turn; what is written lies in transactions of its own
        extract = _loaded_extract(key)
        if extract.matched:
            outcome = _earlier_outcome(extract)
            log.info(
                "validate: nothing to do, %s was validated (%s of %s rows rejected) and is matched",
                key,
                outcome.rejected,
                outcome.rows,
            )
            return outcome
        with recorded_stage(extract.cycle_id, "validate", supplement=key.supplement, run_id=run_id) as stage:
            suite = load_suite()
            with _prepared(extract, suite):
                outcome, figures = _validate(extract, suite)
            stage.counts |= {
                "rows": outcome.rows,
                "rejected": outcome.rejected,
                "total_millimes": figures["total_millimes"],
                "median_millimes": figures["median_millimes"],
            }
            stage.counts |= {"tripped": [t._asdict() for t in outcome.tripped]} if outcome.tripped else {}
            stage.counts |= {"skipped": outcome.skipped} if outcome.skipped else {}
            return outcome


def tripped_guard_rails(key: ExtractKey) -> list[Tripped]:
    """Return the guard-rails that an extract tripped when it was last validated.

    :raises BadInput: when it has not been validated.
    """
    return [Tripped(**one) for one in _last_counts(key).get("tripped", [])]


def data_docs_page(key: ExtractKey) -> Path:
    """Return where the Data Docs of an extract lie, below the reports' folder."""
    return get_settings().reports / str(key) / "data-docs" / "index.html"


def _loaded_extract(key: ExtractKey) -> _Extract:
    with connect() as connection:
        found = connection.execute(
            text(
                "SELECT e.id, e.cycle_id, coalesce((e.manifest ->> 'issue_date')::date, c.issue_date), "
                "e.declared_rows, e.declared_total_millimes, e.matched_at IS NOT NULL "
                "FROM extract AS e JOIN cycle AS c ON c.id = e.cycle_id "
                "WHERE c.key = :cycle AND e.supplement = :supplement AND e.loaded_at IS NOT NULL"
            ),
            {"cycle": key.cycle, "supplement": key.supplement},
        ).one_or_none()
    if found is None:
        raise BadInput(f"there is no loaded extract {key}: load it first")
    return _Extract(key, *found)


@contextmanager
def _prepared(extract: _Extract, suite: Suite) -> Iterator[None]:
    """Make the view and the table that the rules look at, and import Great Expectations meanwhile.

    They are made, and dropped, in transactions of their own: Great Expectations has its own connections.
    """
    with ThreadPoolExecutor(1, "prepare") as pool:
        preparing = pool.submit(_prepare, extract, suite)
        with _garbage_left_alone():
            import_module("fatoura.quality.expectations")  # takes seconds, while the database works
        preparing.result()
    try:
        yield
    finally:
        with begin() as connection:
            _drop_prepared(connection, extract)


@contextmanager
def _garbage_left_alone() -> Iterator[None]:
    """Keep the garbage collector from looking through what is imported now, again and again.

    A thousand modules hold no garbage; looking for it took a quarter of the stage's time.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _prepare(extract: _Extract, suite: Suite) -> None:
    columns = ", ".join(f"{expression} AS {name}" for name, expression in suite.columns.items())
    with begin() as connection:
        there = connection.scalar(text("SELECT to_regclass(:name)"), {"name": extract.staging}) and (
            extract.declared_rows == 0
            or connection.scalar(text(f"SELECT EXISTS (SELECT FROM {extract.staging})"))
        )
        if not there:  # staging is not logged: a crash of the server empties it
            raise BadInput(f"the staged rows of {extract.key} are gone: run its stage `extract` again")
        _drop_prepared(connection, extract)
        execute = driver(connection).execute  # plain text: the suite's SQL may hold any character
        execute(
            f"CREATE VIEW {extract.rows} AS SELECT row_number, {columns} "
            f"FROM {extract.staging} WHERE flaw IS NULL".encode()
        )
        query = suite.repeats.format(staging=extract.staging)
        execute(f"CREATE UNLOGGED TABLE {extract.repeats} AS {query}".encode())


def _drop_prepared(connection: Connection, extract: _Extract) -> None:
    connection.execute(text(f"DROP VIEW IF EXISTS {extract.rows}"))
    connection.execute(text(f"DROP TABLE IF EXISTS {extract.repeats}"))


def _validate(extract: _Extract, suite: Suite) -> tuple[ValidationOutcome, dict[str, Any]]:
    from fatoura.quality.data_docs import write_page
    from fatoura.quality.expectations import Checks

    settings = get_settings()
    with begin() as connection:
        districts = list(connection.scalars(text("SELECT code FROM district ORDER BY code")))
    if not districts:
        raise BadInput(f"no district is known, so no row of {extract.key} can be valid: load it again")
    parameters = {
        "issue_date": [extract.issue_date.isoformat()],
        "districts": districts,
        "guard_bad_rows_share": settings.guard_bad_rows_share,
    }
    places = {
        "rows": extract.rows,
        "staging": extract.staging,
        "repeats": extract.repeats,
        "cycle_id": extract.cycle_id,
        "supplement": extract.key.supplement,
    }
    page = data_docs_page(extract.key)
    with Checks(settings.database_url, str(extract.key)) as checks:
        verdicts = checks.rows(suite, view=extract.rows, places=places, parameters=parameters)
        with begin() as connection:
            rejected = _set_aside(connection, extract, verdicts)
            by_code = _rejected_by_code(connection, extract) if rejected else {}
            figures = measure(
                connection,
                extract_id=extract.id,
                rows_view=extract.rows,
                staging=extract.staging,
                declared_rows=extract.declared_rows,
                declared_total=extract.declared_total_millimes,
                rejected_by_code=by_code,
                rejected_rows=rejected,
                earlier=earlier_cycles(
                    connection,
                    cycle_id=extract.cycle_id,
                    issue_date=extract.issue_date,
                    at_least=suite.history.at_least,
                    at_most=suite.history.cycles,
                ),
            )
            if figures["kept_rows"] + rejected != figures["rows"]:
                raise RowsUnsorted(
                    f"of {figures['rows']} rows of {extract.key}, {figures['kept_rows']} are kept and "
                    f"{rejected} rejected: a flaw of a record has no rule in {settings.quality_suite}"
                )
            findings = _judge(checks, extract, suite, figures, parameters)
            connection.execute(
                text("UPDATE extract SET validated_at = :at, rejected_rows = :rejected WHERE id = :id"),
                {"at": None if findings.stops else clock.now(), "rejected": rejected, "id": extract.id},
            )
            verdict = _verdict(figures, findings)
            write_page(page, checks.outcome(), verdict, connection, extract.id)
    if findings.stops:
        raise BatchRefused(str(extract.key), findings.stops)
    for one in findings.tripped:
        log.warning("%s: a person has to approve: %s", extract.key, one.sentence)
    outcome = ValidationOutcome(figures["rows"], rejected, by_code, findings.tripped, findings.skipped, page)
    return outcome, figures


def _set_aside(connection: Connection, extract: _Extract, verdicts: list[Verdict]) -> int:
    """Write the rejected rows: all that a rule's own query finds. Returns how many."""
    connection.execute(text("DELETE FROM rejected_row WHERE extract_id = :id"), {"id": extract.id})
    by_code: dict[str, list[str]] = {}
    for verdict in verdicts:
        if verdict.broken:
            by_code.setdefault(verdict.rule.code, []).append(verdict.query)
    if not by_code:
        return 0
    # A rule with several checks counts once a row (UNION); the reasons keep the order of the suite.
    broken = "\nUNION ALL\n".join(
        "("
        + "\nUNION\n".join(
            f"SELECT row_number, {rank}::smallint AS rank FROM (\n{query}\n) AS found" for query in queries
        )
        + ")"
        for rank, queries in enumerate(by_code.values(), 1)
    )
    codes = ", ".join(f"'{code}'" for code in by_code)
    fields = ", ".join(f"'{column}', s.{column}" for column in COLUMNS)
    done = driver(connection).execute(
        f"""
        INSERT INTO rejected_row (extract_id, row_number, part, part_row, reasons, fields)
        SELECT {extract.id}, s.row_number, s.part, s.part_row, r.reasons,
               jsonb_build_object({fields}) || coalesce(s.unknown, '{{}}')
        FROM (
          SELECT row_number, array_agg((ARRAY[{codes}])[rank] ORDER BY rank) AS reasons
          FROM ({broken}) AS broken GROUP BY row_number
        ) AS r
        JOIN {extract.staging} AS s USING (row_number)
        """.encode()
    )
    # What comes next leaves these rows out of the extract's: the planner has to know how many they are.
    connection.execute(text("ANALYZE rejected_row (extract_id, row_number)"))
    return done.rowcount


def _rejected_by_code(connection: Connection, extract: _Extract) -> dict[str, int]:
    found = connection.execute(
        text(
            "SELECT code, count(*) FROM rejected_row, unnest(reasons) AS code WHERE extract_id = :id "
            "GROUP BY code ORDER BY count(*) DESC, code"
        ),
        {"id": extract.id},
    )
    return {code: count for code, count in found}  # noqa: C416


def _judge(
    checks: Any, extract: _Extract, suite: Suite, figures: dict[str, Any], parameters: dict[str, Any]
) -> _Findings:
    """Put the figures before the batch rules."""
    from fatoura.quality.expectations import bounds

    findings = _Findings()
    looked_at: list[BatchRule] = []
    incomparable: list[str] = []
    for rule in suite.batch_rules:
        if not rule.concerns(extract.key.supplement, figures["rows"]):
            continue
        if figures[rule.figure] is not None:
            looked_at.append(rule)
        elif rule.figure.endswith("_to_earlier"):
            incomparable.append(rule.code)
    if incomparable:
        findings.skipped.append(
            f"{', '.join(incomparable)}: nothing to compare with "
            f"({figures['earlier_cycles']} earlier cycles, {suite.history.at_least} needed)"
        )
    for rule in checks.batch(looked_at, figures, parameters):
        told = sentence(rule.tells, figures, bounds(rule, parameters))
        if rule.severity == "stop":
            findings.stops.append(told)
        else:
            findings.tripped.append(Tripped(rule.code, told))
    return findings


def _verdict(figures: dict[str, Any], findings: _Findings) -> str:
    """Say what becomes of the extract: the page's first lines."""
    said = [
        f"{figures['kept_rows']:,} of {figures['rows']:,} rows keep all rules, "
        f"{figures['rejected_rows']:,} are set aside."
    ]
    if findings.stops:
        said.append(f"The extract is refused: {'; '.join(findings.stops)}.")
    elif findings.tripped:
        said.append(f"A person is asked: {'; '.join(one.sentence for one in findings.tripped)}.")
    else:
        said.append("The extract passes.")
    return " ".join(said + [f"Not looked at: {one}." for one in findings.skipped])


def _last_counts(key: ExtractKey) -> dict[str, Any]:
    with connect() as connection:
        counts = connection.scalar(
            text(
                "SELECT s.counts FROM stage AS s JOIN cycle AS c ON c.id = s.cycle_id "
                "WHERE c.key = :cycle AND s.supplement = :supplement AND s.name = 'validate' "
                "ORDER BY s.id DESC LIMIT 1"
            ),
            {"cycle": key.cycle, "supplement": key.supplement},
        )
    if counts is None:
        raise BadInput(f"extract {key} has not been validated")
    return dict(counts)


def _earlier_outcome(extract: _Extract) -> ValidationOutcome:
    counts = _last_counts(extract.key)
    with connect() as connection:
        by_code = _rejected_by_code(connection, extract)
    return ValidationOutcome(
        counts["rows"],
        counts["rejected"],
        by_code,
        [Tripped(**one) for one in counts.get("tripped", [])],
        counts.get("skipped", []),
        data_docs_page(extract.key),
        repeated=True,
    )
