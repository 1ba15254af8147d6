"""A real Airflow, for the tests of this directory.

Everything lies below one directory that the test hands in: DAGs, logs, Airflow's
home and database, the record of sshjobs. Nothing of the user's is read or changed.
"""

from __future__ import annotations

import contextlib
import getpass
import importlib.util
import json
import os
import pwd
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.airflow import postgres
from tests.sshd import Sshd

BIN = Path(sys.executable).parent
AIRFLOW_3 = importlib.util.find_spec("airflow.sdk") is not None
# Where Airflow 2 has what a DAG of Airflow 3 imports.
_AIRFLOW_2 = (
    ("providers.standard.operators.bash", ".operators.bash"),
    ("providers.standard.sensors.bash", ".sensors.bash"),
)
_SDK_2 = {"task": ".decorators", "TaskGroup": ".utils.task_group"}


@contextlib.contextmanager
def open_folder() -> Iterator[Path]:
    """Make a directory that another user may look into, for a while.

    pytest's own are 0700, and the next pytest makes them so again.
    """
    made = Path(tempfile.mkdtemp(prefix="sja", dir="/tmp"))
    made.chmod(0o755)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def login() -> str:
    """Return the user that the tests log in as: root logs in as somebody else."""
    wanted = os.environ.get("SSHJOBS_TEST_USER", "tester")
    if os.getuid() == 0 and any(entry.pw_name == wanted for entry in pwd.getpwall()):
        return wanted
    return getpass.getuser()


def eventually(what: Callable[[], Any], seconds: float = 300) -> Any:
    """Return what a question answers once the answer is true; fail after a while."""
    end = time.monotonic() + seconds
    while True:
        answer = what()
        if answer:
            return answer
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.1)


