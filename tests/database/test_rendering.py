"""Messages put together by the database equal those that Jinja, Babel and `measure` make one by one."""

from datetime import date
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Column, Integer, MetaData, Table, Text, insert
from sqlalchemy.types import BigInteger, Date

from fatoura.database import begin
from fatoura.languages import LANGUAGES
from fatoura.money import LARGEST_MILLIMES
from fatoura.notices.encoding import LIMITS, measure
from fatoura.notices.fields import LARGEST_FEE_MILLIMES
from fatoura.notices.kinds import all_kinds, load_kind
from fatoura.notices.rendering import lay_out_values, rendered

TEXTS = {
    # More than one segment, repeated fields, fields side by side, two amounts, percent signs and quotes.
    "long": {
        "ar": "د" * 100 + "{{ amount }}{{ reference }}\n" + "{{ due_date }} {{ fee }} {{ amount }}[",
        "fr": '100 % d\'"x" :x ? {{ amount }}{{ reference }}{{ due_date }} {{ fee }}, {{ amount }}%(x)s'
        + "é" * 90,
    },
    # On the edge: the digits of a value decide between one segment and two, and between two and three.
    "edge": {
        "ar": "د" * 36 + "{{ amount }} {{ fee }} {{ reference }} {{ due_date }}",
        "fr": "a" * 270 + "{{ amount }}{{ fee }} {{ reference }}{{ due_date }}",
    },
    # An Arabic text without an Arabic letter is GSM-7 like any other.
    "figures": dict.fromkeys(LANGUAGES, "{{ amount }}-{{ fee }}-{{ reference }}-{{ due_date }}"),
}
DECLARATION = """
description = "A trial"
priority = 1
segments = 3
in_doubt = "give_up"
validity_minutes = 60
[fields]
amount = {type = "money", worst = 999_999_999, typical = 1}
fee = {type = "money", worst = 999_999_999, typical = 1}
reference = {type = "reference", worst = "000000000", typical = "000000000"}
due_date = {type = "date", worst = 2026-12-31, typical = 2026-12-31}
"""
SECOND_AMOUNT = "fee"
OF_TYPE = {"money": "owed", "fee": "yearly", "reference": "contract", "date": "day", "code": "code"}

rows = Table(
    "rows",
    MetaData(),
    Column("n", Integer),
    Column("language", Text),
    Column("owed", BigInteger),
    Column("charge", BigInteger),
    Column("yearly", Integer),
    Column("contract", Text),
    Column("day", Date),
    Column("code", Text),
    prefixes=["TEMPORARY"],
    postgresql_on_commit="DROP",
)

# Amounts of every length, and those around the places where a group begins.
amounts = st.one_of(
    st.integers(0, 9).flatmap(lambda digits: st.integers(0, 10**digits - 1)),
    st.integers(-3, 3).flatmap(lambda d: st.sampled_from([10**6 + d, 10**7 + d, 10**8 + d]).map(abs)),
).filter(lambda amount: amount <= LARGEST_MILLIMES)
lines = st.tuples(
    st.sampled_from(LANGUAGES),
    amounts,
    amounts,
    st.integers(0, LARGEST_FEE_MILLIMES),
    st.from_regex("[0-9]{9}", fullmatch=True),
    st.dates(date(2020, 1, 1), date(2040, 12, 31)),
    st.from_regex("[0-9]{6}", fullmatch=True),
)


def columns_of(kind) -> dict[str, str]:
    columns = {name: OF_TYPE[field.type.name] for name, field in kind.fields.items()}
    return columns | ({SECOND_AMOUNT: "charge"} if SECOND_AMOUNT in columns else {})


@pytest.fixture(scope="module")
def trial_kinds(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("kinds")
    for name, texts in TEXTS.items():
        (folder / name).mkdir()
        (folder / name / "kind.toml").write_text(DECLARATION, "utf-8")
        for language, text in texts.items():
            (folder / name / f"{language}.txt.j2").write_text(text, "utf-8")
    return folder


def render_in_sets(kind, values, columns):
    with begin() as connection:
        rows.create(connection)
        connection.execute(insert(rows), values)
        lay_out_values(connection, {value["day"] for value in values})
        named = {field: columns[field] for field in kind.fields}
        return {row.n: row for row in connection.execute(rendered(kind, rows, named))}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(lines, min_size=1, max_size=40))
def test_a_set_is_rendered_as_each_message_by_itself(database, trial_kinds, drawn):
    values = [dict(zip(rows.c.keys(), (n, *line), strict=True)) for n, line in enumerate(drawn)]
    for kind in [*all_kinds().values(), *all_kinds(trial_kinds).values()]:
        found = render_in_sets(kind, values, columns_of(kind))
        assert len(found) == len(values)
        for value in values:
            row = found[value["n"]]
            alone = kind.render(
                value["language"], {field: value[column] for field, column in columns_of(kind).items()}
            )
            cost = measure(alone)
            assert (row.text, row.encoding, row.segments) == (alone, cost.encoding, cost.segments)


def test_each_thousand_of_dinars_and_each_millime_is_printed(database):
    numbers = [
        *range(1000),
        *range(1000, 1_000_000, 991),
        *range(0, LARGEST_MILLIMES, 3_333_333),
        LARGEST_MILLIMES,
    ]
    kind = load_kind("bill")
    values = [
        {
            "n": n,
            "language": language,
            "owed": amount,
            "charge": 0,
            "contract": "425804960",
            "day": date(2026, 6, 25),
        }
        for n, (amount, language) in enumerate((a, language) for a in numbers for language in LANGUAGES)
    ]
    found = render_in_sets(kind, values, columns_of(kind))
    for value in values:
        assert found[value["n"]].text == kind.render(
            value["language"],
            {"amount": value["owed"], "reference": "425804960", "due_date": value["day"]},
        )


@pytest.mark.parametrize("owed", [-1, -1_000_000, LARGEST_MILLIMES + 1, None])
def test_an_amount_that_cannot_be_printed_is_seen_and_not_lost(database, owed):
    value = {
        "n": 1,
        "language": "fr",
        "owed": owed,
        "charge": 0,
        "contract": "425804960",
        "day": date(2026, 6, 25),
    }
    kind = load_kind("bill")
    row = render_in_sets(kind, [value], columns_of(kind))[1]
    assert (row.text, row.segments) == (None, 0)


def test_the_trial_texts_reach_every_count_of_segments(trial_kinds):
    counts = set()
    for kind in all_kinds(trial_kinds).values():
        for language in LANGUAGES:
            for amount in (0, LARGEST_MILLIMES):
                text = kind.render(
                    language,
                    {
                        "amount": amount,
                        "fee": amount,
                        "reference": "000000000",
                        "due_date": date(2026, 6, 25),
                    },
                )
                counts.add(measure(text)[::2])
    assert counts == {(encoding, segments) for encoding in LIMITS for segments in (1, 2, 3)}
