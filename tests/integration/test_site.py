"""The web site with a real database: each step and each error, and what nobody may learn from it."""

from __future__ import annotations

import pytest

from tests.site import (
    PHONE,
    REFERENCE,
    Visitor,
    bill,
    consents,
    last_code,
    subscription,
    verifications,
)


@pytest.fixture(autouse=True)
def _settings(database, configure):
    configure(now="2026-05-20T22:30:00+01:00")
    bill()


def test_a_customer_subscribes_with_a_bill_and_the_code(configure):
    visitor = Visitor()
    page = visitor.ask_to_subscribe()
    assert (page.status, page.place, page.title) == (200, "/fr/code", "Entrez le code")
    page = visitor.send("code", code=last_code())
    assert (page.place, page.title) == ("/fr/done", "Vous êtes abonné")
    found = subscription()
    assert (found.phone, found.language, found.channel, found.state) == (PHONE, "fr", "web", "active")
    assert found.proven_at is not None
    (given,) = consents()
    (proof,) = verifications()
    assert (given.act, given.wording_version, given.channel) == ("given", "web-1", "web")
    assert given.evidence == str(proof.id)
    assert proof.subscription_id == found.id
