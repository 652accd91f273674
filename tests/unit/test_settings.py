"""What operators write into the environment is checked at the start, in words that say what to do."""

from __future__ import annotations

import pytest

from fatoura.errors import BadInput


def test_gateways_stand_in_the_order_of_fall_back(configure):
    assert configure(sms_conn_ids="first_sms, second.sms").gateways == ("first_sms", "second.sms")


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ("", "name the Airflow connections"),
        ("a,,b", "name the Airflow connections"),
        ("a b", "name the Airflow connections"),
        ("a,b,a", "a connection stands there twice"),
    ],
)
def test_gateways_that_cannot_be_told_apart_are_refused(configure, told, words):
    with pytest.raises(BadInput, match=f"FATOURA_SMS_CONN_IDS: .*{words}"):
        configure(sms_conn_ids=told)
