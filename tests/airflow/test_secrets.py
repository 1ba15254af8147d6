"""Connections with a password or an encrypted key: one login, and nobody sees it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import pam
from tests.airflow.real import Airflow, eventually
from tests.cli import Cli
from tests.sshd import Sshd, sshd_path
from tests.test_askpass import SECRET, TRACE, Spy, encrypt_key, find_traces

pytest.importorskip("airflow")
pytestmark = [
    pytest.mark.timeout(3600),
    pytest.mark.skipif(not sshd_path(), reason="no sshd"),
    pytest.mark.skipif(not pam.is_here(), reason="only root can make PAM rules"),
]

from airflow.models import Connection  # noqa: E402

from sshjobs.airflow import process  # noqa: E402
from sshjobs.airflow.connection import read_target  # noqa: E402

#: How many tasks log in at once.
COUNT = int(os.environ.get("SSHJOBS_TEST_FAN", "100"))

WRONG = "not the sword fish"

KINDS = pytest.mark.parametrize("kind", ["password", "key"])


@pytest.fixture
def box(place: Path, new_box: Callable[..., Cli]) -> Iterator[Cli]:
    """A host that takes one password or one key, and writes down all that it can."""
    options = {"PasswordAuthentication": "yes", "LogLevel": "DEBUG3"}
    with pam.new_rules(place, new_box, **options) as (rules, cli):
        check = place / "check"
        check.write_text(
            "#!/usr/bin/python3\nimport sys\n"
            f"sys.exit(sys.stdin.buffer.read().strip(b'\\0') != {SECRET.encode()!r})\n"
        )
        check.chmod(0o755)
        exec_ = f"requisite pam_exec.so expose_authtok quiet {check}"
        rules.say(auth=f"{exec_}\nauth required pam_permit.so")
        yield cli


def describe_connection(sshd: Sshd, kind: str, secret: str) -> dict[str, Any]:
    """Return an Airflow connection whose secret opens a password or a key."""
    words = (sshd.folder / "host.pub").read_text().split()[:2]
    extra = {"host_key": " ".join(words)}
    given = {"host": "127.0.0.1", "port": sshd.port, "login": sshd.user}
    if kind == "password":
        extra["look_for_keys"] = "false"
        given["password"] = secret
    else:
        extra |= {"key_file": str(sshd.key), "private_key_passphrase": secret}
    return {"conn_type": "ssh", **given, "extra": json.dumps(extra)}


@KINDS
def test_a_secret_of_a_connection_is_one_handshake(box: Cli, kind: str) -> None:
    assert box.sshd
    encrypt_key(box)
    env = {name: text for name, text in box.env.items() if "SSH_CONFIG" not in name}
    ended: list[tuple[bytes, int]] = []
    with Spy() as spy:
        for secret in (WRONG, SECRET):
            made = Connection(**describe_connection(box.sshd, kind, secret))
            target = read_target(made)
            run = [*process.find_program(), "run", target.host, "--", "echo", "here"]
            every = [
                subprocess.Popen(
                    run,
                    env=env | target.list_environment(),
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                )
                for _ in range(5)
            ]
            ended += [(one.communicate()[0], one.returncode) for one in every]
    assert [status for _, status in ended] == 5 * [77] + 5 * [0], ended
    assert all(b"Permission denied" in said for said, _ in ended[:5]), ended
    assert box.sshd.connections == 2
    assert not spy.seen
    assert not find_traces(box)
    assert SECRET not in box.sshd.text and WRONG not in box.sshd.text


DAG = """
from airflow.sdk import DAG
from sshjobs.airflow import SSHJobOperator

for kind in "password", "key", "wrong":
    with DAG(kind, schedule=None, max_active_tasks=100):
        SSHJobOperator.partial(
            task_id="job", ssh_conn_id=kind, cleanup="always", deferrable=True
        ).expand(command=[f"echo here {{n}}; sleep 20" for n in range({count})])
"""


@pytest.mark.slow
def test_a_hundred_tasks_are_one_handshake(box: Cli, place: Path) -> None:
    """So are a hundred with a wrong password, and no place of Airflow has a secret."""
    pytest.importorskip("airflow.sdk")
    assert box.sshd
    encrypt_key(box)
    airflow = Airflow(place, box.sshd)
    # Of fifty workers that begin at once on a small machine some come to no end.
    airflow.env["AIRFLOW__CORE__PARALLELISM"] = "16"
    airflow.env["SSHJOBS_REMOTE_BASE_DIR"] = box.env["SSHJOBS_REMOTE_BASE_DIR"]
    airflow.dag("secrets", DAG.format(count=COUNT))
    airflow.migrate(serves=True)
    # Airflow's own log of commands (3.3) keeps what "connections add" is given, but for
    # a password: a passphrase, which is an extra, would stand there.
    given = {
        "password": describe_connection(box.sshd, "password", SECRET),
        "key": describe_connection(box.sshd, "key", SECRET),
        "wrong": describe_connection(box.sshd, "password", WRONG),
    }
    path = place / "connections.json"
    path.write_text(json.dumps(given))
    airflow.cli("connections", "import", str(path))
    path.unlink()
    airflow.start()
    try:
        logins = []
        with Spy() as spy:
            for name, state in (
                ("wrong", "failed"),
                ("password", "success"),
                ("key", "success"),
            ):
                before = box.sshd.connections
                airflow.trigger(name)
                ends = eventually(lambda: _list_ends(airflow, name), 1500)
                assert ends == {state}, _read_log_of_one(airflow, name, "failed")
                logins.append(box.sshd.connections - before)
                print(f"{name}: {logins[-1]} handshakes", file=sys.stderr)
        assert logins == [1, 1, 1]
        assert not spy.seen
        assert "Permission denied" in airflow.log("wrong", "job", COUNT - 1)
        assert not find_traces(box, *airflow.list_databases())
    finally:
        airflow.stop()
    assert not find_traces(box, airflow.home, airflow.output.parent / "record")
    assert TRACE.decode() not in box.sshd.text + airflow.output.read_text()


def _read_log_of_one(airflow: Airflow, dag: str, state: str) -> str:
    """Return the log of a task that ended so, how many did, and Airflow's errors."""
    tasks = airflow.tasks(dag).items()
    found = [index for (_, index), (ended, _) in tasks if ended == state]
    said = airflow.output.read_text().splitlines()
    errors = [line[:300] for line in said if "[error" in line][-20:]
    log = airflow.log(dag, "job", found[0])
    return "\n".join([f"{len(found)} {state}:", log, *errors])


def _list_ends(airflow: Airflow, dag: str) -> set[str]:
    """Return how the tasks of a DAG's run ended, once all have."""
    states = [state for state, _ in airflow.tasks(dag).values()]
    ended = [state for state in states if state in ("success", "failed")]
    return set(ended) if len(ended) == COUNT else set()
