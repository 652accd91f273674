"""Aggregators that are spoken to by query strings, each as its public documents and clients show it.

Written from those, not from the forms under include/: where the two differ, one of them is wrong.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import parse_qs, quote, urlsplit

from fatoura.gateways import GatewayConfig
from fatoura.notices.states import State
from tests.conformance.provider import Arrived, FakeProvider

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fatoura.gateways.interface import OutcomeKind

# Keys of such aggregators hold the signs of base64, and slashes.
KEY = "rI/-/kBSas5=kYa+hRH&xcBv/2"

_JSON, _XML, _HTML = "application/json", "text/xml", "text/html"

_LONGEST = 4
_DATE = "2026-05-20 10:30"


class _Aggregator(FakeProvider):
    adapter = "query_string"
    secrets = (KEY, quote(KEY, safe=""), quote(KEY))
    form: ClassVar[str]
    path: ClassVar[str]
    first_id: ClassVar[str] = "0000000"  # leading zeros count

    def __init__(self) -> None:
        super().__init__()
        self._arrived: list[Arrived] = []
        self.ids: dict[str, str] = {}
        self.said: dict[str, str] = {}
        self._how: str | None = None

    def config(self, name: str, base_url: str) -> GatewayConfig:
        extra = {"form": self.form, "path": self.path, "longest_segments": _LONGEST}
        return GatewayConfig(name, base_url, "", KEY, extra)

    def arrived(self) -> list[Arrived]:
        return list(self._arrived)

    def answer(self, how: str | None) -> None:
        self._how = how

    async def report(self, phone: str, word: str) -> None:
        self.said[self.ids[phone]] = word

    async def serve(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, str, str]:
        parts = urlsplit(target)
        query = {
            name: values[0]
            for name, values in parse_qs(parts.query, keep_blank_values=True, strict_parsing=True).items()
        }
        if method != "GET" or body:
            return 405, _HTML, "Method Not Allowed"
        return self.ask(parts.path, query) or (404, _HTML, "<html>Not Found</html>")

    @abstractmethod
    def ask(self, path: str, query: dict[str, str]) -> tuple[int, str, str] | None:
        """Answer a question; nothing for one that is none."""

    def take(self, phone: str, text: str, sender: str) -> str:
        """Take a message, return its id. Numbers come with the country, and without a plus sign."""
        assert phone.startswith("216") and len(phone) == 11, phone  # noqa: PT018
        number = self.first_id[: -len(str(len(self._arrived)))] + str(len(self._arrived))
        self._arrived.append(Arrived(f"+{phone}", text, sender))
        self.ids[f"+{phone}"] = number
        return number


_L2T_CODES = {
    "the key is missing": 400,
    "wrong key": 401,
    "no balance": 402,
    "the day's quota is used up": 420,
    "no text": 430,
    "no number": 431,
    "too long": 440,
    "number not allowed": 441,
    "sender not ours": 442,
}
_L2T_ANSWERS: dict[str, OutcomeKind] = {
    **dict.fromkeys(_L2T_CODES, "stop"),
    "the day's quota is used up": "refused",
    "number not allowed": "rejected",
}


class L2TFake(_Aggregator):
    """L2T's HTTP SMS API, version 1, in JSON."""

    name = "L2T v1 (fake)"
    form = "l2t"
    path = "/dz/s/api/v1/sms"
    first_id = "1200000"  # a number in its JSON
    balance = "350"
    words: ClassVar[Mapping[str, State]] = {
        "DELIVERED": State.DELIVERED,
        "UNDELIVERED": State.UNDELIVERABLE,
        "EXPIRED": State.EXPIRED,
        "REJECTED": State.REJECTED,
        "UNKNOWN": State.ACCEPTED,
    }
    answers: ClassVar[Mapping[str, OutcomeKind]] = {**_L2T_ANSWERS, "internal error": "in_doubt"}

    def ask(self, path: str, query: dict[str, str]) -> tuple[int, str, str] | None:
        if path != self.path:
            return None
        if query.get("key") != KEY:
            return self.says(401, "unauthorized", "Clé API non autorisée ou invalide")
        match query.get("fct"):
            case "sms":
                return self._sms(query)
            case "dlr":
                ids = query["msg_id"].split(";")
                self.asked.append(ids)
                told = [
                    {
                        "message_id": int(one),
                        "dlr": self.said.get(one, "UNKNOWN"),
                        "dlr_date": _DATE if one in self.said else None,
                        "ref": "abc123",
                    }
                    for one in ids
                ]
                return self.says(200, "dlr_success", "dlr response", told)
            case "balance":
                data = {"id_client": 1111, "balance": 350}
                return self.says(200, "balance_success", "Account balance", data)
        return None

    def _sms(self, query: dict[str, str]) -> tuple[int, str, str]:
        if self._how == "internal error":
            return 500, _HTML, "Internal Server Error"
        if self._how is not None:
            # What a provider says of a refusal may repeat the request.
            code = _L2T_CODES[self._how]
            return self.says(code, "error", f"{self._how}: {query['mobile']} {query['sms']} {query['key']}")
        number = self.take(query["mobile"], query["sms"], query["sender"])
        data = {"message_id": int(number), "msisdn": query["mobile"], "ref": "abc123"}
        return self.says(200, "message_queued", "le message est enregistré dans la file d’attente", data)

    @staticmethod
    def says(status: int, code: str, words: str, data: Any = None) -> tuple[int, str, str]:
        told = {"success": status == 200, "message": words, "code": code, "status": str(status), "data": data}
        return status, _JSON, json.dumps(told, ensure_ascii=False)


