"""Great Expectations, as the gate uses it: builds the suite's expectations, runs them, hands back verdicts.

Called by the gate alone, late: importing it takes seconds. The checks run inside PostgreSQL; what comes
back are counts, and the queries that find the rows behind them. No row comes into this process. Nothing
is written, no progress is drawn, and nothing is told to anybody's analytics.
"""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from sqlalchemy import make_url

# It logs hundreds of lines while it is imported.
logging.getLogger("great_expectations").setLevel(logging.WARNING)

import great_expectations as gx  # noqa: E402
import pandas as pd  # noqa: E402
from great_expectations.compatibility import pydantic  # noqa: E402
from great_expectations.core.expectation_validation_result import (  # noqa: E402
    ExpectationSuiteValidationResult,
)
from great_expectations.data_context.types.base import (  # noqa: E402
    DataContextConfig,
    InMemoryStoreBackendDefaults,
    ProgressBarsConfig,
)
from great_expectations.exceptions import GreatExpectationsError  # noqa: E402
from great_expectations.expectations.registry import get_expectation_impl  # noqa: E402

from fatoura.errors import FatouraError  # noqa: E402
from fatoura.quality.suite import BatchRule, Check, Parameter, RowRule, Suite, SuiteError  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_NO_ROWS = "expect_no_rows"

# No sample of values: with many bad rows they are many, and a misplaced column can hold anything.
_RESULT_FORMAT = {
    "result_format": "BASIC",
    "partial_unexpected_count": 0,
    "exclude_unexpected_values": True,
    "unexpected_index_column_names": ["row_number"],
    "return_unexpected_index_query": True,
}


class RuleNotEvaluatedError(FatouraError):
    """Great Expectations could not answer a check: the database failed, or the check's SQL is wrong."""


class ExpectNoRows(gx.expectations.UnexpectedRowsExpectation):  # type: ignore[misc]
    """Expect a query for row numbers to return nothing.

    As its base, which also fetches the rows: here they are counted where they are.
    """

    metric_dependencies: ClassVar[tuple[str, ...]] = (
        "unexpected_rows_query.row_count",
        "table.row_count",
    )

    @pydantic.validator("unexpected_rows_query")  # type: ignore[untyped-decorator]
    def _validate_query(cls, query: str) -> str:
        # The base prints a warning for a query without {batch}; here the gate names the tables.
        return query

    def _validate(
        self, metrics: dict[str, Any], runtime_configuration: Any = None, execution_engine: Any = None
    ) -> dict[str, Any]:
        count, rows = metrics["unexpected_rows_query.row_count"], metrics["table.row_count"]
        found = {
            "element_count": rows,
            "unexpected_count": count,
            "unexpected_percent": 100 * count / rows if rows else None,
        }
        return {"success": count == 0, "result": found}


@dataclass(frozen=True)
class Verdict:
    """What Great Expectations found for one check of a rule.

    :param broken: how many rows break it.
    :param query: finds their row numbers (in a column `row_number`).
    """

    rule: RowRule
    broken: int
    query: str


