"""The suite of rules: reads and checks `suite.yaml`, the one place where an extract's rules are written.

Called by the gate, by the export of rejected rows and by `fatoura quality rules`. Knows the file's form;
it does not import Great Expectations, which takes seconds, so what an expectation's arguments must be is
found when the gate builds it.
"""

from __future__ import annotations

from string import Formatter
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from fatoura.errors import BadInput
from fatoura.extracts.columns import COLUMNS
from fatoura.quality.figures import NUMBERS, WORDS
from fatoura.settings import get_settings

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping
    from pathlib import Path

PARAMETERS = frozenset({"issue_date", "districts", "guard_bad_rows_share"})
"""What ``{$PARAMETER: name}`` can name in a check or a bound."""

PLACEHOLDERS = frozenset({"rows", "staging", "repeats", "cycle_id", "supplement"})
"""What a query of the suite can name in braces."""

Code = Annotated[str, StringConstraints(pattern=r"\A[a-z][a-z0-9_]{0,39}\z")]
Sentence = Annotated[str, StringConstraints(min_length=10, max_length=400)]


class SuiteError(BadInput):
    """The file of rules is wrong: names the file, the rule and what to mend."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Parameter(_Part):
    """A value that the gate fills in."""

    name: str = Field(alias="$PARAMETER")

    @model_validator(mode="after")
    def _known(self) -> Self:
        if self.name not in PARAMETERS:
            raise ValueError(f"{self.name!r} is no parameter; there are {', '.join(sorted(PARAMETERS))}")
        return self


class Check(BaseModel):
    """An expectation and its arguments. The arguments are checked by Great Expectations itself."""

    model_config = ConfigDict(frozen=True, extra="allow")

    expect: Annotated[str, StringConstraints(pattern=r"\Aexpect_[a-z0-9_]+\z")]
    column: str | None = None
    query: str | None = None

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of the expectation, as the file gives them; the query has its placeholders still."""
        return self.model_dump(exclude={"expect", "query"}, exclude_none=True)

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if (self.expect == "expect_no_rows") != (self.query is not None):
            raise ValueError("a query belongs to expect_no_rows, and only to that")
        if (self.column is None) == (self.query is None):
            raise ValueError("a check is about a column, or has a query")
        for value in (self.model_extra or {}).values():
            if isinstance(value, dict):
                Parameter.model_validate(value)
        if self.query is not None:
            _check_query(self.query, PLACEHOLDERS)
        return self


class RowRule(_Part):
    """A rule that each row keeps or breaks; what breaks it is set aside with its code."""

    code: Code
    field: Literal["record", *COLUMNS]  # type: ignore[valid-type]
    says: Sentence
    checks: tuple[Check, ...] = Field(min_length=1)

    @property
    def severity(self) -> str:
        """What happens when it is broken: the row is set aside."""
        return "row"

    @property
    def fields(self) -> list[str]:
        """The columns of the contract that it looks at; of a derived column, the one it is about."""
        looked_at = [check.column for check in self.checks]
        return [column for column in COLUMNS if column in looked_at] or [self.field]


class BatchRule(_Part):
    """A rule about one figure of the extract as a whole: it stops the run, or asks a person."""

    code: Code
    severity: Literal["stop", "ask"]
    figure: str
    says: Sentence
    min: float | Parameter | None = None
    max: float | Parameter | None = None
    below: float | Parameter | None = None
    applies_to: Literal["extract", "supplement"] | None = None
    from_rows: int = Field(0, ge=0)
    tells: Sentence

    @property
    def field(self) -> str:
        """What it is about."""
        return self.figure

    @property
    def fields(self) -> list[str]:
        """The columns of the contract that it looks at: none by itself."""
        return []

    def concerns(self, supplement: int, rows: int) -> bool:
        """Tell whether it looks at an extract of so many rows."""
        kind = "supplement" if supplement else "extract"
        return self.applies_to in (None, kind) and rows >= self.from_rows

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.figure not in NUMBERS:
            raise ValueError(f"{self.figure!r} is no figure; there are {', '.join(sorted(NUMBERS))}")
        if self.min is None and self.max is None and self.below is None:
            raise ValueError("give min, max or below")
        if self.max is not None and self.below is not None:
            raise ValueError("give max or below, not both")
        if unknown := _fields(self.tells) - NUMBERS - WORDS - {"min", "max", "below"}:
            raise ValueError(f"tells names {', '.join(sorted(unknown))}, which is no figure")
        return self


