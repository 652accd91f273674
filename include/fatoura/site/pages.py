"""The pages of the site: what each shows, and where each form leads. Made by the application.

A form that is in order is answered with the next page's address, so that reloading asks nothing twice; one
that is not is shown again with what is wrong. Which page comes next tells nothing of whether a customer
exists, until a code has come back.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.concurrency import run_in_threadpool
from starlette.responses import HTMLResponse, RedirectResponse, Response

from fatoura import clock, metrics
from fatoura.database import begin
from fatoura.fees.rules import fee_rules_on
from fatoura.languages import LANGUAGES
from fatoura.phones_at_rest import masked, opened, same_phone
from fatoura.site import acts, verifications
from fatoura.site.acts import Outcome
from fatoura.site.forms import Form
from fatoura.site.measuring import asked_points, tried_points
from fatoura.site.protection import cookie_of, new_cookie, read_form, set_cookie, token_of, visit_of
from fatoura.site.verifications import Ask, Phase
from fatoura.site.words import Words, current_wording, wordings

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection, Row
    from starlette.requests import Request

    from fatoura.languages import Language
    from fatoura.site.verifications import Standing

_FOLDER = Path(__file__).parent
_OTHER: dict[Language, Language] = {"ar": "fr", "fr": "ar"}

_ACTS: dict[str, verifications.Act] = {
    "subscribe": acts.subscribe,
    "manage": acts.open_session,
    "change_number": acts.change_number,
    "confirm_former": acts.confirm_former,
}
_FORM_OF = {"subscribe": "subscribe", "manage": "manage", "change_number": "subscription/number"}
"""Where what was told can be corrected."""


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(_FOLDER / "templates"),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def language_of(request: Request) -> Language:
    """Return the language of a request: of its address, or else what its browser would rather have."""
    first = request.url.path.split("/", 2)[1]
    for language in LANGUAGES:
        if first == language:
            return language
    wanted = request.headers.get("accept-language", "").lower()
    at = {language: wanted.find(language) for language in LANGUAGES}
    return "fr" if at["fr"] >= 0 and (at["ar"] < 0 or at["fr"] < at["ar"]) else "ar"


def show(
    request: Request,
    template: str,
    *,
    place: str = "",
    status: int = 200,
    form: Form | None = None,
    cookie: str | None = None,
    **values: Any,
) -> Response:
    """Make a page.

    :param template: its name among the templates.
    :param place: its address below that of its language; the other language has it too.
    :param form: of a page with fields: what was typed, and what is wrong with it.
    :param cookie: the browser's; a page with a form gives one to a browser that has none.
    """
    language = language_of(request)
    page = (
        _environment()
        .get_template(f"{template}.html.j2")
        .render(
            language=language,
            direction="rtl" if language == "ar" else "ltr",
            say=Words(language),
            other=_OTHER[language],
            place=place,
            form=form or Form({}),
            token=token_of(cookie) if cookie else "",
            contact=wordings().contact,
            **values,
        )
    )
    answer = HTMLResponse(page, status)
    answer.headers["Content-Language"] = language
    answer.headers["Cache-Control"] = "no-store"
    return answer


def ask_form(request: Request, template: str, *, place: str, status: int = 200, **values: Any) -> Response:
    """Make a page with a form; a browser without our cookie gets one."""
    cookie = cookie_of(request)
    given = cookie or new_cookie()
    answer = show(request, template, place=place, status=status, cookie=given, **values)
    if cookie is None:
        set_cookie(answer, given)
    return answer


class Pages:
    """All pages.

    :param wake: called when something was asked for, so that a code leaves at once.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake

    # --- Home ---------------------------------------------------------------------------------------

    async def root(self, request: Request) -> Response:
        """Lead to the page of the browser's language."""
        answer = RedirectResponse(f"/{language_of(request)}/", 303)
        answer.headers["Vary"] = "Accept-Language"
        return answer

    async def home(self, request: Request) -> Response:
        """Show what the service is, what it costs, and what the law says."""
        answer = show(request, "home", price=fee_rules_on(clock.today()).price_millimes)
        answer.headers["Cache-Control"] = "public, max-age=300"
        return answer

    # --- Subscribing --------------------------------------------------------------------------------

    async def subscribe(self, request: Request) -> Response:
        """Show the form."""
        return self._subscribe_form(request, Form({"language": language_of(request)}))

    async def ask_to_subscribe(self, request: Request) -> Response:
        """Take the form."""
        typed, cookie = await read_form(request)
        form = Form(typed)
        form.read_reference()
        form.read_invoice()
        form.read_phone()
        form.read_language()
        form.read_consent(current_wording().version)
        if form.problems:
            return self._subscribe_form(request, form)
        wanted = Ask(
            "subscribe", form.reference, form.language, form.phone, invoice=form.invoice, wording=form.wording
        )
        return await self._ask(request, cookie, wanted, "subscribe")

    @staticmethod
    def _subscribe_form(request: Request, form: Form) -> Response:
        return ask_form(
            request,
            "subscribe",
            place="subscribe",
            status=422 if form.problems else 200,
            form=form,
            wording=current_wording(),
        )

    # --- Codes --------------------------------------------------------------------------------------

    async def code(self, request: Request) -> Response:
        """Show the form for the code, or that there is none to wait for."""
        cookie = cookie_of(request)
        if cookie is None:
            return _begin_again(request, "code")
        standing = await run_in_threadpool(verifications.standing, visit_of(cookie))
        return self._code_page(request, standing, Form({}), again="again" in request.query_params)

    async def try_code(self, request: Request) -> Response:
        """Take a code, and do what it was asked for."""
        typed, cookie = await read_form(request)
        form, visit = Form(typed), visit_of(cookie)
        form.read_code()
        if form.problems:
            standing = await run_in_threadpool(verifications.standing, visit)
            return self._code_page(request, standing, form)
        tried = await run_in_threadpool(verifications.try_code, visit, form.code, _act)
        row = tried.standing.row
        if row is not None:
            result = "right" if tried.right else str(tried.standing.phase).replace("waiting", "wrong")
            await run_in_threadpool(metrics.send, tried_points, row.action, result)
        if not tried.right or row is None:
            if tried.standing.phase is Phase.WAITING:
                form.problems["code"] = "code_wrong"
            return self._code_page(request, tried.standing, form)
        self._wake()  # another code may be due now, to the former number
        now = await run_in_threadpool(verifications.standing, visit)
        return lead(request, _next_place(now))

    async def another_code(self, request: Request) -> Response:
        """Ask for the same once more."""
        _, cookie = await read_form(request)
        standing = await run_in_threadpool(verifications.standing, visit_of(cookie))
        row = standing.row
        if row is None or standing.phase in (Phase.NONE, Phase.VERIFIED) or row.phone is None:
            return _begin_again(request, "code")
        wanted = Ask(
            row.action,
            row.customer_reference,
            row.language,
            row.phone,
            invoice=row.invoice_number,
            wording=row.wording_version,
            follows=row.follows,
        )
        return await self._ask(request, cookie, wanted, "code", then="code?again")

    @staticmethod
    def _code_page(request: Request, standing: Standing, form: Form, *, again: bool = False) -> Response:
        row = standing.row
        if row is None or row.phone is None or standing.phase is Phase.NONE:
            return _begin_again(request, "code")
        if standing.phase is Phase.VERIFIED:
            return lead(request, _next_place(standing))
        status = 200
        if form.problems or standing.phase is not Phase.WAITING:
            status = 422
        return ask_form(
            request,
            "code",
            place="code",
            status=status,
            form=form,
            phase=str(standing.phase),
            again=again,
            left=standing.tries_left,
            former=row.action == "confirm_former",
            phone=masked(row.phone) if row.action == "confirm_former" else _printed(row.phone),
            correct=_FORM_OF.get(row.action, "subscribe"),
        )

    # --- What came of it ----------------------------------------------------------------------------

    async def done(self, request: Request) -> Response:
        """Show what came of the visit."""
        cookie = cookie_of(request)
        if cookie is None:
            return _begin_again(request, "done")
        row = await run_in_threadpool(verifications.ended, visit_of(cookie))
        if row is None:
            return _begin_again(request, "done")
        if row.action == "leave_by_bill":  # alike whether there was a subscription or not
            return show(
                request, "done", place="done", outcome="asked_to_leave", row=None, phone="", day=None, price=0
            )
        day = None
        if row.outcome == Outcome.TOO_SOON:
            day = await run_in_threadpool(_free_from, row)
        current = await run_in_threadpool(_subscription, row)
        return show(
            request,
            "done",
            place="done",
            outcome=row.outcome,
            row=current,
            phone=masked(current.phone) if current is not None else "",
            day=day,
            price=fee_rules_on(clock.today()).price_millimes,
        )

    # --- One's own subscription ---------------------------------------------------------------------

    async def manage(self, request: Request) -> Response:
        """Show the form that asks for a look."""
        told = [note for note in ("over", "closed") if note in request.query_params]
        return self._manage_form(request, Form({}), note=told[0] if told else "")

    async def ask_to_manage(self, request: Request) -> Response:
        """Take the form."""
        typed, cookie = await read_form(request)
        form = Form(typed)
        form.read_reference()
        form.read_phone()
        if form.problems:
            return self._manage_form(request, form)
        wanted = Ask("manage", form.reference, language_of(request), form.phone)
        return await self._ask(request, cookie, wanted, "manage")

    @staticmethod
    def _manage_form(request: Request, form: Form, *, note: str = "") -> Response:
        status = 422 if form.problems else 200
        return ask_form(request, "manage", place="manage", status=status, form=form, note=note)

    async def subscription(self, request: Request) -> Response:
        """Show the subscription that the visit has opened."""
        opened_visit = await self._opened(request)
        if isinstance(opened_visit, Response):
            return opened_visit
        row, current = opened_visit
        return ask_form(
            request,
            "subscription",
            place="subscription",
            row=current,
            reference=row.customer_reference,
            phone=masked(current.phone),
            since=current.created_at.astimezone(clock.zone()).date(),
            paid=current.paid_until is not None and current.paid_until >= clock.today(),
            to_language=_OTHER[current.language],
            changed="language" in request.query_params,
        )

    async def change_language(self, request: Request) -> Response:
        """Change the language of messages."""
        typed, cookie = await read_form(request)
        form = Form(typed)
        form.read_language()
        if form.problems:
            return lead(request, "subscription")
        outcome = await run_in_threadpool(
            _in_session,
            visit_of(cookie),
            lambda connection, row: acts.change_language(connection, row, form.language),
        )
        if outcome is None:
            return lead(request, "manage?over")
        return lead(request, "subscription?language" if outcome == Outcome.LANGUAGE_CHANGED else "manage")

    async def number(self, request: Request) -> Response:
        """Show the form for another number."""
        opened_visit = await self._opened(request)
        if isinstance(opened_visit, Response):
            return opened_visit
        return self._number_form(request, Form({}))

    async def ask_to_change_number(self, request: Request) -> Response:
        """Take the form."""
        typed, cookie = await read_form(request)
        opened_visit = await self._opened(request)
        if isinstance(opened_visit, Response):
            return opened_visit
        row, current = opened_visit
        form = Form(typed)
        form.read_phone()
        if not form.problems and same_phone(current.phone, form.phone):
            form.problems["phone"] = "phone_same"
        if form.problems:
            return self._number_form(request, form)
        wanted = Ask(
            "change_number", row.customer_reference, language_of(request), form.phone, follows=row.id
        )
        return await self._ask(request, cookie, wanted, "subscription/number")

    @staticmethod
    def _number_form(request: Request, form: Form) -> Response:
        status = 422 if form.problems else 200
        return ask_form(request, "number", place="subscription/number", status=status, form=form)

    async def close(self, request: Request) -> Response:
        """Close the visit."""
        _, cookie = await read_form(request)
        await run_in_threadpool(_in_session, visit_of(cookie), acts.close)
        return lead(request, "manage?closed")

    async def leave_opened(self, request: Request) -> Response:
        """Ask whether the opened subscription shall end."""
        opened_visit = await self._opened(request)
        if isinstance(opened_visit, Response):
            return opened_visit
        row, _ = opened_visit
        return ask_form(
            request, "leave_session", place="subscription/leave", reference=row.customer_reference
        )

    async def end_opened(self, request: Request) -> Response:
        """End the opened subscription."""
        _, cookie = await read_form(request)
        outcome = await run_in_threadpool(_in_session, visit_of(cookie), acts.leave_now)
        return lead(request, "manage?over" if outcome is None else "done")

    @staticmethod
    async def _opened(request: Request) -> tuple[Row[Any], Row[Any]] | Response:
        cookie = cookie_of(request)
        found = None if cookie is None else await run_in_threadpool(_look, visit_of(cookie))
        return lead(request, "manage?over") if found is None else found

    # --- Leaving ------------------------------------------------------------------------------------

    async def leave(self, request: Request) -> Response:
        """Show the ways to leave."""
        return self._leave_form(request, Form({}))

    async def leave_by_bill(self, request: Request) -> Response:
        """Take what is printed on a bill in place of a code: the phone is gone."""
        typed, cookie = await read_form(request)
        form = Form(typed)
        form.read_reference()
        form.read_invoice()
        if form.problems:
            return self._leave_form(request, form)
        wanted = Ask("leave_by_bill", form.reference, language_of(request), invoice=form.invoice)
        return await self._ask(request, cookie, wanted, "leave", then="done")

    @staticmethod
    def _leave_form(request: Request, form: Form) -> Response:
        return ask_form(request, "leave", place="leave", status=422 if form.problems else 200, form=form)

    # --- Asking -------------------------------------------------------------------------------------

    async def _ask(
        self, request: Request, cookie: str, wanted: Ask, place: str, *, then: str = "code"
    ) -> Response:
        address = request.client.host if request.client else ""
        beyond = await run_in_threadpool(verifications.ask, visit_of(cookie), wanted, address=address)
        await run_in_threadpool(metrics.send, asked_points, wanted.action, beyond or "asked")
        if beyond is not None:
            answer = show(request, "limited", place=place, status=429, what=beyond)
            answer.headers["Retry-After"] = "3600"
            return answer
        self._wake()
        return lead(request, then)


