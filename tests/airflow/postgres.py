"""A PostgreSQL of the tests' own, as Airflow wants one for more than a trial.

Its database of SQLite lets one process write at a time: a few tens of tasks at once are
enough for "database is locked" (Airflow 3.3). Root cannot run a server, so that an
ordinary user does; it listens on the loopback address, and trusts whoever asks there.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from glob import glob
from pathlib import Path
from typing import Any


def find_programs() -> str:
    """Return the directory of PostgreSQL's programs, "" if there are none."""
    beside = os.path.dirname(os.path.realpath(shutil.which("initdb") or ""))
    debian = glob("/usr/lib/postgresql/*/bin")
    found = [path for path in [*debian, beside] if os.path.isfile(f"{path}/initdb")]
    return max(found, default="")


def is_here() -> bool:
    """Tell whether there is a server, and Airflow has both of its drivers."""
    drivers = all(map(importlib.util.find_spec, ("psycopg2", "asyncpg")))
    return bool(find_programs()) and drivers


class Postgres:
    """A server with one empty database, ``airflow``, of the user of that name."""

    def __init__(self, user: str, port: int) -> None:
        self._programs = find_programs()
        # Not a directory of pytest's: those are closed to other users.
        self.folder = Path(tempfile.mkdtemp(prefix="sjp", dir="/tmp"))
        self._user: dict[str, Any] = {}
        if os.geteuid() == 0:
            group = pwd.getpwnam(user).pw_gid
            self._user = {"user": user, "group": group, "extra_groups": []}
            shutil.chown(self.folder, user, group)
        data = self.folder / "data"
        self._run("initdb", "-D", str(data), "-A", "trust", "-U", "airflow")
        more = f"port={port} unix_socket_directories= max_connections=200"
        words = [f"-c{option}" for option in more.split()]
        with open(self.folder / "log", "wb") as log:
            self._process = subprocess.Popen(
                [f"{self._programs}/postgres", "-D", str(data), *words, "-cfsync=off"],
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd="/",
                start_new_session=True,
                **self._user,
            )
        at = ["-h", "127.0.0.1", "-p", str(port), "-U", "airflow"]
        try:
            self._run("createdb", *at, "airflow", tries=60)
        except BaseException:
            print((self.folder / "log").read_text())
            self.stop()
            raise
        self.url = f"postgresql+psycopg2://airflow@127.0.0.1:{port}/airflow"

    def _run(self, program: str, *words: str, tries: int = 1) -> None:
        for number in range(tries):
            done = subprocess.run(
                [f"{self._programs}/{program}", *words],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd="/",
                **self._user,
            )
            if not done.returncode:
                return
            time.sleep(0.5)
        raise AssertionError(f"{program}: {done.stdout.decode()}")

    def query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Return rows; a value's place is ``?``, as in SQLite."""
        import psycopg2

        at = self.url.replace("+psycopg2", "")
        database = psycopg2.connect(at)
        try:
            with database.cursor() as cursor:
                cursor.execute(sql.replace("?", "%s"), values)
                return list(cursor.fetchall())
        finally:
            database.close()

    def stop(self) -> None:
        """End the server: it waits for nobody (SIGINT is its fast shutdown)."""
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)
