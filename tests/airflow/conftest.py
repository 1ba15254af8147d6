"""Keeps Airflow from writing to the home directory of whoever runs the tests."""

import os
import tempfile

# Read when airflow is first imported, which makes the directory and a config in it.
os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp(prefix="sshjobs-airflow-"))