class TunisieSmsFake(_Aggregator):
    """TunisieSMS's Api.aspx: XML, and 200 in the status line whatever it says."""

    name = "TunisieSMS v0 (fake)"
    form = "tunisiesms"
    path = "/Api/Api.aspx"
    words: ClassVar[Mapping[str, State]] = {
        "DELIVRD": State.DELIVERED,
        "UNDELIV": State.UNDELIVERABLE,
        "SKIPPED": State.UNDELIVERABLE,
        "EXPIRED": State.EXPIRED,
        "REJECTED": State.REJECTED,
        "UNKNOWN": State.ACCEPTED,
    }
    answers: ClassVar[Mapping[str, OutcomeKind]] = _L2T_ANSWERS

    def ask(self, path: str, query: dict[str, str]) -> tuple[int, str, str] | None:
        if path != self.path:
            return None
        if query.get("key") != KEY:
            return self.says(401, "Clé non autorisée")
        match query.get("fct"):
            case "sms":
                if self._how is not None:
                    return self.says(_L2T_CODES[self._how], f"{self._how}: {query['sms']}", query["mobile"])
                number = self.take(query["mobile"], query["sms"], query["sender"])
                return self.says(200, "Data OK", query["mobile"], number)
            case "dlr":
                ids = query["msg_id"].split(";")
                self.asked.append(ids)
                found = "".join(
                    f"<message><message_id>{one}</message_id><acknowledgement>"
                    f"{self.said.get(one, 'UNKNOWN')}</acknowledgement><date>{_DATE}:00</date></message>"
                    for one in ids
                )
                return 200, _XML, f'<?xml version="1.0"?><Acknowledgement>{found}</Acknowledgement>'
        return None

    @staticmethod
    def says(code: int, words: str, mobile: str = "", number: str = "") -> tuple[int, str, str]:
        return (
            200,
            _XML,
            '<?xml version="1.0" encoding="utf-8"?><response><status>'
            f"<status_code>{code}</status_code><status_msg><![CDATA[{words}]]></status_msg>"
            f"<status_mobile>{mobile}</status_mobile><message_id>{number}</message_id></status></response>",
        )


_WINSMS_CODES = {
    "bad gateway": "100",
    "wrong action": "101",
    "wrong key": "102",
    "no such number": "103",
    "not covered": "104",
    "no balance": "105",
    "sender not ours": "106",
    "a word of spam": "111",
    "black list": "112",
    "licence ended": "555",
    "no sender": "888",
}


class WinSmsFake(_Aggregator):
    """WinSMS. Its answers to verifSms are assumed: it publishes none."""

    name = "WinSMS (fake)"
    form = "winsms"
    path = "/sms/sms/api"
    balance = "1250"
    words: ClassVar[Mapping[str, State]] = {
        "DELIVERED": State.DELIVERED,
        "UNDELIVERED": State.UNDELIVERABLE,
        "EXPIRED": State.EXPIRED,
        "REJECTED": State.REJECTED,
        "PENDING": State.ACCEPTED,
    }
    answers: ClassVar[Mapping[str, OutcomeKind]] = {
        **dict.fromkeys(_WINSMS_CODES, "stop"),
        **dict.fromkeys(("no such number", "not covered", "black list"), "rejected"),
        **dict.fromkeys(("bad gateway", "a word of spam"), "in_doubt"),
        "too many at once": "refused",
    }

    def ask(self, path: str, query: dict[str, str]) -> tuple[int, str, str] | None:
        if query.get("api_key") != KEY:
            return 200, _JSON, json.dumps({"code": "102", "message": "Authentication Failed"})
        if path == f"{self.path}/verifSms":
            self.asked.append([query["ref"]])
            return 200, _JSON, json.dumps({"status": self.said.get(query["ref"], "PENDING")})
        if path != self.path or query.get("response") != "json":
            return None
        match query.get("action"):
            case "send-sms":
                if self._how == "too many at once":
                    return 429, _HTML, "Too Many Attempts."
                if self._how is not None:
                    told = {"code": _WINSMS_CODES[self._how], "message": f"{query['to']} {query['sms']}"}
                    return 200, _JSON, json.dumps(told)
                is_unicode = any("\u0600" <= letter <= "\u06ff" for letter in query["sms"])
                assert not is_unicode or query.get("unicode") == "1"
                number = self.take(query["to"], query["sms"], query["from"])
                told = {"code": "ok", "message": "Successfully Send", "ref": number, "balance": 1250}
                return 200, _JSON, json.dumps(told)
            case "check-balance":
                return 200, _JSON, json.dumps({"balance": "1250", "user": "steg"})
        return None
