"""The one place that judges and masks phone numbers: Tunisian mobiles, kept as E.164.

Called by imports, enrolment, statements and everything that shows a number. Its errors never hold the number.
"""

from __future__ import annotations

import re
import unicodedata

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumberType, ValidationResult

from fatoura.errors import BadInput

_REGION = "TN"
_COUNTRY_CODE = 216
_NATIONAL_DIGITS = 8
_LONGEST_DIGITS = 15  # of any number in the world

# Small ranges in 3x are handed out to fixed and to mobile lines alike.
_MOBILE = {PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE}

# phonenumbers also reads letters as keys of a phone, and extensions: here they are mistakes of typing.
_WRITTEN = re.compile(r"[+＋]?[\d\s().\-‐-―/]+")

_DAY = re.compile(r"(?<!\d)(?:20\d\d-[01]\d-[0-3]\d|[0-3]\d[/.-][01]\d[/.-]20\d\d)(?!\d)")


class PhoneError(BadInput):
    """A number that no message can go to. `code` is the kind of problem; the number itself is not in it."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
        """``empty``, ``unreadable``, ``foreign``, ``too_short``, ``too_long``, ``fixed_line``, ``not_mobile``
        or ``unassigned``: the codes of refused rows."""


def parse_mobile(text: str) -> str:
    """Read a Tunisian mobile number, and return it in E.164 (``+216`` and 8 digits).

    With or without the country code, with spaces, dots, dashes, in western or Arabic-Indic digits. Which
    ranges are mobile is phonenumbers' knowledge; the operator is never inferred from the prefix.

    :raises PhoneError: for anything else, with the kind of problem.
    """
    # Numbers copied from a phone's contacts come wrapped in invisible marks of direction.
    written = "".join(c for c in text if unicodedata.category(c) != "Cf").strip()
    if not written:
        raise PhoneError("empty", "there is no phone number")
    if not _WRITTEN.fullmatch(written):
        raise PhoneError("unreadable", "the phone number holds something other than digits")
    try:
        number = phonenumbers.parse(written, _REGION)
    except NumberParseException as error:
        raise _unparsed(error) from None
    if number.country_code != _COUNTRY_CODE:
        raise PhoneError("foreign", "the phone number is not Tunisian: +216 and 8 digits are needed")
    kind = phonenumbers.number_type(number)
    if kind in _MOBILE:
        e164: str = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
        return e164
    if kind == PhoneNumberType.FIXED_LINE:
        raise PhoneError("fixed_line", "the phone number is a fixed line, which takes no messages")
    if kind != PhoneNumberType.UNKNOWN:
        raise PhoneError("not_mobile", "the phone number belongs to a service, not to a mobile phone")
    length = phonenumbers.is_possible_number_with_reason(number)
    if length == ValidationResult.TOO_SHORT:
        raise PhoneError("too_short", "the phone number is too short: 8 digits are needed after +216")
    if length == ValidationResult.TOO_LONG:
        raise PhoneError("too_long", "the phone number is too long: 8 digits are needed after +216")
    raise PhoneError("unassigned", "the phone number lies in a range that is not in use in Tunisia")


def _unparsed(error: NumberParseException) -> PhoneError:
    # The library's own sentences quote the number: ours must not.
    if error.error_type == NumberParseException.INVALID_COUNTRY_CODE:
        return PhoneError("foreign", "the phone number begins with a country code that does not exist")
    if error.error_type == NumberParseException.TOO_LONG:
        return PhoneError("too_long", "the phone number is too long: 8 digits are needed after +216")
    if error.error_type in (NumberParseException.TOO_SHORT_NSN, NumberParseException.TOO_SHORT_AFTER_IDD):
        return PhoneError("too_short", "the phone number is too short: 8 digits are needed after +216")
    return PhoneError("unreadable", "the phone number cannot be read")


def comparable(text: str) -> str | None:
    """Write a number as E.164, without judging it: to find it again among those that messages went to.

    :returns: nothing when it holds something other than digits and the usual signs, or too few or many.
    """
    written = "".join(c for c in text if unicodedata.category(c) != "Cf").strip()
    if not _WRITTEN.fullmatch(written):
        return None
    digits = "".join(str(unicodedata.digit(c)) for c in written if c.isdigit()).removeprefix("00")
    if len(digits) == _NATIONAL_DIGITS:
        return f"+{_COUNTRY_CODE}{digits}"
    return f"+{digits}" if _NATIONAL_DIGITS < len(digits) <= _LONGEST_DIGITS else None


def holds_number(words: str) -> bool:
    """Tell whether a Tunisian number stands somewhere in a sentence, in any usual spelling. A day is none."""
    written = "".join(c for c in words if unicodedata.category(c) != "Cf")
    found: bool = phonenumbers.PhoneNumberMatcher(_DAY.sub("day", written), _REGION).has_next()
    return found


def mask(e164: str) -> str:
    """Hide all but the last three digits: ``+216 ** *** 345``. For screens, logs and shared files."""
    return f"+216 ** *** {e164[-3:]}"
