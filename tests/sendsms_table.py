"""What Kannel 1.4.5 answers to single requests: checked against Kannel itself, and demanded of the sandbox.

Numbers are invented. A change of None leaves the header or parameter out.
"""

from __future__ import annotations

from typing import Any

PATH = "/cgi-bin/sendsms"
NUMBER = "+21620000000"

ACCEPTED = (202, "0: Accepted for delivery")
WRONG_CREDENTIALS = (403, "Authorization failed for sendsms")
DENIED = (400, "Number(s) has/have been denied by white- and/or black-lists.")
EMPTY = (400, "Empty receiver number not allowed, rejected")
NO_SENDER = (400, "Sender missing and no global set, rejected")
CHARSET = (400, "Charset or body misformed, rejected")


def misformed(field: str) -> tuple[int, str]:
    return (400, f"{field} field misformed, rejected")


POSTS: list[tuple[str, dict[str, str | None], bytes, tuple[int, str]]] = [
    ("in order", {}, b"text", ACCEPTED),
    ("octets", {"Content-Type": "application/octet-stream"}, b"text", ACCEPTED),
    ("no charset", {"Content-Type": "text/plain"}, b"text", ACCEPTED),
    ("no user", {"X-Kannel-Username": None}, b"text", WRONG_CREDENTIALS),
    ("wrong user", {"X-Kannel-Username": "x"}, b"text", WRONG_CREDENTIALS),
    ("wrong password", {"X-Kannel-Password": "x"}, b"text", WRONG_CREDENTIALS),
    ("no recipient", {"X-Kannel-To": None}, b"text", (400, "Missing receiver(s) number(s), rejected")),
    ("empty recipient", {"X-Kannel-To": ""}, b"text", EMPTY),
    ("letters", {"X-Kannel-To": "abc"}, b"text", DENIED),
    ("one of two", {"X-Kannel-To": f"abc {NUMBER}"}, b"text", ACCEPTED),
    ("no sender", {"X-Kannel-From": None}, b"text", NO_SENDER),
    ("long sender", {"X-Kannel-From": "ABCDEFGHIJKL"}, b"text", ACCEPTED),
    ("coding 7", {"X-Kannel-Coding": "7"}, b"text", misformed("Coding")),
    ("coding -2", {"X-Kannel-Coding": "-2"}, b"text", misformed("Coding")),
    ("coding none", {"X-Kannel-Coding": None}, b"text", ACCEPTED),
    ("mask 66", {"X-Kannel-DLR-Mask": "66"}, b"text", ACCEPTED),
    ("mask 67", {"X-Kannel-DLR-Mask": "67"}, b"text", misformed("DLR-Mask")),
    ("mask x", {"X-Kannel-DLR-Mask": "x"}, b"text", ACCEPTED),
    ("address ftp", {"X-Kannel-DLR-Url": "ftp://receiver/x"}, b"text", misformed("DLR-URL")),
    ("validity -5", {"X-Kannel-Validity": "-5"}, b"text", misformed("Validity")),
    ("validity x", {"X-Kannel-Validity": "x"}, b"text", ACCEPTED),
    ("charset", {"Content-Type": "text/plain; charset=KLINGON"}, b"text", CHARSET),
    ("empty text", {}, b"", ACCEPTED),
    ("form", {"Content-Type": "application/x-www-form-urlencoded"}, b"a=b", (400, "Invalid content-type")),
    ("json", {"Content-Type": "application/json"}, b"{}", (400, "Invalid content-type")),
]

GETS: list[tuple[str, dict[str, str | None], tuple[int, str]]] = [
    ("in order", {}, ACCEPTED),
    ("no text", {"text": None}, ACCEPTED),
    ("wrong password", {"password": "x"}, WRONG_CREDENTIALS),
    ("no recipient", {"to": None}, (400, "Missing receiver number, rejected")),
    ("empty recipient", {"to": ""}, EMPTY),
    ("letters", {"to": "abc"}, DENIED),
    ("three, one bad", {"to": f"{NUMBER} +21620000010 abc"}, ACCEPTED),
    ("no sender", {"from": None}, NO_SENDER),
    ("coding 7", {"coding": "7"}, misformed("Coding")),
    ("charset", {"charset": "KLINGON"}, CHARSET),
    ("mask 67", {"dlr-mask": "67"}, misformed("DLR-Mask")),
    ("validity x", {"validity": "x"}, ACCEPTED),
]


def post(changes: dict[str, str | None], username: str, password: str) -> dict[str, str]:
    """Return the headers of a POST that is in order but for the changes."""
    headers = {
        "Content-Type": "text/plain; charset=UTF-8",
        "X-Kannel-Username": username,
        "X-Kannel-Password": password,
        "X-Kannel-From": "STEG",
        "X-Kannel-To": NUMBER,
        **changes,
    }
    return _given(headers)


def get(changes: dict[str, str | None], username: str, password: str) -> dict[str, str]:
    """Return the parameters of a GET that is in order but for the changes."""
    sent = {"username": username, "password": password, "from": "STEG", "to": NUMBER, "text": "text"}
    return _given({**sent, **changes})


def _given(fields: dict[str, Any]) -> dict[str, str]:
    return {name: value for name, value in fields.items() if value is not None}
