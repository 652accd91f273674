"""The texts of notices: Jinja2 templates, checked so strictly that the database can put them together.

Called by the kinds when they are loaded. Knows one text in one language; no declaration, no database.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, StrictUndefined, TemplateSyntaxError, UndefinedError, nodes

from fatoura.errors import BadInput
from fatoura.notices.encoding import GSM7_EXTENSION, Encoding, encoding_of, outside_gsm7
from fatoura.notices.fields import Field

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from jinja2 import Template

    from fatoura.languages import Language


class TemplateError(BadInput):
    """A kind or one of its texts is wrong. Trying again cannot help: the file named has to be mended."""


@dataclass(frozen=True)
class Sentence:
    """The text of a kind in one language."""

    where: str
    """Its kind and file, for errors."""
    language: Language
    template: Template
    pieces: tuple[str | Field, ...]
    """The same text as words and fields, in order: what the database puts together."""
    encoding: Encoding
    """The encoding of every message made from it, whatever the values."""

    def render(self, values: Mapping[str, Any]) -> str:
        """Render one message.

        :param values: by the names of its fields: millimes for money, days for dates, texts for references.
        :raises TemplateError: when a value is missing.
        """
        printed = {
            field.name: field.type.format(values[field.name], self.language)
            for field in self.pieces
            if isinstance(field, Field) and field.name in values
        }
        try:
            return self.template.render(printed)
        except UndefinedError as error:
            raise TemplateError(f"{self.where}: {error.message}") from None


_ENVIRONMENT = Environment(undefined=StrictUndefined, autoescape=False)


def read_sentence(kind: str, language: Language, path: Path, fields: Mapping[str, Field]) -> Sentence:
    """Read and check the text of a kind in one language.

    :raises TemplateError: when the file is missing or not a text of words and fields, when it leaves a field
        out, or when it holds a character that would make its messages dear or their units uncertain.
    """
    where = f"notice kind {kind}, {path.name}"
    try:
        source = path.read_text("utf-8")
    except FileNotFoundError:
        raise TemplateError(f"notice kind {kind} has no text in {language}: write {path.name}") from None
    except UnicodeDecodeError:
        raise TemplateError(f"{where} is not UTF-8") from None
    try:
        pieces = _take_apart(where, _ENVIRONMENT.parse(source), fields)
        template = _ENVIRONMENT.from_string(source)
    except TemplateSyntaxError as error:
        raise TemplateError(f"{where}, line {error.lineno}: {error.message}") from None
    unused = [name for name, field in fields.items() if field not in pieces]
    if unused:
        raise TemplateError(f"{where} never prints {', '.join(unused)}, which kind.toml declares")
    first, last = pieces[0], pieces[-1]
    if (isinstance(first, str) and first[0].isspace()) or (isinstance(last, str) and last[-1].isspace()):
        raise TemplateError(f"{where} begins or ends with white space, which is paid for")
    encoding = _encoding_of_all(where, language, pieces)
    return Sentence(where, language, template, pieces, encoding)


def _take_apart(where: str, tree: nodes.Template, fields: Mapping[str, Field]) -> tuple[str | Field, ...]:
    """Read a template as words and fields, and refuse one that is anything else.

    The database puts a million messages together from the words and from values that are formatted once,
    so a text may not depend on a value. Judging by the syntax tree is stricter than rendering with marks
    and looking where they end up: a filter on digits, or a comparison, would leave every mark in place.
    """
    pieces: list[str | Field] = []
    for statement in tree.body:
        for part in statement.nodes if isinstance(statement, nodes.Output) else [statement]:
            if isinstance(part, nodes.TemplateData):
                pieces.append(part.data)
            elif isinstance(part, nodes.Name) and part.name in fields:
                pieces.append(fields[part.name])
            elif isinstance(part, nodes.Name):
                raise TemplateError(
                    f"{where}, line {part.lineno}: {part.name} is not among the fields of kind.toml"
                )
            else:
                raise TemplateError(
                    f"{where}, line {part.lineno}: a text holds words and fields such as {{{{ amount }}}}, "
                    f"nothing else ({type(part).__name__} found): no condition, loop, filter or expression. "
                    "Messages are put together in the database, so that a text cannot depend on a value; "
                    "another sentence is another kind"
                )
    if not pieces:
        raise TemplateError(f"{where} is empty")
    return tuple(pieces)


def _encoding_of_all(where: str, language: Language, pieces: tuple[str | Field, ...]) -> Encoding:
    """Return the encoding that all messages of a text share: its words decide, for values fit in both.

    In the database a unit is a character. That holds when no character costs two: no extension character
    in GSM-7, nothing beyond U+FFFF in UCS-2.
    """
    words = "".join(piece for piece in pieces if isinstance(piece, str))
    encoding = encoding_of(words)
    if language == "fr" and encoding != "gsm7":
        odd = ", ".join(f"{character} (U+{ord(character):04X})" for character in outside_gsm7(words))
        raise TemplateError(
            f"{where}: French goes out in GSM-7, which has no {odd}; one such letter leaves 70 characters "
            "a message instead of 160"
        )
    if encoding == "gsm7":
        double = sorted(GSM7_EXTENSION.intersection(words))
    else:
        double = sorted({character for character in words if ord(character) > 0xFFFF})
    if double:
        raise TemplateError(
            f"{where}: {' '.join(double)} costs two units, and planning counts one a character: write it "
            "in another way"
        )
    return encoding
