"""The application of the site: routes, what guards them, and the sending that runs beside them.

A process of its own, for it faces everybody. It writes no access log, and whatever it logs holds no
reference, number, code or text.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from contextlib import asynccontextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
from fastapi import FastAPI
from sqlalchemy import text
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, PlainTextResponse, Response

from fatoura import metrics
from fatoura.database import connect
from fatoura.gateways.connections import open_gateways
from fatoura.languages import LANGUAGES
from fatoura.site.keys import keyed
from fatoura.site.measuring import answered_points
from fatoura.site.pages import Pages, lead, show
from fatoura.site.protection import Refused, headers
from fatoura.site.sending import CodeSender
from fatoura.site.words import current_wording

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from starlette.requests import Request
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from fatoura.gateways.interface import Gateway

log = logging.getLogger(__name__)

_STATIC = Path(__file__).parent / "static"
_TYPES = {".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}

# Fewer than the database's pool has connections: who comes in a rush waits here, not for one of these.
_THREADS = 20
_LAST_CODES_SECONDS = 8.0


@asynccontextmanager
async def _work_beside(app: Site) -> AsyncIterator[None]:
    keyed("start")  # what is wrong with the key or the wordings is known at the start
    current_wording()
    anyio.to_thread.current_default_thread_limiter().total_tokens = _THREADS
    working = asyncio.create_task(app.sender.run())
    yield
    app.sender.stop()
    with suppress(TimeoutError):
        async with asyncio.timeout(_LAST_CODES_SECONDS):
            await asyncio.wait({working})
    working.cancel()
    with suppress(asyncio.CancelledError):
        await working


class Site(FastAPI):
    """The application.

    :param gateways: returns the providers' adapters, in the order of fall-back.
    """

    def __init__(self, gateways: Callable[[], Sequence[Gateway]] = open_gateways) -> None:
        super().__init__(
            title="Fatoura web site",
            docs_url=None,
            redoc_url=None,
            openapi_url=None,
            redirect_slashes=False,
            lifespan=_work_beside,
        )
        self.sender = CodeSender(gateways)
        self.add_middleware(Guard)
        self.add_exception_handler(Refused, _refused)
        self.add_exception_handler(HTTPException, _not_there)
        pages = Pages(self.sender.wake)
        self._page("/", pages.root)
        self._page("/health", self._health)
        self._page("/robots.txt", _robots)
        for path in sorted(_STATIC.iterdir()):
            self._page(f"/static/{path.name}", _static(path))
        for language in LANGUAGES:
            self._page(f"/{language}", _to_home)
            for place, page in (
                ("", pages.home),
                ("subscribe", pages.subscribe),
                ("code", pages.code),
                ("done", pages.done),
                ("manage", pages.manage),
                ("subscription", pages.subscription),
                ("subscription/number", pages.number),
                ("subscription/leave", pages.leave_opened),
                ("leave", pages.leave),
            ):
                self._page(f"/{language}/{place}", page)
            for place, page in (
                ("subscribe", pages.ask_to_subscribe),
                ("code", pages.try_code),
                ("code/again", pages.another_code),
                ("manage", pages.ask_to_manage),
                ("subscription/language", pages.change_language),
                ("subscription/number", pages.ask_to_change_number),
                ("subscription/leave", pages.end_opened),
                ("subscription/close", pages.close),
                ("leave", pages.leave_by_bill),
            ):
                self.add_route(f"/{language}/{place}", page, methods=["POST"])

    def _page(self, path: str, page: Callable[[Request], Awaitable[Response]]) -> None:
        self.add_route(path, page, methods=["GET"])

    async def _health(self, _request: Request) -> Response:
        try:
            await run_in_threadpool(_ask_the_database)
        except Exception:
            return JSONResponse({"database": "down"}, status_code=503)
        return JSONResponse({"database": "up", "codes": "up" if self.sender.is_well() else "down"})


class Guard:
    """Puts the headers on each answer, counts it, and turns what goes wrong into a page that says little."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.monotonic(), 0
        guarding = [(name.lower().encode(), value.encode()) for name, value in headers().items()]

        async def guarded(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message["headers"], *guarding]}
            await send(message)

        try:
            await self._app(scope, receive, guarded)
        except Exception:
            log.exception("a page could not be made")
            if status:
                raise
            from starlette.requests import Request

            answer = show(Request(scope), "trouble", what="later", status=503)
            answer.headers["Retry-After"] = "60"
            await answer(scope, receive, guarded)
        if metrics.is_on():
            # By the route, which holds nothing of what was asked; not by the path, which anybody writes.
            route = scope.get("route")
            page = getattr(route, "path", "none").strip("/").replace("/", "_") or "root"
            await run_in_threadpool(metrics.send, answered_points, page, status, time.monotonic() - began)


async def _refused(request: Request, refused: Exception) -> Response:
    assert isinstance(refused, Refused)
    if refused.page == "again":
        return show(request, "again", status=refused.status)
    return show(request, "trouble", what="bad_request", status=refused.status)


async def _not_there(request: Request, problem: Exception) -> Response:
    assert isinstance(problem, HTTPException)
    what = "not_found" if problem.status_code == 404 else "bad_request"
    answer = show(request, "trouble", what=what, status=problem.status_code)
    answer.headers.update(problem.headers or {})
    return answer


async def _to_home(request: Request) -> Response:
    return lead(request, "")


async def _robots(_request: Request) -> Response:
    allowed = "".join(f"Allow: /{language}/$\n" for language in LANGUAGES)
    return PlainTextResponse(f"User-agent: *\n{allowed}Disallow: /\n")


def _static(path: Path) -> Callable[[Request], Awaitable[Response]]:
    async def file(request: Request) -> Response:
        content, mark = _content(path)
        told = {"Cache-Control": "public, max-age=86400", "ETag": mark}
        if request.headers.get("if-none-match") == mark:
            return Response(status_code=304, headers=told)
        return Response(content, media_type=_TYPES[path.suffix], headers=told)

    return file


@cache
def _content(path: Path) -> tuple[bytes, str]:
    content = path.read_bytes()
    return content, f'"{hashlib.sha256(content).hexdigest()[:16]}"'


def _ask_the_database() -> None:
    with connect() as connection:
        connection.execute(text("SELECT 1"))


def create_app() -> Site:
    """Return the site, which sends through the connections that its environment or a file names."""
    return Site()
