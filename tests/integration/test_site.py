"""The web site with a real database: each step and each error, and what nobody may learn from it."""

from __future__ import annotations

import logging
import re
from contextlib import contextmanager
from datetime import timedelta

import pytest
import uvicorn
from click.testing import CliRunner
from sqlalchemy import event, text

from fatoura import clock
from fatoura.cli import main
from fatoura.database import connect, get_engine
from fatoura.notices.kinds import load_kind
from fatoura.site import verifications as asking
from fatoura.site.acts import AFTER_DEPARTURE_BY_BILL
from fatoura.site.codes import GOOD_FOR, MOST_TRIES
from fatoura.site.judging import judge
from fatoura.site.protection import LARGEST_BODY
from fatoura.site.sending import tidy
from fatoura.site.words import _read, wordings
from tests.notices import run_sql
from tests.site import (
    INVOICE,
    OTHER_PHONE,
    PHONE,
    REFERENCE,
    Visitor,
    bill,
    codes,
    consents,
    last_code,
    subscribed,
    subscription,
    verifications,
    wrong,
)

NIGHT = "2026-05-20T22:30:00+01:00"

both_languages = pytest.mark.parametrize("language", ["ar", "fr"])


@pytest.fixture(autouse=True)
def _settings(database, configure):
    configure(now=NIGHT)
    bill()


@pytest.fixture
def later(configure, database):
    """Move the clock on."""

    def move(by: timedelta) -> None:
        configure(database_url=database, now=(clock.now() + by).isoformat())

    return move


# --- Subscribing -----------------------------------------------------------------------------------------


@both_languages
def test_a_customer_subscribes_with_a_bill_and_the_code(language):
    visitor = Visitor(language=language)
    page = visitor.ask_to_subscribe()
    assert (page.status, page.place) == (200, f"/{language}/code")
    assert "+216 20 000 001" in page.words
    page = visitor.send("code", code=last_code())
    assert page.place == f"/{language}/done"
    assert page.title == {"ar": "تم اشتراككم", "fr": "Vous êtes abonné"}[language]
    assert "+216 ** *** 001" in page.words
    found = subscription()
    assert (found.phone, found.language, found.channel, found.state) == (PHONE, language, "web", "active")
    assert found.proven_at is not None
    (given,) = consents()
    (proof,) = verifications()
    assert (given.act, given.wording_version, given.language, given.channel) == (
        *("given", "web-1"),
        *(language, "web"),
    )
    assert given.evidence == str(proof.id)
    assert (proof.subscription_id, proof.outcome, proof.invoice_number) == (found.id, "subscribed", INVOICE)


def test_the_language_of_messages_need_not_be_that_of_the_pages():
    Visitor(language="fr").subscribe(language="ar")
    assert subscription().language == "ar"
    (message,) = run_sql("SELECT language, text FROM notice").all()
    assert message.language == "ar"


def test_what_is_typed_may_be_written_as_it_is_printed_or_as_people_write():
    visitor = Visitor()
    page = visitor.ask_to_subscribe(
        reference=" ٠٤٢٥٨ 049-6 ", invoice=" 2026-f-0042 ", phone="00216 20.000.001"
    )
    assert page.place == "/fr/code"
    code = last_code()
    page = visitor.send("code", code=f" {code[:3]} {code[3:]} ")
    assert page.place == "/fr/done"
    assert subscription().phone == PHONE


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("reference", "", "Entrez la référence de votre facture."),
        ("reference", "12345678", "La référence a 9 chiffres."),
        ("reference", "12345678a", "La référence a 9 chiffres."),
        ("invoice", "", "Entrez le numéro d’une facture."),
        ("invoice", "A" * 33, "Un numéro de facture n’a que des lettres"),
        ("invoice", "F'--", "Un numéro de facture n’a que des lettres"),
        ("phone", "", "Entrez un numéro de mobile."),
        ("phone", "71 123 456", "C’est un téléphone fixe"),
        ("phone", "20 123", "Il manque des chiffres"),
        ("phone", "20 123 456 7890", "Il y a trop de chiffres"),
        ("phone", "+33 6 12 34 56 78", "Entrez un numéro tunisien."),
        ("phone", "deux", "Un numéro n’a que des chiffres."),
        ("language", "", "Choisissez la langue des SMS."),
        ("language", "en", "Choisissez la langue des SMS."),
        ("consent", "", "Cochez la case si vous êtes d’accord."),
        ("wording", "web-0", "Le texte a changé entre-temps."),
    ],
)
def test_what_is_wrong_with_a_form_is_said_beside_it_and_nothing_is_asked(field, value, said):
    visitor = Visitor()
    page = visitor.ask_to_subscribe(**{field: value})
    assert (page.status, page.place) == (422, "/fr/subscribe")
    assert page.words.count(said) == 2  # in the summary, and beside the field
    assert "<title>Erreur" in page.html
    assert verifications() == []
    if field == "phone" and value:
        assert f'value="{value}"' in page.html  # to be mended, not to be typed again


def test_what_was_typed_is_shown_again_as_text_and_never_as_markup():
    page = Visitor().ask_to_subscribe(reference='"><script>alert(1)</script>')
    assert "<script" not in page.html
    assert "&lt;script&gt;" in page.html


