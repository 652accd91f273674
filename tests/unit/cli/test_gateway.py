"""`fatoura gateway receipt-address`: what a provider is told that calls one address for all messages."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from fatoura.cli import main
from fatoura.receipts.secret import receipt_secret


@pytest.fixture(autouse=True)
def _gateways(configure):
    configure(sms_conn_ids="kannel_sms,orange_sms", receiver_url="https://receipts.example.tn/")


def run(name: str):
    return CliRunner().invoke(main, ["gateway", "receipt-address", name])


def test_it_prints_the_address_with_the_gateways_name_and_the_secret():
    done = run("orange_sms")
    assert done.exit_code == 0
    assert done.stdout == f"https://receipts.example.tn/receipts/orange_sms/{receipt_secret()}\n"


def test_a_name_that_is_no_gateway_is_refused_and_no_secret_is_shown():
    done = run("orange")
    assert done.exit_code == 1
    assert "kannel_sms, orange_sms" in done.stderr
    assert receipt_secret() not in done.output
