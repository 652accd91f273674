"""Messages in doubt inside Airflow's UI: the list, a person's decision, and the life of one message.

Who has logged in may look; numbers are always masked. To decide asks for the right to answer what the
billing cycle asks a person, as its release does: a viewer has it not. A decision is a form, and Airflow's
cookie alone must not be able to send it from a page elsewhere: the browser has to say that it comes from
this server, and it has to bring back the token that its page was given, which is the user's own and expires.
"""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from functools import cache
from hashlib import sha256
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import parse_qs, urlencode, urlsplit
from uuid import UUID

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from airflow.sdk import conf
from fastapi import APIRouter, Depends, HTTPException, Request
from itsdangerous import BadSignature, URLSafeTimedSerializer
from starlette.responses import HTMLResponse

from fatoura import clock
from fatoura.database import begin, connect
from fatoura.errors import BadInput
from fatoura.notices.lifecycle import NoticeUnknown, notice_lives
from fatoura.notices.states import Decision
from fatoura.reports.words import Words
from fatoura.sending.doubts import (
    BECAUSE,
    HAPPENS,
    LONGEST_REASON,
    Next,
    Which,
    checked_reason,
    chosen_doubts,
    count_doubts,
    list_doubts,
    resolve,
    summed,
)

if TYPE_CHECKING:
    from jinja2 import Environment
    from starlette.responses import Response

PAGE = 100
"""Messages on one page of the list."""

DECISIONS: dict[Decision, tuple[str, str]] = {
    Decision.ACCEPTED: (
        "Accepted",
        "the provider confirms that it has the message; a receipt still settles it",
    ),
    Decision.NOT_ACCEPTED: (
        "Not accepted",
        "proven not taken; it goes out again, unless its time has passed or a correction replaces it",
    ),
    Decision.UNDELIVERABLE: (
        "Undeliverable",
        "taken as not received, for good; a warning then counts as not warned",
    ),
}
"""The decisions in a person's words: name, and what it means."""

_DAG = "billing_cycle"
_AGES = {"1h": 1, "6h": 6, "1d": 24, "3d": 72, "7d": 168}
_LARGEST_FORM = 64 * 1024
_TOKEN_SECONDS = 8 * 3600

# The pages work without it. Airflow keeps the choice of light or dark in the browser: it is taken up here.
_SCRIPT = (
    'const f=()=>{const t=localStorage.getItem("theme");'
    'document.documentElement.dataset.theme=t==="dark"||t==="light"?t:""};'
    'try{f();addEventListener("storage",f)}catch{}'
)
_SCRIPT_HASH = b64encode(sha256(_SCRIPT.encode()).digest()).decode()

# What is shown came from outside: nothing in the pages may load or send anything elsewhere. The form's own
# server is told where a form comes from, and no other.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; "
    f"script-src 'sha256-{_SCRIPT_HASH}'; form-action 'self'; base-uri 'none'; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store, private",
}

_may_decide = requires_access_dag("PUT", DagAccessEntity.HITL_DETAIL, _DAG)


@dataclass(frozen=True)
class Filter:
    """What the list is narrowed to, as the address says it; empty: all."""

    gateway: str = ""
    kind: str = ""
    next: str = ""
    older: str = ""

    def which(self, seen: datetime) -> Which:
        """Return the choice that it means to somebody who looks at an instant."""
        return Which(
            gateway=self.gateway.replace("\0", "") or None,
            kind=self.kind.replace("\0", "") or None,
            next=Next(self.next) if self.next in set(Next) else None,
            before=seen - timedelta(hours=_AGES.get(self.older, 0)),
        )

    def query(self, **more: Any) -> str:
        """Return it as an address's query, with other values beside or instead."""
        values = {name: value for name, value in (asdict(self) | more).items() if value}
        return f"?{urlencode(values)}" if values else "?"


@dataclass(frozen=True)
class Form:
    """What was filled in.

    :param marked: the notices that were marked, each with its attempt in doubt.
    :param all: whether all that the filter takes in are meant, and not only those marked.
    :param seen: when the list was made: later doubts are not meant.
    :param confirmed: how many were confirmed, on the second page; nothing on the first.
    """

    filter: Filter
    marked: dict[UUID, int]
    all: bool
    decision: Decision | None
    reason: str
    seen: datetime
    confirmed: int | None
    token: str


async def read_form(request: Request) -> Form:
    """Read a form. Whatever no page of ours can have sent is refused.

    :raises HTTPException: 400, 413 or 415.
    """
    if not request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        raise HTTPException(415, "This is no form")
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LARGEST_FORM:
            raise HTTPException(413, "This is more than a form of ours holds")
    try:
        fields = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=PAGE + 50)
        last = {name: values[-1] for name, values in fields.items()}
        marked = dict(_marked(mark) for mark in fields.get("notice", ()))
        seen = datetime.fromisoformat(last["seen"])
        if seen.tzinfo is None:
            raise ValueError("an instant without its zone")
        return Form(
            filter=Filter(**{name: last.get(name, "") for name in asdict(Filter())}),
            marked=marked,
            all=last.get("scope") == "all",
            decision=Decision(last["decision"]) if last.get("decision") else None,
            reason=last.get("reason", ""),
            seen=min(seen, clock.now()),
            confirmed=int(last["confirmed"]) if "confirmed" in last else None,
            token=last.get("token", ""),
        )
    except (KeyError, ValueError):
        raise HTTPException(400, "This form was not filled in on a page of ours") from None


def _marked(mark: str) -> tuple[UUID, int]:
    notice, attempt = mark.split(".")
    if not 0 < int(attempt) < 2**15:
        raise ValueError("no attempt")
    return UUID(notice), int(attempt)