class History(_Part):
    """With how many earlier cycles figures are compared."""

    cycles: int = Field(ge=1)
    at_least: int = Field(ge=1)


class Suite(_Part):
    """All rules, in the order in which they are told."""

    columns: dict[Code, str]
    repeats: str
    row_rules: tuple[RowRule, ...] = Field(min_length=1)
    batch_rules: tuple[BatchRule, ...]
    history: History

    @property
    def rules(self) -> tuple[RowRule | BatchRule, ...]:
        """Row rules, then batch rules."""
        return (*self.row_rules, *self.batch_rules)

    def words(self) -> Mapping[str, str]:
        """Return what each row rule says, by its code."""
        return {rule.code: rule.says for rule in self.row_rules}

    @model_validator(mode="after")
    def _whole(self) -> Self:
        codes = [rule.code for rule in self.rules]
        if twice := sorted({code for code in codes if codes.count(code) > 1}):
            raise ValueError(f"the code {', '.join(twice)} is there twice")
        if missing := [column for column in COLUMNS if column not in self.columns]:
            raise ValueError(f"columns lacks {', '.join(missing)}")
        for rule in self.row_rules:
            for check in rule.checks:
                if check.column is not None and check.column not in self.columns:
                    raise ValueError(f"{rule.code} looks at {check.column}, which columns does not have")
        _check_query(self.repeats, frozenset({"staging"}))
        return self


def load_suite(path: Path | None = None) -> Suite:
    """Read the rules.

    :param path: the file; without one, that of the settings.
    :raises SuiteError: when it is missing or wrong; names every place.
    """
    path = path or get_settings().quality_suite
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=_StrictLoader)
    except OSError as error:
        raise SuiteError(f"the rules in {path} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SuiteError(f"the rules in {path} are not YAML: {error}") from None
    try:
        return Suite.model_validate(document)
    except ValidationError as error:
        said = "; ".join(_where(one["loc"], document) + one["msg"] for one in error.errors())
        raise SuiteError(f"the rules in {path} are wrong: {said}") from None


class _StrictLoader(yaml.SafeLoader):
    """YAML's last word wins; here a key that is there twice is a mistake."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        mapping: dict[Hashable, Any] = super().construct_mapping(node, deep)
        if len(mapping) < len(node.value):
            raise yaml.constructor.ConstructorError(None, None, "a key is there twice", node.start_mark)
        return mapping


def _fields(template: str) -> set[str]:
    return {name.split(".")[0] for _, name, _, _ in Formatter().parse(template) if name is not None}


def _check_query(query: str, known: frozenset[str]) -> None:
    try:
        unknown = _fields(query) - known
    except ValueError as error:
        raise ValueError(f"the query's braces: {error}; write a brace of SQL as {{{{ or }}}}") from None
    if unknown:
        raise ValueError(f"the query names {', '.join(map(repr, sorted(unknown)))}, which nothing fills in")


def _where(location: tuple[int | str, ...], document: Any) -> str:
    """Name the place of a mistake, by the rule's code where there is one."""
    words: list[str] = []
    for step in location:
        try:
            document = document[step]
        except (KeyError, IndexError, TypeError):
            document = None
        if isinstance(step, int) and isinstance(document, dict) and "code" in document:
            words.append(str(document["code"]))
        else:
            words.append(str(step))
    return ".".join(words) + ": " if words else ""