@pytest.mark.parametrize(
    "asked",
    [
        {"invoice": "2026-F-0043"},
        {"reference": "042580497"},
        {"invoice": "2025-F-0001"},
    ],
    ids=["no such bill", "no such customer", "a bill that is too old"],
)
def test_without_the_right_detail_no_code_goes_out_and_the_page_is_the_same(asked):
    bill(invoice="2025-F-0001", days_ago=366)
    visitor = Visitor()
    page = visitor.ask_to_subscribe(**asked)
    assert (page.status, page.place, page.title) == (200, "/fr/code", "Entrez le code")
    assert codes() == []
    page = visitor.send("code", code="123456")
    assert (page.status, page.place) == (422, "/fr/code")
    assert subscription() is None


def test_a_bill_of_a_year_ago_is_good_to_its_last_day():
    bill(invoice="2025-F-0002", days_ago=364)
    assert Visitor().subscribe(invoice="2025-F-0002").place == "/fr/done"


def test_a_contract_that_has_ended_is_told_so_once_the_code_is_right():
    run_sql(
        "INSERT INTO customer (customer_reference, district, contract, told_in, feed_id, row_number) "
        "VALUES (:r, 'TUN1', 'closed', 'f', 1, 1)",
        r=REFERENCE,
    )
    page = Visitor().subscribe()
    assert page.title == "Ce contrat est terminé"
    assert subscription() is None
    assert consents() == []


# --- Subscribing where there is a subscription --------------------------------------------------------------


def test_who_is_subscribed_already_is_told_so_and_nothing_changes():
    before = subscribed(proven_at=None)
    page = Visitor().subscribe()
    assert page.title == "Vous étiez déjà abonné"
    assert subscription().id == before
    assert subscription().proven_at is not None  # but the number is proven now
    assert consents() == []


def test_subscribing_again_in_another_language_changes_the_language():
    subscribed(language="ar")
    page = Visitor().subscribe(language="fr")
    assert page.title == "La langue est changée"
    assert subscription().language == "fr"
    assert [one.act for one in consents()] == ["given"]


def test_one_whose_number_was_taken_back_with_its_coupon_gets_another():
    subscribed(phone="", state="suspended", state_reason="number_taken_back", proven_at=None)
    assert Visitor().subscribe().title == "Le numéro est changé"
    found = subscription()
    assert (found.phone, found.state, found.state_reason) == (PHONE, "active", None)


@pytest.mark.parametrize("state", [("lapsed", "fee_unpaid"), ("suspended", "number_unreachable")])
def test_one_that_rests_is_taken_up_again(state):
    before = subscribed(state=state[0], state_reason=state[1])
    page = Visitor().subscribe()
    assert page.title == "Votre abonnement reprend"
    found = subscription()
    assert (found.id, found.state, found.state_reason) == (before, "active", None)
    assert [one.act for one in consents()] == ["given"]


def test_one_that_a_clerk_has_paused_stays_so():
    subscribed(state="suspended", state_reason="paused_by_clerk")
    assert Visitor().subscribe().title == "Cet abonnement est suspendu"
    assert subscription().state == "suspended"


def test_another_number_needs_the_code_of_the_former_one_too():
    before = subscribed(phone=OTHER_PHONE)
    visitor = Visitor()
    page = visitor.subscribe()
    assert (page.place, page.title) == ("/fr/code", "Entrez le code")
    assert "+216 ** *** 002" in page.words
    assert OTHER_PHONE[4:] not in page.html.replace(" ", "")
    assert subscription().phone == OTHER_PHONE
    page = visitor.send("code", code=last_code(OTHER_PHONE))
    assert page.title == "Le numéro est changé"
    found = subscription()
    assert (found.id, found.phone, found.language) == (before, PHONE, "fr")
    (changed,) = consents()
    first, _second = verifications()
    assert (changed.act, changed.evidence) == ("given", str(first.id))
    assert first.outcome == "number_changed"


def test_the_code_of_the_new_number_does_not_stand_for_that_of_the_former_one():
    subscribed(phone=OTHER_PHONE)
    visitor = Visitor()
    visitor.ask_to_subscribe()
    code = last_code()
    visitor.send("code", code=code)
    judge()
    page = visitor.send("code", code=code)
    assert page.status == 422
    assert subscription().phone == OTHER_PHONE


def test_another_number_needs_no_code_of_one_that_was_never_proven():
    subscribed(phone=OTHER_PHONE, proven_at=None)
    assert Visitor().subscribe().title == "Le numéro est changé"
    assert subscription().phone == PHONE


# --- Codes ----------------------------------------------------------------------------------------------


def test_a_code_is_in_the_message_only_and_what_is_kept_cannot_be_read_back():
    Visitor().ask_to_subscribe()
    code = last_code()
    (kept,) = verifications()
    assert code not in "".join(str(value) for value in kept)
    Visitor(address="197.0.0.2").ask_to_subscribe(phone=OTHER_PHONE)
    judge()
    one, other = verifications()
    assert one.code_salt != other.code_salt
    assert one.code_hash != other.code_hash


