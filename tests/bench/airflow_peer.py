"""Airflow's SSHRemoteJobOperator and its trigger, without a scheduler.

Run by an interpreter that has them: ``python airflow_peer.py burst COUNT`` has COUNT
processes, forked from one that has imported the provider, each submit one job at
once. ``life COUNT SECONDS SLOTS`` takes jobs through all of their lives: an operator
in a process of its own, at most SLOTS at a time as Airflow's ``parallelism`` has it;
one process for all triggers, as the triggerer is; and the operator once more, which
cleans up. Scheduler, database and API server are left out of the account.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import os
import resource
import select
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

_FAR = os.environ.get("BENCH_FAR", "")


def _provider() -> tuple[Any, Any, Any]:
    warnings.simplefilter("ignore")
    quiet = open(os.devnull, "w")
    with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
        operators: Any = importlib.import_module(
            "airflow.providers.ssh.operators.ssh_remote_job"
        )
        triggers: Any = importlib.import_module(
            "airflow.providers.ssh.triggers.ssh_remote_job"
        )
        exceptions: Any = importlib.import_module("airflow.providers.common.compat.sdk")
    return (
        operators.SSHRemoteJobOperator,
        triggers.SSHRemoteJobTrigger,
        exceptions.TaskDeferred,
    )


_OPERATOR, _TRIGGER, _DEFERRED = _provider()


def _operator(number: int, command: str) -> Any:
    return _OPERATOR(
        task_id=f"job{number}",
        ssh_conn_id="box",
        command=command,
        remote_base_dir=_FAR,
        cleanup="always",
    )


def _submit(number: int, command: str) -> Any:
    """Do what a worker does until the task is deferred; return the trigger's words."""
    ti = SimpleNamespace(
        dag_id="bench",
        task_id=f"job{number}",
        run_id="run",
        try_number=1,
        xcom_push=lambda **_: None,
    )
    try:
        _operator(number, command).execute({"ti": ti})
    except _DEFERRED as deferred:
        return deferred.trigger.serialize()[1]
    raise RuntimeError("not deferred")


def _clean_up(number: int, event: dict[str, Any]) -> None:
    _operator(number, "true").execute_complete({}, event)


class Workers:
    """Processes that are forked for one call each, and what they have cost."""

    def __init__(self) -> None:
        self.cpu = 0.0
        self.rss = 0
        self.failed = 0
        self.running: dict[int, int] = {}

    def fork(self, work: Callable[[], Any]) -> int:
        """Start a process; return where its result, as JSON, can be read."""
        ours, theirs = os.pipe()
        pid = os.fork()
        if pid:
            os.close(theirs)
            self.running[ours] = pid
            return ours
        status = 1
        try:
            quiet = os.open(os.devnull, os.O_WRONLY)
            os.dup2(quiet, 1)
            os.dup2(quiet, 2)
            text = json.dumps(work()).encode()
            while text:
                text = text[os.write(theirs, text) :]
            status = 0
        finally:
            os._exit(status)

    def end(self, fd: int) -> Any:
        """Wait for a process and return its result, None if it failed."""
        text = b""
        while piece := os.read(fd, 65536):
            text += piece
        os.close(fd)
        _, status, usage = os.wait4(self.running.pop(fd), 0)
        self.cpu += usage.ru_utime + usage.ru_stime
        self.rss = max(self.rss, usage.ru_maxrss * 1024)
        if status:
            self.failed += 1
            return None
        return json.loads(text)


def _burst(count: int) -> dict[str, Any]:
    began = time.monotonic()
    workers = Workers()
    fds = [workers.fork(partial(_submit, n, "true")) for n in range(count)]
    for fd in fds:
        workers.end(fd)
    return _said(workers, began)


def _said(workers: Workers, began: float) -> dict[str, Any]:
    return {
        "wall": time.monotonic() - began,
        "cpu": workers.cpu,
        "rss_bytes": workers.rss,
        "failed": workers.failed,
    }


async def _watch(number: int, words: dict[str, Any], told: int) -> None:
    async for event in _TRIGGER(**words).run():
        line = json.dumps([number, time.time(), event.payload]) + "\n"
        os.write(told, line.encode())
        return


async def _triggers(orders: int, told: int) -> None:
    """Watch every job whose line comes until the orders end."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=1 << 24)
    await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(orders, "rb")
    )
    watches = []
    while line := await reader.readline():
        number, words = json.loads(line)
        watches.append(asyncio.create_task(_watch(number, words, told)))
    await asyncio.gather(*watches)


class Life:
    """Takes jobs from their submission to the end of their cleanup."""

    def __init__(self, count: int, command: str, slots: int) -> None:
        self.workers = Workers()
        self.triggers = Workers()
        self._command = command
        self._slots = slots
        self._waiting: list[tuple[int, Callable[[], Any]]] = [
            (number, partial(_submit, number, command)) for number in range(count)
        ]
        self._left = count
        self._kinds: dict[int, int] = {}
        self._buffer = b""
        self.submitted_at = 0.0
        self.known: list[float] = []
        orders, self._orders = os.pipe()
        self._told, told = os.pipe()
        ours = (self._orders, self._told)
        self._triggerer = self.triggers.fork(lambda: _triggerer(ours, orders, told))
        os.close(orders)
        os.close(told)

    def run(self) -> None:
        """Go on until every job is cleaned up or has failed."""
        while self._left:
            self._fill()
            ready, _, _ = select.select([*self._kinds, self._told], [], [], 120)
            if not ready:
                raise RuntimeError(f"{self._left} jobs never ended")
            for fd in ready:
                self._read(fd)
        os.close(self._orders)
        self.triggers.end(self._triggerer)

    def _fill(self) -> None:
        while self._waiting and len(self._kinds) < self._slots:
            number, work = self._waiting.pop(0)
            self._kinds[self.workers.fork(work)] = number

    def _read(self, fd: int) -> None:
        if fd == self._told:
            self._events()
            return
        number = self._kinds.pop(fd)
        words = self.workers.end(fd)
        if isinstance(words, dict):
            self.submitted_at = time.monotonic()
            os.write(self._orders, json.dumps([number, words]).encode() + b"\n")
        else:
            self._left -= 1

    def _events(self) -> None:
        lines = (self._buffer + os.read(self._told, 1 << 20)).split(b"\n")
        self._buffer = lines.pop()
        for line in lines:
            number, at, event = json.loads(line)
            self.known.append(at)
            if event["status"] != "success":
                self.workers.failed += 1
            self._waiting.append((number, partial(_clean_up, number, event)))


def _triggerer(others: tuple[int, int], orders: int, told: int) -> None:
    for fd in others:
        os.close(fd)
    asyncio.run(_triggers(orders, told))


def _life(count: int, command: str, slots: int) -> dict[str, Any]:
    began = time.monotonic()
    life = Life(count, command, slots)
    life.run()
    usage = resource.getrusage(resource.RUSAGE_SELF)
    said = _said(life.workers, began)
    said["cpu"] += life.triggers.cpu
    said["rss_bytes"] = max(said["rss_bytes"], life.triggers.rss)
    said["submit"] = life.submitted_at - began
    said["known"] = life.known
    said["parent_cpu"] = usage.ru_utime + usage.ru_stime
    return said


def main(words: list[str]) -> None:
    """Measure, and print one JSON object."""
    if words[0] == "burst":
        print(json.dumps(_burst(int(words[1]))))
    else:
        print(json.dumps(_life(int(words[1]), words[2], int(words[3]))))


if __name__ == "__main__":
    main(sys.argv[1:])