def comes_from_here(request: Request) -> None:
    """Refuse a form of another site: the browser says where it comes from, and a page cannot change that.

    An old browser says nothing; then the token alone decides. Behind a proxy the server may not know its own
    name: Airflow's base URL is the other one that counts.

    :raises HTTPException: 403.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    ours = {request.base_url.netloc, urlsplit(conf.get("api", "base_url", fallback="")).netloc} - {""}
    if site not in (None, "same-origin") or (origin is not None and urlsplit(origin).netloc not in ours):
        raise HTTPException(403, "A decision is taken on this server's own pages")


def _tokens() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(conf.get("api", "secret_key"), salt="fatoura-doubts")


def _is_own_token(token: str, user_id: str) -> bool:
    try:
        return bool(_tokens().loads(token, max_age=_TOKEN_SECONDS) == user_id)
    except BadSignature:
        return False


router = APIRouter()


@router.get("/doubts")
def show_doubts(
    request: Request,
    user: GetUserDep,
    gateway: str = "",
    kind: str = "",
    next: str = "",
    older: str = "",
    page: str = "1",
    mark: str = "",
) -> Response:
    """List the messages in doubt, the oldest first."""
    number = int(page) if page.isascii() and page.isdigit() and len(page) < 7 else 1
    return _list(
        request, user, Filter(gateway, kind, next, older), page=max(1, number), marks_all=mark == "page"
    )


@router.post("/doubts", dependencies=[Depends(_may_decide), Depends(comes_from_here)])
def decide(request: Request, user: GetUserDep, form: Annotated[Form, Depends(read_form)]) -> Response:
    """Take a decision in two steps: show what it means for how many, then do it."""
    problem = _problem(form)
    if not _is_own_token(form.token, user.get_id()):
        problem = "This page was open for too long, or was another user's. Nothing was changed: try again."
    if problem or form.decision is None:
        return _list(request, user, form.filter, form=form, problem=problem)
    which = form.filter.which(form.seen) if form.all else Which(ids=tuple(form.marked))
    with begin() as connection:
        counts = count_doubts(connection, which)
        total = sum(count.notices for count in counts)
        if form.confirmed is None or total > form.confirmed:
            # More than were confirmed: some have reached their horizon since. They are shown first.
            return _page(
                request,
                "doubts_confirm.html.j2",
                form=form,
                counts=counts,
                total=total,
                settled=0 if form.all else len(form.marked) - total,
                grown=form.confirmed is not None,
                token=_tokens().dumps(user.get_id()),
            )
        asked = chosen_doubts(connection, which) if form.all else form.marked
        done = resolve(connection, asked, form.decision, reason=form.reason, by=user.get_name())
    return _page(request, "doubts_done.html.j2", form=form, done=done)


def _problem(form: Form) -> str | None:
    if form.decision is None:
        return "Say what they are to be taken for."
    if not form.all and not form.marked:
        return "Mark the messages that you decide on, or choose all that the list takes in."
    try:
        checked_reason(form.reason)
    except BadInput as refusal:
        return f"{str(refusal)[:1].upper()}{str(refusal)[1:]}."
    return None


@router.get("/notices/{notice}")
def show_notice(request: Request, notice: UUID) -> Response:
    """Show the life of one message, masked."""
    try:
        [life] = notice_lives(str(notice)).notices
    except NoticeUnknown:
        return _page(request, "notice.html.j2", status=404, life=None, asked=notice)
    return _page(request, "notice.html.j2", life=life, asked=notice)


def _list(
    request: Request,
    user: Any,
    chosen: Filter,
    *,
    page: int = 1,
    marks_all: bool = False,
    form: Form | None = None,
    problem: str | None = None,
) -> Response:
    seen = clock.now()
    with connect() as connection:
        everything = count_doubts(connection)
        counts = count_doubts(connection, chosen.which(seen))
        total = sum(count.notices for count in counts)
        pages = max(1, -(-total // PAGE))
        page = min(page, pages)
        doubts = list_doubts(connection, chosen.which(seen), most=PAGE, skip=(page - 1) * PAGE)
    return _page(
        request,
        "doubts.html.j2",
        status=200 if problem is None else 422,
        chosen=chosen,
        everything=summed(everything),
        gateways=sorted({count.gateway for count in everything} | ({chosen.gateway} - {""})),
        kinds=sorted({count.kind for count in everything} | ({chosen.kind} - {""})),
        ages=_AGES,
        total=total,
        doubts=doubts,
        page=page,
        pages=pages,
        first=(page - 1) * PAGE + 1,
        marked={doubt.id for doubt in doubts} if marks_all else set(form.marked) if form else set(),
        marks_all=marks_all,
        form=form,
        problem=problem,
        seen=seen,
        may_decide=_may_the_user_decide(request, user),
        token=_tokens().dumps(user.get_id()),
    )


def _may_the_user_decide(request: Request, user: Any) -> bool:
    try:
        _may_decide(request, user)
    except HTTPException:
        return False
    return True


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("fatoura.reports", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _page(request: Request, template: str, *, status: int = 200, **values: Any) -> Response:
    words, now = Words("en", {}), clock.now()
    page = (
        _environment()
        .get_template(template)
        .render(
            # Airflow itself may lie below a path of its server.
            root=str(request.scope["root_path"]),
            w=words,
            now=now,
            zone=clock.zone(),
            age=lambda since: words.duration(max(0.0, (now - since).total_seconds())),
            happens=HAPPENS,
            because=BECAUSE,
            decisions=DECISIONS,
            longest_reason=LONGEST_REASON,
            Next=Next,
            script=_SCRIPT,
            in_json=lambda value: json.dumps(value, ensure_ascii=False, indent=2),
            **values,
        )
    )
    return HTMLResponse(page, status_code=status, headers=_HEADERS)
