"""With FATOURA_REQUIRE_ALL set, a run of the tests cannot pass by skipping."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

SKIPPING = """
import pytest

def test_that_passes():
    pass

def test_that_skips():
    pytest.skip("the Debian package is absent")

@pytest.mark.xfail(reason="known")
def test_that_fails_as_known():
    assert False
"""


@pytest.mark.parametrize(("require", "code", "ending"), [("", 0, "1 skipped"), ("1", 1, "1 failed")])
def test_a_skipped_test_fails_where_everything_is_required(
    tmp_path: Path, require: str, code: int, ending: str
) -> None:
    module = tmp_path / "test_skipping.py"
    module.write_text(SKIPPING)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "tests.conftest", str(module)],
        cwd=ROOT,
        env={**os.environ, "FATOURA_REQUIRE_ALL": require},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout
    assert ending in done.stdout
    assert "1 xfailed" in done.stdout
    assert not require or "the Debian package is absent" in done.stdout