def test_a_wrong_code_may_be_mended_and_the_page_says_how_often():
    visitor = Visitor()
    visitor.ask_to_subscribe()
    code = last_code()
    page = visitor.send("code", code=wrong(code))
    assert (page.status, page.place) == (422, "/fr/code")
    assert "Essais qui restent\u00a0:\u00a04." in page.html
    assert wrong(code) not in page.html
    assert visitor.send("code", code=code).place == "/fr/done"


@pytest.mark.parametrize("reference", [REFERENCE, "999999999"], ids=["a customer", "nobody"])
def test_after_five_wrong_codes_the_right_one_is_of_no_use_either(reference):
    visitor = Visitor()
    visitor.ask_to_subscribe(reference=reference)
    judge()
    code = codes()[-1][1] if codes() else "123456"
    for left in range(MOST_TRIES - 1, 0, -1):
        page = visitor.send("code", code=wrong(code))
        assert f"Essais qui restent\u00a0:\u00a0{left}." in page.html
    page = visitor.send("code", code=wrong(code))
    assert (page.status, page.title) == (422, "Trop d’essais")
    visitor.open("code")
    assert visitor.page.title == "Trop d’essais"
    assert "/fr/code" not in visitor.page.forms()
    token = visitor.page.forms()["/fr/code/again"]
    page = visitor.request("POST", "/fr/code", data={**token, "code": code})
    assert page.title == "Trop d’essais"
    assert subscription() is None


