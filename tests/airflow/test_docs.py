"""The DAGs of docs/how-to/airflow.md, run as they are printed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sshd import Sshd, sshd_path

from .real import Airflow, connection, login, open_folder

pytest.importorskip("airflow")
pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(not sshd_path(), reason="no sshd"),
]

PAGE = Path(__file__).parents[2] / "docs/how-to/airflow.md"
BLOCKS = re.findall(
    r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE
)
DAGS = {re.findall(r'DAG\("(\w+)"', text)[0]: text for text in BLOCKS}


@pytest.fixture(scope="module")
def airflow() -> Iterator[Airflow]:
    with open_folder() as base, Sshd(base, login()) as sshd:
        made = Airflow(base, sshd)
        sshd.alias = "gpu1"
        made.env["SSHJOBS_SSH_CONFIG"] = str(sshd.write_client_config())
        made.env["AIRFLOW_CONN_GPU1"] = connection(sshd)
        made.env["AIRFLOW_VAR_TOKEN"] = "swordfish"
        for name, text in DAGS.items():
            made.dag(name, text)
        made.migrate()
        yield made
        made.stop()


def test_the_page_has_its_examples() -> None:
    assert len(DAGS) == len(BLOCKS) >= 6


@pytest.mark.parametrize("dag", DAGS)
def test_an_example(airflow: Airflow, dag: str) -> None:
    said = airflow.test(dag)
    states = {state for state, _ in airflow.tasks(dag).values()}
    assert states == {"success"}, said[-6000:]
    assert "swordfish" not in said.replace("echo swordfish", "")
    keys = [job["key"] for job in airflow.jobs()]
    assert any(airflow.run_id(dag) in key for key in keys)