def _act(connection: Connection, row: Row[Any]) -> str | None:
    return _ACTS[row.action](connection, row)


def _in_session(visit: str, act: verifications.Act) -> str | None:
    with begin() as connection:
        row = verifications.session_in(connection, visit, hold=True)
        return None if row is None else act(connection, row)


def _look(visit: str) -> tuple[Row[Any], Row[Any]] | None:
    with begin() as connection:
        row = verifications.session_in(connection, visit)
        current = None if row is None else acts.look(connection, row)
    return None if row is None or current is None else (row, current)


def _subscription(row: Row[Any]) -> Row[Any] | None:
    with begin() as connection:
        return acts.of_verification(connection, row)


def _free_from(row: Row[Any]) -> Any:
    with begin() as connection:
        return acts.number_free_from(connection, row.customer_reference, row.phone)


def _next_place(standing: Standing) -> str:
    """Return where a visit goes on whose code came back."""
    row = standing.row
    if row is None or standing.phase is not Phase.VERIFIED:
        return "code"
    return "subscription" if row.action == "manage" and row.outcome is None else "done"


def _begin_again(request: Request, place: str) -> Response:
    return show(request, "again", place=place if place != "code" else "", status=403)


def lead(request: Request, place: str) -> Response:
    """Lead to a page of the same language, by an address that holds nothing of what was typed."""
    answer = RedirectResponse(f"/{language_of(request)}/{place}", 303)
    answer.headers["Cache-Control"] = "no-store"
    return answer


def _printed(stored: str) -> str:
    """Print a phone as it was typed in this visit."""
    digits = opened(stored).removeprefix("+216")
    return f"+216 {digits[:2]} {digits[2:5]} {digits[5:]}"