def test_a_code_is_good_for_ten_minutes_and_no_longer(later):
    visitor = Visitor()
    visitor.ask_to_subscribe()
    code = last_code()
    later(GOOD_FOR + timedelta(seconds=1))
    page = visitor.send("code", code=code)
    assert (page.status, page.title) == (422, "Le code n’est plus valable")
    assert subscription() is None
    minutes = str(int(GOOD_FOR.total_seconds() // 60))
    assert all(f"{minutes} " in load_kind("one_time_code").render_typical(one) for one in ("ar", "fr"))


def test_another_code_makes_the_first_one_worthless(later):
    visitor = Visitor()
    visitor.ask_to_subscribe()
    first = last_code()
    later(timedelta(minutes=2))
    page = visitor.send("code/again")
    assert (page.status, page.place) == (200, "/fr/code?again")
    assert "Votre demande est enregistrée" in page.words
    second = last_code()
    assert len(codes()) == 2
    if first != second:
        assert visitor.send("code", code=first).status == 422
    assert visitor.send("code", code=second).place == "/fr/done"


def test_a_code_is_right_once_and_a_button_pressed_twice_does_no_harm(later):
    visitor = Visitor()
    visitor.ask_to_subscribe()
    form, code = visitor.page.forms()["/fr/code"], last_code()
    for _ in range(2):
        assert visitor.request("POST", "/fr/code", data={**form, "code": code}).place == "/fr/done"
    assert len(consents()) == 1
    later(timedelta(minutes=3))
    page = visitor.request("POST", "/fr/code", data={**form, "code": code})
    assert page.status == 403
    assert len(consents()) == 1


def test_the_same_asked_twice_at_once_is_asked_once():
    visitor = Visitor()
    for _ in range(2):
        assert visitor.ask_to_subscribe().place == "/fr/code"
    assert len(verifications()) == 1
    assert len(codes()) == 1


def test_a_code_belongs_to_the_browser_that_asked_for_it():
    Visitor().ask_to_subscribe()
    other = Visitor()
    other.ask_to_subscribe(reference="999999999")
    assert other.send("code", code=last_code()).status == 422
    assert subscription() is None


def test_without_anything_asked_for_the_page_of_the_code_leads_back():
    page = Visitor().open("code")
    assert (page.status, page.title) == (403, "Recommencez, s’il vous plaît")
    assert Visitor().open("done").status == 403


def test_what_came_of_a_visit_is_shown_to_that_visit_only_and_for_a_while(later):
    visitor = Visitor()
    visitor.subscribe()
    assert visitor.open("done").title == "Vous êtes abonné"
    assert Visitor().open("done").status == 403
    later(timedelta(hours=1))
    assert visitor.open("done").status == 403


# --- One's own subscription ----------------------------------------------------------------------------


@both_languages
def test_a_customer_looks_at_the_subscription(language):
    subscribed(paid_until=clock.today() + timedelta(days=200))
    page = Visitor(language=language).open_subscription()
    assert page.place == f"/{language}/subscription"
    assert {"ar": "042580496", "fr": "04258 049 6"}[language] in page.words
    assert "+216 ** *** 001" in page.words
    assert "06/12/2026" in page.words
    assert {"ar": "قائم", "fr": "actif"}[language] in page.words


def test_a_look_proves_a_number_that_a_coupon_told():
    subscribed(proven_at=None)
    Visitor().open_subscription()
    assert subscription().proven_at is not None


def test_a_look_at_one_that_lapsed_takes_nothing_up_but_says_how():
    subscribed(state="lapsed", state_reason="fee_unpaid")
    page = Visitor().open_subscription()
    assert "arrêté" in page.words
    assert subscription().state == "lapsed"


@pytest.mark.parametrize(
    "asked", [{"phone": OTHER_PHONE}, {"reference": "999999999"}], ids=["another phone", "nobody"]
)
def test_without_the_subscription_s_own_phone_no_code_goes_out(asked):
    subscribed()
    visitor = Visitor()
    visitor.open("manage")
    page = visitor.send(**{"reference": REFERENCE, "phone": PHONE} | asked)
    assert (page.status, page.place, page.title) == (200, "/fr/code", "Entrez le code")
    assert codes() == []


def test_the_language_is_changed_and_recorded():
    subscribed(language="fr")
    visitor = Visitor()
    visitor.open_subscription()
    page = visitor.send("subscription/language", language="ar")
    assert (page.place, page.status) == ("/fr/subscription?language", 200)
    assert "vos SMS arriveront en arabe" in page.words
    assert subscription().language == "ar"
    (changed,) = consents()
    assert (changed.act, changed.language, changed.channel) == ("changed", "ar", "web")


def test_the_number_is_changed_by_a_code_to_the_new_one_after_one_to_the_old():
    before = subscribed()
    visitor = Visitor()
    visitor.open_subscription()
    visitor.open("subscription/number")
    page = visitor.send(phone=OTHER_PHONE)
    assert page.place == "/fr/code"
    assert subscription().phone == PHONE
    page = visitor.send("code", code=last_code(OTHER_PHONE))
    assert page.title == "Le numéro est changé"
    found = subscription()
    assert (found.id, found.phone, found.language) == (before, OTHER_PHONE, "fr")
    assert [one.act for one in consents()] == ["changed"]
    assert visitor.open("subscription").place == "/fr/manage?over"  # the old number opens nothing any more


@pytest.mark.parametrize(
    ("phone", "said"), [(PHONE, "C’est déjà le numéro"), ("7112", "Il manque"), ("", "Entrez un numéro")]
)
def test_what_is_wrong_with_another_number_is_said(phone, said):
    subscribed()
    visitor = Visitor()
    visitor.open_subscription()
    visitor.open("subscription/number")
    page = visitor.send(phone=phone)
    assert (page.status, page.place) == (422, "/fr/subscription/number")
    assert said in page.words


def test_a_visit_closes_after_a_quarter_of_an_hour(later):
    subscribed()
    visitor = Visitor()
    visitor.open_subscription()
    forms = visitor.page.forms()["/fr/subscription/language"]
    later(timedelta(minutes=16))
    for place in ("subscription", "subscription/number", "subscription/leave"):
        assert visitor.open(place).place == "/fr/manage?over"
    assert "15 minutes" in visitor.page.words
    for place in ("language", "number", "leave"):
        page = visitor.request("POST", f"/fr/subscription/{place}", data={**forms, "phone": OTHER_PHONE})
        assert page.place == "/fr/manage?over"
    assert (subscription().language, subscription().phone) == ("fr", PHONE)


def test_a_visit_that_was_closed_is_closed_to_whoever_sits_there_next():
    subscribed()
    visitor = Visitor()
    visitor.open("manage")
    form = visitor.send(reference=REFERENCE, phone=PHONE).forms()["/fr/code"]
    code = last_code()
    forms = visitor.send("code", code=code).forms()["/fr/subscription/language"]
    page = visitor.send("subscription/close")
    assert (page.place, page.status) == ("/fr/manage?closed", 200)
    assert "La visite est fermée" in page.words
    for place in ("subscription", "subscription/number", "subscription/leave"):
        assert visitor.open(place).place == "/fr/manage?over"
    for place in ("language", "number", "leave"):
        page = visitor.request("POST", f"/fr/subscription/{place}", data={**forms, "phone": OTHER_PHONE})
        assert page.place == "/fr/manage?over"
    page = visitor.request("POST", "/fr/code", data={**form, "code": code})
    assert (page.place, page.status) == ("/fr/done", 403)
    assert (subscription().language, subscription().phone) == ("fr", PHONE)


def test_nobody_gets_in_without_a_code():
    subscribed()
    visitor = Visitor()
    visitor.open("manage")
    form = visitor.send(reference=REFERENCE, phone=PHONE).forms()["/fr/code"]
    assert visitor.open("subscription").place == "/fr/manage?over"
    page = visitor.request("POST", "/fr/subscription/leave", data=form)
    assert page.place == "/fr/manage?over"
    assert subscription() is not None


# --- Leaving -------------------------------------------------------------------------------------------


def planned(subscription_id: int) -> None:
    run_sql(
        "INSERT INTO notice (kind, subject, sequence, subscription_id, phone, language, text, encoding, "
        "segments, priority, send_from, send_until, validity_minutes) VALUES ('bill', 'A1', 1, :id, :phone, "
        "'fr', 'x', 'gsm7', 1, 50, :now, :until, 60)",
        id=subscription_id,
        phone=PHONE,
        now=clock.now(),
        until=clock.now() + timedelta(days=5),
    )


def state_of_bill() -> tuple[str, str | None]:
    with connect() as connection:
        return tuple(connection.execute(text("SELECT state, reason FROM notice WHERE kind = 'bill'")).one())


def test_a_customer_leaves_with_a_code_and_nothing_planned_goes_out():
    planned(subscribed())
    visitor = Visitor()
    visitor.open_subscription()
    page = visitor.open("subscription/leave")
    assert "04258 049 6" in page.words
    assert subscription() is not None  # looking at the question is no answer
    page = visitor.send()
    assert (page.place, page.title) == ("/fr/done", "Vous êtes désabonné")
    assert subscription() is None
    assert state_of_bill() == ("cancelled", "opted_out")
    (revoked,) = consents()
    assert (revoked.act, revoked.channel) == ("revoked", "web")
    assert visitor.open("subscription").place == "/fr/manage?over"


def test_who_has_lost_the_phone_leaves_with_a_bill():
    planned(subscribed(phone=OTHER_PHONE))
    visitor = Visitor()
    visitor.open("leave")
    page = visitor.send(reference=REFERENCE, invoice=INVOICE)
    assert (page.place, page.title) == ("/fr/done", "Votre demande est prise en compte")
    assert codes() == []
    assert subscription() is None
    assert state_of_bill() == ("cancelled", "opted_out")
    (revoked,) = consents()
    assert revoked.evidence == str(verifications()[0].id)
    assert visitor.open("done").title == "Votre demande est prise en compte"


@pytest.mark.parametrize("asked", [{"invoice": "WRONG"}, {"reference": "999999999"}])
def test_a_departure_with_a_wrong_detail_looks_the_same_and_does_nothing(asked):
    subscribed()
    visitor = Visitor()
    visitor.open("leave")
    page = visitor.send(**{"reference": REFERENCE, "invoice": INVOICE} | asked)
    judge()
    assert (page.place, page.title) == ("/fr/done", "Votre demande est prise en compte")
    assert visitor.open("done").title == "Votre demande est prise en compte"
    assert visitor.open("code").status == 403
    assert subscription() is not None


def leave_by_bill() -> None:
    visitor = Visitor(address="197.0.0.9")
    visitor.open("leave")
    visitor.send(reference=REFERENCE, invoice=INVOICE)
    judge()
    assert subscription() is None


def test_after_a_departure_by_bill_another_number_waits(later):
    subscribed(phone=OTHER_PHONE)
    leave_by_bill()
    page = Visitor().subscribe()
    assert page.title == "Ce numéro doit attendre"
    assert "20/06/2026" in page.words
    assert subscription() is None
    later(AFTER_DEPARTURE_BY_BILL)
    bill(invoice="2026-F-0099", days_ago=3)
    assert Visitor().subscribe(invoice="2026-F-0099").title == "Vous êtes abonné"


def test_after_a_departure_by_bill_the_same_number_comes_back_at_once():
    subscribed()
    leave_by_bill()
    assert Visitor().subscribe().title == "Vous êtes abonné"


def test_after_a_departure_by_bill_from_a_number_that_was_never_proven_any_number_may_come():
    subscribed(phone=OTHER_PHONE, proven_at=None)
    leave_by_bill()
    assert Visitor().subscribe().title == "Vous êtes abonné"


def test_after_a_departure_by_code_any_number_may_come():
    subscribed(phone=OTHER_PHONE)
    visitor = Visitor()
    visitor.open_subscription(phone=OTHER_PHONE)
    visitor.open("subscription/leave")
    visitor.send()
    assert Visitor().subscribe().title == "Vous êtes abonné"


@both_languages
@pytest.mark.parametrize("place", ["manage", "leave"])
def test_what_is_wrong_with_the_other_forms_is_said(place, language):
    visitor = Visitor(language=language)
    visitor.open(place)
    page = visitor.send(reference="1")
    assert (page.status, page.place) == (422, f"/{language}/{place}")
    assert page.html.count('aria-invalid="true"') == 2
    assert verifications() == []


# --- Alike, whoever exists -----------------------------------------------------------------------------


@contextmanager
def statements():
    """Note what is asked of the database."""
    asked: list[str] = []

    def note(_connection, _cursor, statement, *_):
        asked.append(statement)

    event.listen(get_engine(), "before_cursor_execute", note)
    try:
        yield asked
    finally:
        event.remove(get_engine(), "before_cursor_execute", note)


def told(page) -> tuple:
    """What an answer tells, but for what is the visitor's own."""
    headers = sorted((name, value) for name, value in page.response.headers.items() if name != "set-cookie")
    shown = re.sub(r'name="token" value="[^"]+"', "", page.html)
    return page.status, page.place, headers, shown


@pytest.mark.parametrize(
    ("form", "real", "others"),
    [
        (
            "subscribe",
            {"reference": REFERENCE, "invoice": INVOICE},
            [
                {"reference": "999999999", "invoice": INVOICE},
                {"reference": REFERENCE, "invoice": "OTHER-NUMBER"},
            ],
        ),
        (
            "manage",
            {"reference": REFERENCE, "phone": PHONE},
            [{"reference": "999999999", "phone": PHONE}],
        ),
        (
            "leave",
            {"reference": REFERENCE, "invoice": INVOICE},
            [{"reference": "999999999", "invoice": INVOICE}],
        ),
    ],
)
def test_an_answer_is_the_same_work_and_the_same_page_whether_a_customer_exists_or_not(form, real, others):
    subscribed()
    rest = {"phone": PHONE, "language": "fr", "consent": "yes"} if form == "subscribe" else {}
    answers = []
    for asked in (real, *others):
        visitor = Visitor()
        visitor.open(form)
        with statements() as work:
            page = visitor.send(**rest | asked)
            tried = visitor.request("POST", "/fr/code", data=visitor_token(visitor) | {"code": "123456"})
        answers.append((told(page), told(tried), work))
    assert all(answer == answers[0] for answer in answers)


def visitor_token(visitor: Visitor) -> dict[str, str]:
    from fatoura.site.protection import token_of

    return {"token": token_of(visitor.cookies["visit"])}


def test_the_same_holds_once_it_was_judged_and_the_code_is_wrong():
    subscribed()
    answers = []
    for reference in (REFERENCE, "999999999"):
        visitor = Visitor()
        visitor.open("manage")
        visitor.send(reference=reference, phone=PHONE)
        right = [code for _, code in codes()]
        with statements() as work:
            page = visitor.send("code", code=wrong(right[-1]))
            opened = visitor.open("code")
        answers.append((told(page), told(opened), work))
    assert answers[0] == answers[1]


# --- Limits --------------------------------------------------------------------------------------------


def ask(reference: str = REFERENCE, phone: str = PHONE, address: str = "197.0.0.1", **more: str):
    visitor = Visitor(address=address)
    visitor.open("manage")
    return visitor.send(reference=reference, phone=phone)


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("phone", "pour ce numéro"),
        ("reference", "avec cette référence"),
        ("address", "viennent de votre réseau"),
        ("all", "Le service reçoit trop de demandes"),
    ],
)
def test_what_is_asked_for_too_often_is_refused_and_counted_by_what_it_shares(
    configure, database, what, said
):
    wide = {f"site_limit_{one}": "1000/h" for one in ("phone", "reference", "address", "all")}
    configure(database_url=database, now=NIGHT, **wide | {f"site_limit_{what}": "2/h"})
    for n in range(4):
        shared = {
            "phone": {"phone": PHONE},
            "reference": {"reference": REFERENCE},
            "address": {"address": "197.0.0.7"},
            "all": {},
        }[what]
        asked = {
            "reference": f"10000000{n}",
            "phone": f"+2165000000{n}",
            "address": f"197.0.1.{n}",
        } | shared
        page = ask(**asked)
        if n < 2:
            assert (page.status, page.place) == (200, "/fr/code")
        else:
            assert (page.status, page.title) == (429, "Trop de demandes")
            assert said in page.words
            assert page.response.headers["retry-after"]
    assert len(verifications()) == 2
    assert ask(reference="200000000", phone="+21690000001", address="41.0.0.1").status == (
        429 if what == "all" else 200
    )