class Checks:
    """A session with Great Expectations over one staged extract.

    Use it as a context: its connections are closed at the end, so that nothing keeps the tables locked.
    """

    def __init__(self, database_url: str, key: str) -> None:
        """Open the session.

        :param database_url: the application's own.
        :param key: the extract's, for the pages that people read.
        """
        self.key = key
        self.results: list[Any] = []
        self.meta: dict[str, Any] = {}
        self._context = gx.get_context(
            mode="ephemeral",
            project_config=DataContextConfig(
                store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
                progress_bars=ProgressBarsConfig(globally=False),
                analytics_enabled=False,
            ),
        )
        self._database = self._context.data_sources.add_postgres(
            "database", connection_string=psycopg2_url(database_url), create_temp_table=False
        )

    def __enter__(self) -> Checks:
        """Return the session."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close its connections."""
        self._database.get_execution_engine().close()
        self._database.get_engine().dispose()

    def rows(
        self, suite: Suite, *, view: str, places: Mapping[str, object], parameters: Mapping[str, Any]
    ) -> list[Verdict]:
        """Check the row rules over the view of the readable records.

        :param view: ``schema.name``.
        :param places: what fills the placeholders of the suite's queries.
        :param parameters: what fills ``{$PARAMETER: …}``.
        :raises SuiteError: when an expectation does not exist or its arguments are wrong.
        :raises RuleNotEvaluatedError: when a check cannot be answered.
        """
        checks = [(rule, check) for rule in suite.row_rules for check in rule.checks]
        queries = [check.query.format(**places) if check.query else None for _, check in checks]
        expectations = [
            _row_expectation(rule, check, query, at)
            for at, ((rule, check), query) in enumerate(zip(checks, queries, strict=True))
        ]
        schema, table = view.split(".")
        with warnings.catch_warnings():
            # Deprecated for a schema in the connection, which its source for PostgreSQL does not take yet.
            warnings.simplefilter("ignore", DeprecationWarning)
            asset = self._database.add_table_asset("rows", schema_name=schema, table_name=table)
        batch = asset.add_batch_definition_whole_table("all")
        verdicts = []
        for at, result in self._run("rows", batch, expectations, parameters):
            rule, _ = checks[at]
            query = queries[at] or result.result["unexpected_index_query"].rstrip().rstrip(";")
            verdicts.append(Verdict(rule, result.result["unexpected_count"] or 0, query))
        return verdicts

    def batch(
        self, rules: list[BatchRule], figures: Mapping[str, Any], parameters: Mapping[str, Any]
    ) -> list[BatchRule]:
        """Check batch rules against the extract's figures; return those that are broken.

        :raises RuleNotEvaluatedError: when a check cannot be answered.
        """
        if not rules:
            return []
        frame = pd.DataFrame({rule.figure: [figures[rule.figure]] for rule in rules}, dtype="float64")
        batch = (
            self._context.data_sources.add_pandas("figures")
            .add_dataframe_asset("batch")
            .add_batch_definition_whole_dataframe("all")
        )
        expectations = [
            _batch_expectation(rule, figures[rule.figure], parameters, at) for at, rule in enumerate(rules)
        ]
        found = self._run("batch", batch, expectations, {}, {"dataframe": frame})
        return [rules[at] for at, result in found if not result.success]

    def outcome(self) -> Any:
        """Return all results as one, as Great Expectations' pages show it."""
        passed = sum(result.success for result in self.results)
        return ExpectationSuiteValidationResult(
            success=passed == len(self.results),
            results=self.results,
            suite_name=f"extract {self.key}",
            statistics={
                "evaluated_expectations": len(self.results),
                "successful_expectations": passed,
                "unsuccessful_expectations": len(self.results) - passed,
                "success_percent": 100 * passed / len(self.results),
            },
            meta=self.meta,
        )

    def _run(
        self,
        name: str,
        batch: Any,
        expectations: list[Any],
        parameters: Mapping[str, Any],
        batch_parameters: Mapping[str, Any] | None = None,
    ) -> Iterator[tuple[int, Any]]:
        suite = self._context.suites.add(gx.ExpectationSuite(name, expectations=expectations))
        definition = self._context.validation_definitions.add(
            gx.ValidationDefinition(name=name, data=batch, suite=suite)
        )
        try:
            found = definition.run(
                expectation_parameters=dict(parameters),
                batch_parameters=dict(batch_parameters) if batch_parameters else None,
                result_format=_RESULT_FORMAT,
            )
        except GreatExpectationsError as error:
            raise RuleNotEvaluatedError(f"Great Expectations could not check {self.key}: {error}") from error
        self.meta = self.meta or found.meta
        for result in sorted(found.results, key=lambda one: one.expectation_config.meta["check"]):
            if "unexpected_count" not in result.result:
                raise RuleNotEvaluatedError(
                    f"rule {result.expectation_config.meta['code']} of {self.key} could not be checked: "
                    f"{_exception(result.exception_info)}"
                )
            self.results.append(result)
            yield result.expectation_config.meta["check"], result


def psycopg2_url(database_url: str) -> str:
    """Return the URL of a database as Great Expectations takes it: psycopg2, and with a host in it.

    A socket stays a socket: psycopg2 prefers the host of the query to that of the URL.
    """
    url = make_url(database_url).set(drivername="postgresql+psycopg2")
    if not url.host:
        url = url.set(host="localhost")
    return url.render_as_string(hide_password=False)


def _row_expectation(rule: RowRule, check: Check, query: str | None, at: int) -> Any:
    arguments = check.arguments
    if query is not None:
        arguments["unexpected_rows_query"] = query.replace("{", "{{").replace("}", "}}")
    missing = len(rule.checks) > 1 and check.expect == "expect_column_values_to_not_be_null"
    says = "A value is there." if missing else rule.says
    return _expectation(rule, check.expect, arguments, says, at)


def _batch_expectation(rule: BatchRule, figure: float, parameters: Mapping[str, Any], at: int) -> Any:
    limits = bounds(rule, parameters)
    below = limits["below"]
    arguments = {
        "column": rule.figure,
        "min_value": limits["min"],
        "max_value": limits["max"] if below is None else below,
        "strict_max": below is not None,
    }
    effect = "stops the run" if rule.severity == "stop" else "asks a person"
    says = f"{rule.says} Here it is {figure:,.6g}; otherwise it {effect}."
    return _expectation(rule, "expect_column_values_to_be_between", arguments, says, at)


def _expectation(
    rule: RowRule | BatchRule, expectation: str, arguments: dict[str, Any], says: str, at: int
) -> Any:
    try:
        kind = ExpectNoRows if expectation == _NO_ROWS else get_expectation_impl(expectation)
        return kind(
            **arguments,
            description=f"{rule.code}: {says}",
            meta={"code": rule.code, "fields": rule.fields, "check": at},
        )
    except (GreatExpectationsError, pydantic.ValidationError, TypeError) as error:
        raise SuiteError(f"rule {rule.code}: {expectation} cannot be built: {error}") from None


def bounds(rule: BatchRule, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return a rule's limits, with parameters filled in."""
    limits = {"min": rule.min, "max": rule.max, "below": rule.below}
    return {
        name: parameters[limit.name] if isinstance(limit, Parameter) else limit
        for name, limit in limits.items()
    }


def _exception(info: Any) -> str:
    """Find the message in what Great Expectations tells of an exception, at either depth."""
    if not isinstance(info, dict):
        return str(info)
    if "exception_message" in info:
        return str(info["exception_message"])
    return "; ".join(sorted({_exception(one) for one in info.values()}))
