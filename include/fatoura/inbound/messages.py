"""What becomes of a message that a customer sent: its keyword is obeyed at once, and answered.

Called by the receiver. Of a message only this is kept: when, through which provider, what it asked for, and
how many subscriptions it ended; neither the number nor the words.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import text

from fatoura import clock
from fatoura.database import begin
from fatoura.inbound.keywords import load_keywords
from fatoura.phones import comparable
from fatoura.phones_at_rest import stored_forms
from fatoura.settings import get_settings
from fatoura.subscriptions.leaving import Leaver, leave

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from fatoura.gateways.interface import InboundMessage
    from fatoura.inbound.keywords import Act, Reply
    from fatoura.languages import Language

log = logging.getLogger(__name__)

_OF_THE_SENDER = """
SELECT customer_reference, language, state <> 'ended' AS stands FROM subscription
WHERE phone = ANY(:forms) AND (state <> 'ended' OR state_reason = 'left')
ORDER BY state = 'ended', id DESC
"""


class Reaction(NamedTuple):
    """What was done, and what the sender is answered; an empty answer is none."""

    reply: Reply
    answer: str
    language: Language


def react(gateway: str, message: InboundMessage) -> Reaction:
    """Obey a message in a transaction of its own, and return what is to be answered.

    A provider may give the same message again: who has left has left already.
    """
    keywords = load_keywords(get_settings().keywords_file)
    act, language = keywords.read(message.text)
    with begin() as connection:
        message_id = connection.scalar(
            text("SELECT nextval(pg_get_serial_sequence('inbound_message', 'id'))")
        )
        reply, subscribed_in, ended = _obey(connection, act, message.sender, f"keyword, message {message_id}")
        connection.execute(
            text(
                "INSERT INTO inbound_message (id, gateway, received_at, act, outcome, subscriptions) "
                "OVERRIDING SYSTEM VALUE VALUES (:id, :gateway, :now, :act, :outcome, :ended)"
            ),
            {
                "id": message_id,
                "gateway": gateway,
                "now": clock.now(),
                "act": act,
                "outcome": reply,
                "ended": ended,
            },
        )
    log.info("%s: message %s of a customer: %s, %d subscription(s) ended", gateway, message_id, reply, ended)
    answered_in = subscribed_in or language
    return Reaction(reply, keywords.answers[reply][answered_in], answered_in)


def _obey(
    connection: Connection, act: Act | None, sender: str, evidence: str
) -> tuple[Reply, Language | None, int]:
    """Do what is asked for; return the reply, the language of the sender's subscription, and what ended."""
    if act is None:
        return "no_keyword", None, 0
    if act == "help":
        return "helped", None, 0
    phone = comparable(sender)
    found = connection.execute(text(_OF_THE_SENDER), {"forms": stored_forms(phone)}).all() if phone else []
    if not found:
        return "unknown_sender", None, 0
    language: Language = found[0].language
    leavers = [Leaver(one.customer_reference, evidence, "the customer") for one in found if one.stands]
    ended = leave(connection, leavers, channel="keyword").ended if leavers else {}
    return ("left" if ended else "already_left"), language, len(ended)