def test_a_client_s_address_is_what_a_trusted_proxy_says_and_nobody_else(configure, database, monkeypatch):
    configure(database_url=database, now=NIGHT, site_limit_address="1/h", site_proxies="10.0.0.0/8")
    given: dict = {}
    monkeypatch.setattr("uvicorn.run", lambda app, **options: given.update(app=app, **options))
    assert CliRunner().invoke(main, ["site"]).exit_code == 0
    config = uvicorn.Config(**given)
    config.load()

    def asked(number: int, by: str, claims: str) -> int:
        visitor = Visitor(app=config.loaded_app, address=by)
        visitor.headers["X-Forwarded-For"] = claims
        visitor.open("manage")
        return visitor.send(reference=f"10000000{number}", phone=f"2165000000{number}").status

    assert [asked(0, "10.0.0.1", "197.0.0.1"), asked(1, "10.0.0.1", "197.0.0.2")] == [200, 200]
    assert asked(2, "10.0.0.1", "41.0.0.1, 197.0.0.1") == 429  # the proxy saw the last one
    assert [asked(3, "197.0.0.3", "41.0.0.2"), asked(4, "197.0.0.3", "41.0.0.3")] == [200, 429]


def test_an_hour_later_one_may_ask_again_but_not_more_than_in_a_day(configure, database, later):
    configure(database_url=database, now=NIGHT, site_limit_phone="1/h,2/d")
    assert ask(reference="100000001").status == 200
    assert ask(reference="100000002").status == 429
    later(timedelta(minutes=61))
    configure(database_url=database, now=clock.now().isoformat(), site_limit_phone="1/h,2/d")
    assert ask(reference="100000003").status == 200
    later(timedelta(minutes=20))
    configure(database_url=database, now=clock.now().isoformat(), site_limit_phone="1/h,2/d")
    assert ask(reference="100000004").status == 429


