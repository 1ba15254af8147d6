"""Runs tests/airflow where there is an Airflow, which is not where these tests run.

``SSHJOBS_TEST_AIRFLOW`` names the Python of an environment that has Airflow, the ssh
provider, pytest, pytest-timeout and this checkout; without it one is made, which takes
a minute and PyPI. A small set of these tests is part of CI.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).parent.parent
PACKAGES = ("apache-airflow>=3", "apache-airflow-providers-ssh>=7.0.1")
TOOLS = ("pytest>=8.0", "pytest-timeout>=2.3")


def _environment(folder: Path) -> str:
    """Make a virtual environment with Airflow in it; return its Python."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = str(folder / "bin" / "python")
    made = subprocess.run(
        [
            python,
            "-m",
            "pip",
            "install",
            "-q",
            "--no-compile",
            *PACKAGES,
            *TOOLS,
            "-e",
            TOP,
        ],
        capture_output=True,
        text=True,
    )
    if made.returncode and not os.environ.get("CI"):
        pytest.skip(f"no Airflow to be had: {made.stderr[-300:]}")
    assert made.returncode == 0, made.stderr[-3000:]
    return python


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The Python of an environment with Airflow in it."""
    named = os.environ.get("SSHJOBS_TEST_AIRFLOW")
    return named or _environment(tmp_path_factory.mktemp("airflow") / "venv")


def _run(python: str, *words: str) -> None:
    ended = subprocess.run(
        [python, "-m", "pytest", "-p", "no:cacheprovider", "-q", *words],
        cwd=TOP,
        stdin=subprocess.DEVNULL,
    )
    assert ended.returncode == 0


@pytest.mark.timeout(600)
@pytest.mark.skipif(
    not (os.environ.get("CI") or os.environ.get("SSHJOBS_TEST_AIRFLOW")),
    reason="wants an Airflow: set SSHJOBS_TEST_AIRFLOW, or run inv test --all",
)
def test_a_small_set_on_real_airflow(python: str) -> None:
    _run(python, "tests/airflow/test_connections.py", "tests/airflow/test_dag.py")


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_on_real_airflow(python: str) -> None:
    _run(python, "tests/airflow/test_docs.py", "tests/airflow/test_standalone.py")
