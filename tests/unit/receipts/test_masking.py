"""Numbers in receipts are hidden before they are stored. All of them are invented."""

from __future__ import annotations

import pytest

from fatoura.receipts.masking import without_numbers

NOTICE = "01890a5d-ac96-774b-bcce-b302099a8057"


@pytest.mark.parametrize(
    ("came", "kept"),
    [
        ({"query": {"to": "21620000345"}}, {"query": {"to": "216*****345"}}),
        ({"body": '{"address": "tel:+21620000345"}'}, {"body": '{"address": "tel:+216*****345"}'}),
        ({"query": {"address": "tel%3A%2B21650000345"}}, {"query": {"address": "tel%3A%2B216*****345"}}),
        ({"answer": {"mobile": "98000345"}}, {"answer": {"mobile": "*****345"}}),
        ({"answer": {"msisdn": 21620000345}}, {"answer": {"msisdn": "216*****345"}}),
        ({"answer": [{"dest_addr": "0021620000345"}]}, {"answer": [{"dest_addr": "00216*****345"}]}),
    ],
)
def test_a_number_is_hidden_wherever_it_stands(came, kept):
    assert without_numbers(came) == kept


@pytest.mark.parametrize(
    "value",
    [
        {"query": {"notice": NOTICE, "attempt": "1", "type": "1", "time": "1779262800"}},
        {"answer": {"msg_id": "20000345", "status": "DELIVERED", "ok": True, "parts": 2, "cost": 0.02}},
        {"query": {"answer": "id:0123456789 sub:001 dlvrd:001 stat:DELIVRD err:000"}},
        {"answer": {"msg_id": "216200003456789"}},
        {"body": "", "none": None},
    ],
)
def test_everything_else_stays_as_it_came(value):
    assert without_numbers(value) == value
