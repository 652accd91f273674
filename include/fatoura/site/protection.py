"""What guards each request and answer: headers, cookies, form tokens, sizes. Knows no page and no customer.

A form carries a token that belongs to the browser's cookie and cannot be made without the site's key: what
another site makes a browser send has none.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from fatoura.settings import get_settings
from fatoura.site.keys import keyed, same

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

LARGEST_BODY = 4 * 1024
_MOST_FIELDS = 20
_LONGEST_FIELD = 300
_BODY_SECONDS = 20.0
_COOKIE = re.compile(r"[A-Za-z0-9_-]{43}")

# Nothing but the site's own style sheet and mark: no script, no frame, no form that leads elsewhere.
_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_STAY_WITH_TLS = "max-age=31536000"


class Refused(Exception):
    """A request that is not looked at any further.

    :param status: of the answer.
    :param page: what the answer says: ``again`` or ``bad_request``.
    """

    def __init__(self, status: int, page: str) -> None:
        super().__init__(page)
        self.status = status
        self.page = page


def over_tls() -> bool:
    """Tell whether customers reach the site over TLS."""
    return get_settings().site_url.startswith("https://")


def headers() -> dict[str, str]:
    """Return the headers of every answer."""
    return {**HEADERS, "Strict-Transport-Security": _STAY_WITH_TLS} if over_tls() else HEADERS


def cookie_name() -> str:
    """Return the cookie's name; over TLS one that no other host may set."""
    return "__Host-visit" if over_tls() else "visit"


def cookie_of(request: Request) -> str | None:
    """Return the browser's cookie, if it has one of ours."""
    found = request.cookies.get(cookie_name(), "")
    return found if _COOKIE.fullmatch(found) else None


def new_cookie() -> str:
    """Return a cookie that nobody can guess."""
    return secrets.token_urlsafe(32)


def set_cookie(response: Response, cookie: str) -> None:
    """Give the browser its cookie, until it is closed."""
    response.set_cookie(cookie_name(), cookie, path="/", secure=over_tls(), httponly=True, samesite="lax")


def visit_of(cookie: str) -> str:
    """Return what of a cookie is kept."""
    return keyed("visit", cookie)


def token_of(cookie: str) -> str:
    """Return the token that forms of this browser carry."""
    return keyed("form", cookie)


async def read_form(request: Request) -> tuple[dict[str, str], str]:
    """Read a form that was sent, and make sure that a page of ours sent it; return it and the cookie.

    :raises Refused: when it is none, too large, too slow, or comes from elsewhere.
    """
    form = await _fields(request)
    cookie = cookie_of(request)
    if cookie is None or _comes_from_elsewhere(request) or not same(form.get("token", ""), token_of(cookie)):
        raise Refused(403, "again")
    return form, cookie


async def _fields(request: Request) -> dict[str, str]:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise Refused(415, "bad_request")
    body = bytearray()
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            async for piece in request.stream():
                body += piece
                if len(body) > LARGEST_BODY:
                    raise Refused(413, "bad_request")
    except TimeoutError:
        raise Refused(408, "bad_request") from None
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except (UnicodeDecodeError, ValueError):
        raise Refused(400, "bad_request") from None
    form = dict(pairs)
    if len(form) < len(pairs) or any(len(name) + len(value) > _LONGEST_FIELD for name, value in pairs):
        raise Refused(400, "bad_request")
    return form


def _comes_from_elsewhere(request: Request) -> bool:
    """Look at what newer browsers tell. An origin is told as null, for our pages forbid to tell more."""
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return True
    origin = request.headers.get("origin", "null")
    ours = {urlsplit(get_settings().site_url).netloc, request.headers.get("host", "")}
    return origin != "null" and urlsplit(origin).netloc not in ours