def free_port() -> int:
    """Return a port of the loopback address that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def connection(sshd: Sshd, **extra: Any) -> str:
    """Return an Airflow connection to a server, as JSON for AIRFLOW_CONN_<ID>."""
    host_key = " ".join((sshd.folder / "host.pub").read_text().split()[:2])
    extras = {"key_file": str(sshd.key), "host_key": host_key, **extra}
    return json.dumps(
        {
            "conn_type": "ssh",
            "host": "127.0.0.1",
            "port": sshd.port,
            "login": sshd.user,
            "extra": extras,
        }
    )


def write_imports_of_2(found: re.Match[str]) -> str:
    """Return lines that import in Airflow 2 what a line imports from airflow.sdk."""
    names = found[1].split(", ")
    return "\n".join(
        f"from airflow{_SDK_2.get(name, '')} import {name}" for name in names
    )


class Airflow:
    """An Airflow home of its own, with one directory of DAGs."""

    def __init__(self, base: Path, sshd: Sshd) -> None:
        self.home = base / "airflow"
        self.dags = base / "dags"
        self.dags.mkdir(parents=True)
        self.port = free_port()
        self.env = {
            **{k: v for k, v in os.environ.items() if not k.startswith("SSHJOBS_")},
            "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.dags),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__PARALLELISM": "50",
            "AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG": "50",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": self._url("execution/"),
            "AIRFLOW__API__BASE_URL": self._url(""),
            "AIRFLOW__API__PORT": str(self.port),
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "600",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": "5",
            # 5 s are too few for fifty tasks and one API worker on a busy machine.
            "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "INFO",
            "AIRFLOW_CONN_TARGET": connection(sshd),
            "SSHJOBS_HOME": str(base / "record"),
            "NO_COLOR": "1",
        }
        self._standalone: subprocess.Popen[bytes] | None = None
        self._triggerer: subprocess.Popen[bytes] | None = None
        self._postgres: postgres.Postgres | None = None
        self.output = base / "standalone.log"
        self.printed = ""
        self.locked = 0

    def _url(self, path: str) -> str:
        return f"http://localhost:{self.port}/{path}"

    def dag(self, name: str, text: str) -> None:
        """Write a DAG file, which is as Airflow 3 has it."""
        if not AIRFLOW_3:
            text = re.sub("from airflow.sdk import (.*)", write_imports_of_2, text)
            for new, old in _AIRFLOW_2:
                text = text.replace(
                    f"from airflow.{new} import", f"from airflow{old} import"
                )
        (self.dags / f"{name}.py").write_text(text)

    def cli(self, *words: str, check: bool = True) -> str:
        """Run the airflow command; return all that it printed."""
        done = subprocess.run(
            [BIN / "airflow", *words],
            env=self.env,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=1750,
        )
        assert not check or done.returncode == 0, done.stdout[-4000:]
        return done.stdout

    def sshjobs(self, *words: str) -> str:
        """Run the sshjobs command of this environment; return what it printed."""
        done = subprocess.run(
            [BIN / "sshjobs", *words], env=self.env, text=True, capture_output=True
        )
        return done.stdout

    def jobs(self) -> list[dict[str, Any]]:
        """Return the record of sshjobs, a job an entry."""
        return [
            json.loads(line) for line in self.sshjobs("list", "--json").splitlines()
        ]

    def records(self) -> list[dict[str, Any]]:
        """Return all that sshjobs knows of each job."""
        return [
            json.loads(self.sshjobs("show", j["id"], "--json")) for j in self.jobs()
        ]

    def migrate(self, *, serves: bool = False) -> None:
        """Make the database: of PostgreSQL, if there is one, where it serves many."""
        if serves and postgres.is_here():
            self._postgres = postgres.Postgres(login(), free_port())
            self.env["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = self._postgres.url
        self.cli("db", "migrate")

    def query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Read Airflow's own database."""
        if self._postgres:
            return self._postgres.query(sql, *values)
        path = self.home / "airflow.db"
        with contextlib.closing(
            sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        ) as db:
            return db.execute(sql, values).fetchall()

    def list_databases(self) -> list[Path]:
        """Return the directories with the files of its database."""
        return [self._postgres.folder] if self._postgres else [self.home]

    def tasks(self, dag: str) -> dict[tuple[str, int], tuple[str, int]]:
        """Return (task, map index) -> (state, try number) of a DAG's latest run."""
        rows = self.query(
            "select task_id, map_index, state, try_number from task_instance"
            " where dag_id = ? and run_id ="
            " (select run_id from dag_run where dag_id = ? order by id desc limit 1)",
            dag,
            dag,
        )
        return {(task, index): (state, tries) for task, index, state, tries in rows}

    def state(self, dag: str, task: str, index: int = -1) -> tuple[str, int]:
        """Return the state and the try number of a task of a DAG's latest run."""
        return self.tasks(dag).get((task, index), ("", 0))

    def run_id(self, dag: str) -> str:
        """Return the id of a DAG's latest run."""
        sql = "select run_id from dag_run where dag_id = ? order by id desc limit 1"
        return str(self.query(sql, dag)[0][0])

    def log(self, dag: str, task: str, index: int = -1) -> str:
        """Return all logs of a task's tries, one after the other."""
        logs = self.home / "logs" / f"dag_id={dag}" / f"run_id={self.run_id(dag)}"
        place = logs / f"task_id={task}"
        place = place / f"map_index={index}" if index >= 0 else place
        return "\n".join(path.read_text() for path in sorted(place.glob("*.log")))

    def test(self, dag: str) -> str:
        """Run a DAG in one process (airflow dags test); return what it printed.

        Without the bold words of Rich, and without what Airflow says of itself (3.0),
        which is all that one process of it tells the other, secrets too.
        """
        printed = self.cli("dags", "test", dag, check=False)
        lines = re.sub(r"\x1b\[[0-9;]*m", "", printed).splitlines(keepends=True)
        return "".join(line for line in lines if "[debug " not in line)

    def start(self) -> None:
        """Start scheduler, API server, DAG processor and triggerer."""
        with open(self.output, "wb") as out:
            self._standalone = subprocess.Popen(
                [BIN / "airflow", "standalone"],
                env=self.env,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        eventually(self._healthy, 900)

    def _healthy(self) -> bool:
        with contextlib.suppress(OSError, ValueError):
            url = self._url("api/v2/monitor/health")
            with urllib.request.urlopen(url, timeout=20) as answer:
                return bool(json.load(answer)["scheduler"]["status"] == "healthy")
        return False

    def end_triggerer(self, signum: int) -> None:
        """Signal each process of the triggerer, and wait for their ends."""
        if self._triggerer:
            os.killpg(self._triggerer.pid, signum)
            self._triggerer.wait(60)
            self._triggerer = None
            return
        assert self._standalone
        parents = {pid: parent for pid, parent, _ in tree()}
        names = {pid: args for pid, _, args in tree()}
        first = [
            pid
            for pid, parent in parents.items()
            if parent == self._standalone.pid and "triggerer" in names[pid]
        ]
        whole = first + [pid for pid, parent in parents.items() if parent in first]
        for pid in whole:
            os.kill(pid, signum)
        # Nobody waits for its end in standalone, which leaves it as a zombie.
        eventually(
            lambda: not any(
                pid in whole and "<defunct>" not in args for pid, _, args in tree()
            )
        )

    def start_triggerer(self) -> None:
        """Start a triggerer of its own, once that of ``standalone`` has ended."""
        with open(self.output.with_name("triggerer.log"), "wb") as out:
            self._triggerer = subprocess.Popen(
                [BIN / "airflow", "triggerer"],
                env=self.env,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def trigger(self, dag: str) -> None:
        """Unpause a DAG once it has been read, and start a run."""
        sql = "select 1 from serialized_dag where dag_id = ?"
        eventually(lambda: self.query(sql, dag))
        self.call("PATCH", f"dags/{dag}", {"is_paused": False})
        self.call("POST", f"dags/{dag}/dagRuns", {"logical_date": None})

    def mark_failed(self, dag: str, task: str) -> None:
        """Do what the button of that name does."""
        path = f"dags/{dag}/dagRuns/{self.run_id(dag)}/taskInstances/{task}"
        self.call("PATCH", path, {"new_state": "failed"})

    def clear(self, dag: str, task: str) -> None:
        """Do what the button of that name does."""
        body = {"dag_run_id": self.run_id(dag), "task_ids": [task], "dry_run": False}
        body |= {"only_failed": False, "reset_dag_runs": True}
        self.call("POST", f"dags/{dag}/clearTaskInstances", body)

    def call(self, method: str, path: str, body: dict[str, Any]) -> Any:
        """Ask the API, as the administrator that everybody is here."""
        while True:
            try:
                return self._call(method, path, body)
            except urllib.error.HTTPError as error:
                # Its SQLite database is locked now and then (Airflow 3.3): ask again.
                if error.code != 500 or self.locked > 20:
                    raise
            self.locked += 1
            time.sleep(1)

    def _call(self, method: str, path: str, body: dict[str, Any]) -> Any:
        with urllib.request.urlopen(self._url("auth/token"), timeout=60) as answer:
            token = json.load(answer)["access_token"]
        request = urllib.request.Request(
            self._url("api/v2/" + path.replace("+", "%2B")),
            json.dumps(body).encode(),
            {"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def stop(self) -> None:
        """End all of it, and the connection that its tasks shared."""
        if self._triggerer:
            self.end_triggerer(signal.SIGKILL)
        if self._standalone:
            os.killpg(self._standalone.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._standalone.wait(20)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._standalone.pid, signal.SIGKILL)
        for pid, _, args in tree():
            if f"ControlPath={self.env['SSHJOBS_HOME']}/" in args:
                os.kill(pid, signal.SIGTERM)
        if self._postgres:
            self._postgres.stop()


def tree() -> Iterator[tuple[int, int, str]]:
    """Yield pid, parent and arguments of every process."""
    listed = subprocess.run(
        ["ps", "-ww", "-eo", "pid=,ppid=,args="], capture_output=True, text=True
    )
    for line in listed.stdout.splitlines():
        pid, parent, args = line.split(None, 2)
        yield int(pid), int(parent), args


def asleep(seconds: int) -> list[int]:
    """Return the pids of the sleeps of one job."""
    return [pid for pid, _, args in tree() if args == f"sleep {seconds}"]
