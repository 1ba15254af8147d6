"""Runs tests/airflow where there is an Airflow, which is not where these tests run.

``SSHJOBS_TEST_AIRFLOW`` names the Python of an environment that has Airflow, the ssh
provider, pytest, pytest-timeout and this checkout; without it one is made, which takes
half a minute and PyPI, with the version that ``SSHJOBS_TEST_AIRFLOW_VERSION`` names
(``inv test --airflow all`` does so) or the newest. Where PostgreSQL is installed, tests
with many tasks have one of their own. A small set of these tests is part
of CI.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).parent.parent
VERSION = os.environ.get("SSHJOBS_TEST_AIRFLOW_VERSION", "")

#: The last day of a version's own dependencies. Airflow is installed with a list of
#: constraints, and breaks with what is newer; that list is not to be had from PyPI.
DAYS = {
    "2.10": "2025-04-20",
    "2.11": "2025-09-20",
    "3.0": "2025-09-20",
    "3.2": "2026-05-30",
}
WANTED = (
    f"apache-airflow=={VERSION}.*" if VERSION else "apache-airflow>=3",
    "apache-airflow-providers-ssh" + ("" if VERSION in DAYS else ">=7.0.1"),
    "pytest>=8.0",
    "pytest-timeout>=2.3",
    "asyncpg",  # and psycopg2: tests/airflow/postgres.py
    "psycopg2-binary",
    "-e",
    str(TOP),
)

# What pip (23 to 26) says where it reaches no index, or one without Airflow.
_NO_INDEX = (
    "No matching distribution found for apache-airflow",
    "Failed to establish a new connection",
    "Max retries exceeded",
    "Read timed out",
)


def _environment(folder: Path) -> str:
    """Make a virtual environment with Airflow in it; return its Python.

    Airflow 3.3 is 150 packages: 5 s with uv, 100 s with pip alone.
    """
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = str(folder / "bin" / "python")
    pip = [python, "-m", "pip", "install", "-q"]
    uv = [str(folder / "bin" / "uv"), "pip", "install", "-q", "--python", python]
    day = DAYS.get(VERSION)
    uv += ["--exclude-newer", day] if day else []
    if _done([*pip, "uv"]) == "" and _done([*uv, *WANTED], 120) == "":
        return python
    said = _done([*pip, "--no-compile", *WANTED])
    if said and (not os.environ.get("CI") or any(why in said for why in _NO_INDEX)):
        pytest.skip(f"no Airflow to be had: {said[-300:]}")
    assert not said
    return python


def _done(words: list[str], seconds: float = 600) -> str:
    """Run an installer; return what it said if it could not, else an empty text."""
    try:
        ended = subprocess.run(words, capture_output=True, text=True, timeout=seconds)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return ended.stderr[-3000:] or "no word" if ended.returncode else ""


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
    not (os.environ.get("CI") or os.environ.get("SSHJOBS_TEST_AIRFLOW") or VERSION),
    reason="wants an Airflow: set SSHJOBS_TEST_AIRFLOW, or run inv test --all",
)
def test_a_small_set_on_real_airflow(python: str) -> None:
    files = "test_connections.py", "test_dag.py", "test_triggers.py::test_many_triggers"
    _run(python, *(f"tests/airflow/{name}" for name in files))


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_on_real_airflow(python: str) -> None:
    names = "docs batch triggers janitor wild secrets standalone deferred fan"
    _run(python, *(f"tests/airflow/test_{name}.py" for name in names.split()))
