"""The rules of Kannel's sendsms interface: what it reads from a request, what it refuses, and in which words.

Called by the sandbox's server. Checked against real Kannel 1.4.5, gaps included: what Kannel takes although
it should not is taken here too. No input or output.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, parse_qsl, urlsplit

from fatoura.notices.encoding import LIMITS, measure, outside_gsm7

if TYPE_CHECKING:
    from collections.abc import Mapping

PATH = "/cgi-bin/sendsms"

_NUMBER_CHARACTERS = re.compile(r"[0-9+ ]+")
_INTEGER = re.compile(r"\s*([+-]?\d+)")
_CHARSET = re.compile(r"charset=\"?([^\s;\"]+)", re.IGNORECASE)

_HEADERS = {
    "x-kannel-username": "username",
    "x-kannel-password": "password",
    "x-kannel-from": "from",
    "x-kannel-to": "to",
    "x-kannel-coding": "coding",
    "x-kannel-validity": "validity",
    "x-kannel-dlr-mask": "dlr-mask",
    "x-kannel-dlr-url": "dlr-url",
}


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: HTTP status and the sentence in its body."""

    status: int
    sentence: str


ACCEPTED = Reply(202, "0: Accepted for delivery")
TEMPORARY = Reply(503, "Temporal failure, try again later.")
DENIED = Reply(400, "Number(s) has/have been denied by white- and/or black-lists.")


@dataclass(frozen=True, slots=True)
class Submission:
    """What one request asks for, once Kannel's checks have passed.

    :param segments: how many of each message Kannel would send, after its cut.
    :param notice: our id, from the dlr-url; nothing when that has none.
    :param attempt: our attempt, likewise.
    :param validity: minutes in which it may be delivered; nothing when none was given.
    """

    phones: tuple[str, ...] = field(repr=False)
    segments: int
    dlr_mask: int
    dlr_url: str = field(repr=False)
    notice: str | None
    attempt: int | None
    validity: int | None


@dataclass(frozen=True, slots=True)
class SendsmsUser:
    """A `sendsms-user` group of Kannel's configuration."""

    username: str
    password: str = field(repr=False)
    max_messages: int = 10


def read_request(
    method: str, query: str, headers: Mapping[str, str], body: bytes, user: SendsmsUser
) -> Submission | Reply:
    """Read a request to `PATH` as Kannel does, or answer why not.

    :param query: the address's query, still encoded.
    :param headers: names in lower case.
    """
    if method == "POST":
        content_type = headers.get("content-type", "")
        if content_type.partition(";")[0].strip().lower() not in ("text/plain", "application/octet-stream"):
            return Reply(400, "Invalid content-type")
        given = {ours: headers[theirs].strip() for theirs, ours in _HEADERS.items() if theirs in headers}
        match = _CHARSET.search(content_type)
        charset, missing = match[1] if match else "", "Missing receiver(s) number(s), rejected"
    else:
        given = dict(parse_qsl(query, keep_blank_values=True))
        body = given.get("text", "").encode()
        charset, missing = given.get("charset", ""), "Missing receiver number, rejected"

    if (given.get("username"), given.get("password")) != (user.username, user.password):
        return Reply(403, "Authorization failed for sendsms")
    if "to" not in given:
        return Reply(400, missing)
    if not given["to"]:
        return Reply(400, "Empty receiver number not allowed, rejected")
    phones = tuple(dict.fromkeys(filter(_NUMBER_CHARACTERS.fullmatch, given["to"].split())))
    if not phones:
        return DENIED
    if not given.get("from"):
        return Reply(400, "Sender missing and no global set, rejected")
    dlr_url = given.get("dlr-url", "")
    if dlr_url and not re.match(r"https?://.", dlr_url, re.IGNORECASE):
        return Reply(400, "DLR-URL field misformed, rejected")
    dlr_mask, coding = _integer(given.get("dlr-mask")), _integer(given.get("coding"))
    if not -1 <= dlr_mask <= 66:
        return Reply(400, "DLR-Mask field misformed, rejected")
    if not -1 <= coding <= 2:
        return Reply(400, "Coding field misformed, rejected")
    validity = _integer(given.get("validity"))
    if validity < -1:
        return Reply(400, "Validity field misformed, rejected")
    try:
        text = body.decode(charset or "utf-8")
    except (LookupError, UnicodeDecodeError):
        return Reply(400, "Charset or body misformed, rejected")

    ours = parse_qs(urlsplit(dlr_url).query)
    return Submission(
        phones,
        min(_segments(text, ucs2=coding == 2), user.max_messages),
        max(dlr_mask, 0),
        dlr_url,
        ours["notice"][0] if "notice" in ours else None,
        _integer(ours["attempt"][0]) if "attempt" in ours else None,
        None if validity == -1 else validity,
    )


def _integer(text: str | None) -> int:
    """Read a number as C's sscanf does; -1 when there is none, as Kannel sets it beforehand."""
    match = _INTEGER.match(text or "")
    return int(match[1]) if match else -1


def _segments(text: str, *, ucs2: bool) -> int:
    if ucs2:
        units = len(text.encode("utf-16-be", "surrogatepass")) // 2
        limits = LIMITS["ucs2"]
        return 1 if units <= limits.single else -(-units // limits.part)
    for character in outside_gsm7(text):  # what Kannel does to them
        text = text.replace(character, "?")
    return measure(text).segments
