"""A process that does with triggers what a triggerer does, and tells what it saw.

``python -m tests.airflow.small_triggerer`` reads one JSON object from its standard
input, ``{"trigger": CLASS, "kwargs": [...]}``, runs a trigger for each of ``kwargs`` in
one event loop, and writes a line of JSON for each event. Further lines of its input are
``N STATE``: trigger N is cancelled as one of a task that a person ended, and the task's
state is that. SIGTERM ends all as a triggerer that is restarted. Logs lie where Airflow
3 would write them; with the variable ``SMALL_TRIGGERER_LATE`` each line so many seconds
late, and none any more once its trigger has ended.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import resource
import signal
import sys
import threading
import time
from contextvars import ContextVar
from importlib import import_module
from pathlib import Path
from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any

from airflow.configuration import conf

from sshjobs.airflow import triggers

#: Airflow's own bound for a loop that is blocked (blocked_main_thread_warning_...).
BLOCKED = 0.2

#: Where it says what it saw; Airflow itself speaks on standard output.
OUT = os.dup(1)

#: What the scheduler would say of a task, by its map index.
STATES: dict[int, str] = {}

#: The triggers that have ended, by their numbers.
ENDED: set[int] = set()

_TI: ContextVar[Any] = ContextVar("ti", default=None)


class TaskLogHandler(logging.Handler):
    """Writes what a trigger logs into its task's file, a line of JSON a record."""

    def __init__(self) -> None:
        super().__init__()
        self._files: dict[int, Any] = {}
        self._late = float(os.environ.get("SMALL_TRIGGERER_LATE", "0"))
        self._queue: SimpleQueue[tuple[float, Any, logging.LogRecord]] = SimpleQueue()
        if self._late:
            threading.Thread(target=self._write_late, daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        ti = _TI.get()
        if ti is None:
            return
        if self._late:
            self._queue.put((time.monotonic() + self._late, ti, record))
        else:
            self._write(ti, record)

    def _write_late(self) -> None:
        while True:
            due, ti, record = self._queue.get()
            time.sleep(max(0.0, due - time.monotonic()))
            self._write(ti, record)

    def _write(self, ti: Any, record: logging.LogRecord) -> None:
        if ti.map_index in ENDED:
            return
        if ti.map_index not in self._files:
            path = locate_log(ti.map_index) + f".trigger.{os.getpid()}.log"
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            self._files[ti.map_index] = open(path, "wb", buffering=0)
        entry = {"event": record.getMessage(), "logger": record.name}
        line = json.dumps(entry, separators=(",", ":")) + "\n"
        self._files[ti.map_index].write(line.encode())


def locate_log(number: int) -> str:
    """Return the path of a task's log file, without what triggerers add to it."""
    base = conf.get("logging", "base_log_folder")
    return f"{base}/dag_id=d/run_id=r/task_id=t/map_index={number}/attempt=1.log"


def say(**what: Any) -> None:
    os.write(OUT, json.dumps(what).encode() + b"\n")


def read_cpu() -> float:
    """Return the seconds of processor that this process and its children had."""
    used = [resource.getrusage(resource.RUSAGE_SELF)]
    used.append(resource.getrusage(resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


async def run_trigger(number: int, trigger: Any) -> None:
    """Run one trigger as TriggerRunner does (Airflow 3.3)."""
    _TI.set(trigger.task_instance)
    try:
        async for event in trigger.run():
            ENDED.add(number)
            say(number=number, event=event.payload)
    except asyncio.CancelledError as error:
        if error.args == ("user",):
            await asyncio.wait_for(trigger.on_kill(), timeout=30)
            say(number=number, killed=True)
        raise
    except Exception as error:
        say(number=number, event={"kind": "bug", "message": repr(error)})
        raise


async def watch_loop(worst: list[float]) -> None:
    while True:
        began = time.monotonic()
        await asyncio.sleep(0.1)
        worst.append(time.monotonic() - began - 0.1)


async def main() -> None:
    """Run all triggers until each has fired, or this process is told to end."""
    loop = asyncio.get_running_loop()
    given = json.loads(sys.stdin.readline())
    module, _, name = given["trigger"].rpartition(".")
    worst: list[float] = []
    watchdog = asyncio.create_task(watch_loop(worst))
    kind = getattr(import_module(module), name)
    say(begun=len(given["kwargs"]))
    before, began = read_cpu(), time.monotonic()
    tasks = []
    for number, kwargs in enumerate(given["kwargs"]):
        trigger = kind(**kwargs)
        trigger.task_instance = SimpleNamespace(
            dag_id="d", run_id="r", task_id="t", map_index=number, try_number=1
        )
        tasks.append(asyncio.create_task(run_trigger(number, trigger)))
        await asyncio.sleep(0)
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, lambda: [task.cancel() for task in tasks])

    def read_commands() -> None:
        for line in sys.stdin:
            number, state = line.split()
            STATES[int(number)] = state
            loop.call_soon_threadsafe(tasks[int(number)].cancel, "user")

    threading.Thread(target=read_commands, daemon=True).start()
    await asyncio.gather(*tasks, return_exceptions=True)
    watchdog.cancel()
    say(
        cpu=read_cpu() - before,
        wall=time.monotonic() - began,
        rss=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        threads=threading.active_count(),
        blocked=sum(late > BLOCKED for late in worst),
        worst=max(worst, default=0.0),
    )


if __name__ == "__main__":
    os.dup2(2, 1)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    logging.getLogger().setLevel(logging.INFO)
    logging.getLogger().handlers = [TaskLogHandler()]
    setattr(
        triggers, "read_task_state", lambda ti: STATES.get(ti.map_index, "deferred")
    )
    asyncio.run(main())