def test_counts_outlast_the_process_and_hold_no_number(configure, database):
    configure(database_url=database, now=NIGHT, site_limit_phone="1/h")
    assert ask(reference="100000001").status == 200
    assert ask(reference="100000002").status == 429  # by another application, as after a restart
    with connect() as connection:
        kept = str(connection.execute(text("SELECT * FROM site_count")).all())
    assert PHONE[4:] not in kept
    assert "197.0.0.1" not in kept
    assert "100000001" not in kept


def test_everything_is_pruned_but_what_is_evidence(later):
    Visitor().ask_to_subscribe(reference="999999999")
    Visitor(address="197.0.0.8").subscribe()
    subscribed(reference="100000001")
    bill(reference="100000001", invoice="F-1")
    visitor = Visitor()
    visitor.open("leave")
    visitor.send(reference="100000001", invoice="F-1")
    judge()
    tidy()
    assert len(verifications()) == 3
    later(timedelta(days=3))
    tidy()
    assert [one.outcome for one in verifications()] == ["subscribed", "left"]
    with connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM site_count")) == 0


# --- What guards it ------------------------------------------------------------------------------------

POSTS = [
    "subscribe",
    "code",
    "code/again",
    "manage",
    "subscription/language",
    "subscription/number",
    "subscription/leave",
    "subscription/close",
    "leave",
]


