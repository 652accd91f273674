"""What people type, read as it was meant: spaces, dashes, Arabic-Indic digits, invisible marks of direction.

Called by the pages. Each form gives its values, or what is wrong by field, as codes that have words in
words.yaml. Pure: it knows no database, and cannot tell whether a customer exists.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fatoura.languages import LANGUAGES, Language
from fatoura.phones import PhoneError, parse_mobile
from fatoura.references import is_reference

if TYPE_CHECKING:
    from collections.abc import Mapping

_BETWEEN = re.compile(r"[\s.\-‐-―/]+")
_INVOICE = re.compile(r"[A-Z0-9][A-Z0-9/-]{0,31}")
_CODE = re.compile(r"[0-9]{6}")


@dataclass
class Form:
    """What was typed, and what was read of it.

    :param typed: as it came, to be shown again.
    :param problems: what is wrong, by the field's name; empty: all values are there.
    """

    typed: Mapping[str, str]
    problems: dict[str, str] = field(default_factory=dict)
    reference: str = ""
    invoice: str = ""
    phone: str = ""
    language: Language = "ar"
    code: str = ""
    wording: str = ""

    def read_reference(self) -> None:
        """Read a customer's reference: 9 digits, in any grouping."""
        self.reference = _BETWEEN.sub("", _plain(self.typed.get("reference", "")))
        if not is_reference(self.reference):
            self.problems["reference"] = "reference_form" if self.reference else "reference_empty"

    def read_invoice(self) -> None:
        """Read an invoice number, in capitals or not."""
        self.invoice = re.sub(r"\s+", "", _plain(self.typed.get("invoice", ""))).upper()
        if not _INVOICE.fullmatch(self.invoice):
            self.problems["invoice"] = "invoice_form" if self.invoice else "invoice_empty"

    def read_phone(self) -> None:
        """Read a Tunisian mobile number."""
        try:
            self.phone = parse_mobile(self.typed.get("phone", ""))
        except PhoneError as error:
            self.problems["phone"] = f"phone_{error.code}"

    def read_language(self) -> None:
        """Read the language of messages."""
        told = self.typed.get("language", "")
        for language in LANGUAGES:
            if told == language:
                self.language = language
                return
        self.problems["language"] = "language_empty"

    def read_code(self) -> None:
        """Read a one-time code: 6 digits, in any grouping."""
        self.code = _BETWEEN.sub("", _plain(self.typed.get("code", "")))
        if not _CODE.fullmatch(self.code):
            self.problems["code"] = "code_form" if self.code else "code_empty"

    def read_consent(self, current: str) -> None:
        """Read the agreement to a wording.

        :param current: the version that is in force; one that was replaced meanwhile is shown anew.
        """
        self.wording = self.typed.get("wording", "")
        if self.wording != current:
            self.problems["consent"] = "consent_changed"
        elif self.typed.get("consent") != "yes":
            self.problems["consent"] = "consent_empty"


def _plain(typed: str) -> str:
    """Return a text without invisible marks, with western digits."""
    shown = (character for character in typed if unicodedata.category(character) not in ("Cf", "Cc"))
    return "".join(
        str(unicodedata.decimal(character)) if character.isdecimal() else character for character in shown
    ).strip()
