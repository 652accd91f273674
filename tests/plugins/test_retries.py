"""Which failures of a task are worth another try."""

from datetime import timedelta

import psycopg
import pytest
import requests
from airflow.providers.standard.exceptions import HITLTimeoutError
from airflow.sdk import RetryAction
from airflow.sdk.definitions.retry_policy import ExceptionRetryPolicy
from sqlalchemy.exc import IntegrityError, OperationalError

from fatoura.errors import BadInput, FatouraError, NeedsAPerson, NotReady
from fatoura.extracts import ExtractRefused
from fatoura.gateways.interface import MessageUnfit
from fatoura.ledger import LedgerBroken
from fatoura.notices.planning import PlanningRefused
from fatoura.phones import PhoneError
from fatoura.quality import BatchRefused, SuiteError
from fatoura.reports.writer import ReportNotWritten
from fatoura.sending.sender import GatewayStopped
from operations.defaults import DEFAULT_ARGS
from operations.retries import RETRY_POLICY


def decide(error: BaseException):
    return RETRY_POLICY.evaluate(error, try_number=1, max_tries=3)


@pytest.mark.parametrize(
    "error",
    [
        BadInput("wrong"),
        NeedsAPerson("read me"),
        GatewayStopped("the provider refuses everything"),
        LedgerBroken("does not balance"),
        PlanningRefused("too long"),
        ExtractRefused("2026-05-T1", ["wrong"]),
        BatchRefused("2026-05-T1", ["totals differ"]),
        SuiteError("no such rule"),
        PhoneError("empty", "there is no phone number"),
        MessageUnfit("spoilt"),
        HITLTimeoutError({"error": "nobody answered"}),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_a_person_must_mend_fails_at_once(error):
    decision = decide(error)
    assert decision.action is RetryAction.FAIL
    assert decision.reason


@pytest.mark.parametrize(
    "error",
    [
        NotReady("another run holds it"),
        ReportNotWritten("the disk is full"),
        OperationalError("SELECT 1", {}, psycopg.OperationalError("gone")),
        ConnectionError("reset"),
        ConnectionRefusedError("refused"),
        TimeoutError("too slow"),
        OSError("a share that is away"),
        requests.ConnectionError("no route"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_may_mend_itself_is_tried_again_soon(error):
    decision = decide(error)
    assert (decision.action, decision.retry_delay) == (RetryAction.RETRY, timedelta(seconds=30))
    assert decision.reason


@pytest.mark.parametrize(
    "error",
    [
        FatouraError("stopped on request"),
        IntegrityError("INSERT", {}, psycopg.IntegrityError("twice")),
        psycopg.OperationalError("gone in the middle of a COPY"),
        ZeroDivisionError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_anything_else_is_left_to_airflow_which_tries_again(error):
    assert decide(error).action is RetryAction.DEFAULT
    assert DEFAULT_ARGS["retries"] > 0


def test_every_named_error_exists():
    for rule in RETRY_POLICY.rules:
        assert len(rule._resolve_exception_classes()) == len(rule._specs)


def test_it_survives_the_way_through_airflow_s_database():
    again = ExceptionRetryPolicy.deserialize(RETRY_POLICY.serialize())
    assert again.evaluate(BadInput("wrong"), 1, 3).action is RetryAction.FAIL
    assert again.evaluate(NotReady("away"), 1, 3).action is RetryAction.RETRY