@pytest.mark.parametrize("place", POSTS)
@pytest.mark.parametrize("fault", ["no token", "another's token", "no cookie", "another site"])
def test_a_form_that_no_page_of_ours_gave_to_this_browser_does_nothing(place, fault):
    subscribed()
    visitor, other = Visitor(), Visitor()
    token = visitor.open("subscribe").forms()["/fr/subscribe"]["token"]
    headers = {}
    if fault == "no token":
        token = ""
    elif fault == "another's token":
        token = other.open("subscribe").forms()["/fr/subscribe"]["token"]
    elif fault == "no cookie":
        visitor = Visitor()
    else:
        headers = {"Origin": "https://elsewhere.example"}
    fields = {"token": token, "reference": REFERENCE, "invoice": INVOICE, "phone": PHONE}
    page = visitor.request("POST", f"/fr/{place}", data=fields, headers=headers)
    assert (page.status, page.title) == (403, "Recommencez, s’il vous plaît")
    assert verifications() == []
    assert subscription().state == "active"


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "null"}, {"Origin": "http://127.0.0.1:8082"}, {"Sec-Fetch-Site": "same-origin"}],
)
def test_what_browsers_tell_of_our_own_pages_is_taken(headers):
    visitor = Visitor()
    token = visitor.open("manage").forms()["/fr/manage"]
    fields = {**token, "reference": REFERENCE, "phone": PHONE}
    assert visitor.request("POST", "/fr/manage", data=fields, headers=headers).place == "/fr/code"


def test_a_browser_that_says_that_another_site_sent_the_form_is_believed():
    visitor = Visitor()
    token = visitor.open("manage").forms()["/fr/manage"]
    fields = {**token, "reference": REFERENCE, "phone": PHONE}
    for told in ("cross-site", "same-site"):
        page = visitor.request("POST", "/fr/manage", data=fields, headers={"Sec-Fetch-Site": told})
        assert page.status == 403


PLACES = ["", "subscribe", "code", "done", "manage", "subscription", "leave", "nothing"]


@pytest.mark.parametrize("path", ["/", "/health", "/static/site.css", *(f"/fr/{place}" for place in PLACES)])
def test_each_answer_is_guarded_by_its_headers(path):
    headers = Visitor().request("GET", path, follow_redirects=False).response.headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-frame-options"] == "DENY"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "strict-transport-security" not in headers
    assert "server" not in headers


@pytest.mark.parametrize("place", PLACES)
def test_pages_need_no_script_and_no_style_of_their_own(place):
    page = Visitor().open(place)
    assert "<script" not in page.html
    assert not re.search(r"\s(style|on\w+)=", page.html)
    assert len(page.html.encode()) < 10_000
    if place:
        assert page.response.headers["cache-control"] == "no-store"


def test_the_cookie_is_for_this_site_alone(configure, database):
    given = Visitor().open("subscribe").response.headers["set-cookie"]
    assert given.startswith("visit=")
    assert {"HttpOnly", "SameSite=lax", "Path=/"} <= set(given.split("; "))
    assert "Secure" not in given
    assert "set-cookie" not in Visitor().open("").response.headers  # who only reads gets none
    configure(database_url=database, now=NIGHT, site_url="https://sms.example.tn")
    answer = Visitor().open("subscribe").response.headers
    assert answer["set-cookie"].startswith("__Host-visit=")
    assert "Secure" in answer["set-cookie"].split("; ")
    assert answer["strict-transport-security"] == "max-age=31536000"


def test_a_cookie_that_we_never_made_up_is_replaced():
    visitor = Visitor()
    visitor.cookies.set("visit", "chosen-by-somebody-else")
    assert visitor.open("subscribe").response.headers["set-cookie"].startswith("visit=")


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"token=" + b"x" * LARGEST_BODY, {}, 413),
        (b"token=x&token=y", {}, 400),
        (b"a=1&" * 40, {}, 400),
        (b"reference=" + b"1" * 400, {}, 400),
        (b"reference=\xff\xfe", {}, 400),
        (b"{}", {"Content-Type": "application/json"}, 415),
        (b"", {"Content-Type": "multipart/form-data; boundary=x"}, 415),
    ],
)
def test_what_is_no_form_of_ours_is_refused(content, headers, status):
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    page = Visitor().request("POST", "/fr/manage", content=content, headers=form | headers)
    assert page.status == status
    assert "illisible" in page.words


