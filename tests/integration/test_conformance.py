"""Every adapter against its provider, or a fake that speaks its documented form: see tests/conformance."""

from __future__ import annotations

import pytest

from fatoura.gateways.registry import ADAPTERS
from tests.conformance import checks
from tests.conformance.kannel import KannelItself
from tests.conformance.providers import FAKES


def test_every_adapter_is_tried():
    assert {provider.adapter for provider in FAKES} == set(ADAPTERS)


@pytest.mark.parametrize("sentence", checks.sentences())
@pytest.mark.parametrize("provider", FAKES, ids=lambda provider: provider.name)
async def test_conformance(provider, sentence):
    one = provider()
    if checks.applies(sentence, one):
        await checks.run(sentence, one)


@pytest.mark.kannel
@pytest.mark.parametrize("sentence", checks.sentences())
async def test_conformance_of_real_kannel(kannel, sentence):
    one = KannelItself(kannel)
    if checks.applies(sentence, one):
        await checks.run(sentence, one)
