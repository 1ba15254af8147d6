"""The DAGs of docs/how-to/airflow.md, run as they are printed."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.airflow.real import Airflow, connection, login, open_folder
from tests.pages import read_blocks
from tests.sshd import Sshd, sshd_path

pytest.importorskip("airflow")
pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif(not sshd_path(), reason="no sshd"),
]

BLOCKS = read_blocks("docs/how-to/airflow.md", "python")
DAGS = {re.findall(r'DAG\("(\w+)"', text)[0]: text for text in BLOCKS}

# What README prints is a part of a DAG file: here is the rest of it.
AROUND = """
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

with DAG("readme", schedule=None):
    {line}
    {ours}
"""


@pytest.fixture(scope="module")
def airflow() -> Iterator[Airflow]:
    with (
        open_folder() as base,
        Sshd(base, login(), SetEnv=f"HOME={base}/there") as sshd,
    ):
        made = Airflow(base, sshd)
        _home(base / "there", sshd.user)
        sshd.alias = "gpu1"
        made.env["SSHJOBS_SSH_CONFIG"] = str(sshd.write_client_config())
        made.env["AIRFLOW_CONN_GPU1"] = connection(sshd)
        made.env["AIRFLOW_VAR_TOKEN"] = "swordfish"
        for name, text in DAGS.items():
            made.dag(name, text)
        made.dag("readme", _readme())
        made.migrate()
        yield made
        made.stop()


def _home(folder: Path, user: str) -> None:
    """Make the home of a host where a user's own program is."""
    folder.mkdir()
    (folder / "train.sh").write_text("#!/bin/sh\necho trained\n")
    (folder / "train.sh").chmod(0o755)
    shutil.chown(folder, user)


def _readme() -> str:
    """Return README's example in a DAG, with a task of the class it imports."""
    blocks = read_blocks("README.md", "python")
    [block] = [block for block in blocks if "sshjobs.airflow" in block]
    imported, _, line = block.strip().partition("\n\n")
    given = 'task_id="ours", ssh_conn_id="gpu1", command="./train.sh run7"'
    ours = f"SSHRemoteJobOperator({given})"
    return imported + AROUND.format(line=line, ours=ours)


def test_the_page_has_its_examples() -> None:
    assert len(DAGS) == len(BLOCKS) >= 6


@pytest.mark.parametrize("dag", [*DAGS, "readme"])
def test_an_example(airflow: Airflow, dag: str) -> None:
    said = airflow.test(dag)
    states = {state for state, _ in airflow.tasks(dag).values()}
    assert states == {"success"}, said[-6000:]
    assert "swordfish" not in said.replace("echo swordfish", "")
    run = airflow.run_id(dag)
    jobs = [job["id"] for job in airflow.jobs() if run in job["key"]]
    assert jobs
    if dag == "readme":
        assert [airflow.sshjobs("logs", job) for job in jobs] == ["trained\n"] * 2