@pytest.mark.parametrize("value", ["%00", "%ED%A0%80", "a%0Ab", "٠" * 30, "\u202e042580496"])
def test_strange_characters_are_answered_like_anything_else(value):
    visitor = Visitor()
    token = visitor.open("manage").forms()["/fr/manage"]["token"]
    page = visitor.request(
        "POST",
        "/fr/manage",
        content=f"token={token}&reference={value}&phone={value}".encode("utf-8", "replace"),
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert page.status in (400, 422)


def test_other_methods_and_paths_are_none_of_its():
    visitor = Visitor()
    assert visitor.request("PUT", "/fr/manage").status == 405
    assert visitor.request("DELETE", "/fr/").status == 405
    for path in ("/docs", "/openapi.json", "/fr/subscribe/", "/en/", "/static/../app.py", "/static/app.py"):
        assert visitor.request("GET", path).status == 404
    assert visitor.request("HEAD", "/fr/").status == 200


@pytest.mark.parametrize(
    ("wanted", "place"),
    [("fr-FR,fr;q=0.9", "/fr/"), ("ar-TN,fr;q=0.8", "/ar/"), ("en", "/ar/"), ("", "/ar/")],
)
def test_the_first_page_is_in_the_browser_s_language(wanted, place):
    assert Visitor().request("GET", "/", headers={"Accept-Language": wanted}).place == place


@both_languages
@pytest.mark.parametrize("place", ["", "subscribe", "manage", "leave"])
def test_each_page_leads_to_itself_in_the_other_language(place, language):
    visitor = Visitor(language=language)
    page = visitor.open(place)
    other = {"ar": "fr", "fr": "ar"}[language]
    assert f'href="/{other}/{place}"' in page.html
    assert f'<html lang="{language}" dir="{"rtl" if language == "ar" else "ltr"}">' in page.html


def test_search_engines_are_told_to_keep_to_the_first_pages():
    assert "Disallow: /" in Visitor().request("GET", "/robots.txt").html
    assert 'content="noindex"' in Visitor().open("subscribe").html


def test_health_tells_of_the_database(monkeypatch):
    assert Visitor().request("GET", "/health").response.json()["database"] == "up"


# --- Trouble, and what is written down of it -------------------------------------------------------------


def test_while_the_database_is_away_a_page_says_so_and_the_log_holds_nothing_personal(monkeypatch, caplog):
    caplog.set_level("DEBUG")
    visitor = Visitor()
    visitor.open("subscribe")
    run_sql("ALTER TABLE verification ADD CONSTRAINT broken CHECK (false) NOT VALID")
    page = visitor.send(reference=REFERENCE, invoice=INVOICE, phone=PHONE, language="fr", consent="yes")
    assert (page.status, page.title) == (503, "Le service est interrompu un moment")
    assert page.response.headers["retry-after"]
    assert "a page could not be made" in caplog.text
    assert not found_in(caplog, REFERENCE, INVOICE, PHONE[4:])


def found_in(caplog, *secrets: str) -> list[str]:
    written = [
        logging.Formatter().format(record)
        for record in caplog.records
        if record.name.split(".")[0] != "httpx"
    ]
    return [line for line in written if any(secret in line for secret in secrets)]


def test_nothing_personal_is_in_any_address_or_log(caplog):
    caplog.set_level("DEBUG")
    subscribed(reference="100000001", phone=OTHER_PHONE)
    visitor = Visitor()
    pages = [visitor.ask_to_subscribe(reference="1"), visitor.ask_to_subscribe()]
    first = last_code()
    pages.append(visitor.send("code", code=wrong(first)))
    pages.append(visitor.send("code", code=first))
    pages.append(visitor.open_subscription(reference="100000001", phone=OTHER_PHONE))
    pages.append(visitor.send("subscription/language", language="ar"))
    seen = [
        str(url) for page in pages for url in [page.response.url, *(r.url for r in page.response.history)]
    ]
    secrets = (REFERENCE, INVOICE, PHONE[4:], OTHER_PHONE[4:], "100000001", first, *(c for _, c in codes()))
    assert not [url for url in seen if any(secret in url for secret in secrets)]
    assert not found_in(caplog, *secrets)


def test_a_session_of_the_database_that_fails_in_the_middle_leaves_the_code_good(monkeypatch):
    visitor = Visitor()
    visitor.ask_to_subscribe()
    code = last_code()
    with monkeypatch.context() as broken:
        broken.setattr(asking, "end", lambda *_: 1 / 0)
        assert visitor.send("code", code=code).status == 503
    assert subscription() is None
    visitor.open("code")
    assert visitor.send("code", code=code).place == "/fr/done"
    assert len(consents()) == 1


# --- The wording -------------------------------------------------------------------------------------


def test_the_text_of_the_day_is_agreed_to_and_a_new_one_is_shown_first(tmp_path, configure, database):
    file = tmp_path / "wordings.yaml"
    file.write_text(
        """
consent:
  - {version: "old", from: 2020-01-01, fr: "Un texte", ar: "نص"}
  - {version: "new", from: 2026-05-20, fr: "Un autre texte", ar: "نص آخر"}
  - {version: "next", from: 2026-06-01, fr: "Le prochain", ar: "النص القادم"}
contact: {phone: "71 000 000"}
""",
        encoding="utf-8",
    )
    configure(database_url=database, now=NIGHT, site_wordings=file)
    _read.cache_clear()
    visitor = Visitor()
    page = visitor.open("subscribe")
    assert "Un autre texte" in page.words
    assert "71 000 000" in page.html
    page = visitor.ask_to_subscribe(wording="old")
    assert (page.status, "Un autre texte" in page.words) == (422, True)
    visitor.subscribe()
    assert [one.wording_version for one in consents()] == ["new"]
    assert wordings().contact.phone == "71 000 000"
