"""Keeps Airflow from writing to the home directory of whoever runs the tests."""

import os
import tempfile

import pytest

# Read when airflow is first imported, which makes the directory and a config in it.
os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp(prefix="sshjobs-airflow-"))


def pytest_configure(config: pytest.Config) -> None:
    """Let packages that Airflow needs be as old as it wants them."""
    config.addinivalue_line("filterwarnings", "default::DeprecationWarning")
