"""Child processes that do a piece of work each, some side by side, within limits."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import selectors
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

#: It may take so much memory, in bytes.
_MEMORY_BYTES = 3 * 1024**3

#: A child may wait, without taking processor time, for so many times its limit of that.
_TIMES_WAITING = 20

#: A child's work is given a function that tells its parent facts by name; its value is
#: the exit status.
Tell = Callable[..., None]
Work = Callable[[Tell], int]


class End(NamedTuple):
    """How a piece of work ended."""

    number: int
    status: int  #: its value, or minus the signal that killed the child
    is_late: bool
    facts: dict[str, Any]


class _Child(NamedTuple):
    pid: int
    number: int
    ends_at: float
    said: list[bytes]


def fork_child(work: Work, log: Path | None = None) -> tuple[int, int]:
    """Start a child that does some work; return its id and the pipe it tells on."""
    receiving, sending = os.pipe()
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        os.close(sending)
        return pid, receiving
    status = 70
    try:  # in the child, which never returns
        os.setsid()
        os.close(receiving)
        target = os.open(log or os.devnull, os.O_WRONLY | os.O_CREAT, 0o600)
        silent = os.open(os.devnull, os.O_RDONLY)
        for number, source in ((0, silent), (1, target), (2, target)):
            os.dup2(source, number)

        def tell(**facts: object) -> None:
            os.write(sending, json.dumps(facts).encode() + b"\n")

        status = work(tell)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


class Pool:
    """Does pieces of work, each in a child of its own.

    Args:
        jobs: How many side by side.
        seconds: Of processor time that a child may take.
    """

    def __init__(self, jobs: int, seconds: float) -> None:
        self._jobs = jobs
        self._seconds = seconds
        self._children: dict[int, _Child] = {}  # by the pipe that it tells on
        self._selector = selectors.DefaultSelector()

    def iterate_ends(self, works: Iterable[tuple[int, Work]]) -> Iterator[End]:
        """Start the works in their order; yield how each ends, as it does."""
        waiting = iter(works)
        is_more = True
        try:
            while is_more or self._children:
                while is_more and len(self._children) < self._jobs:
                    number, work = next(waiting, (-1, None))
                    is_more = work is not None
                    if work is not None:
                        self._start(number, work)
                yield from self._wait()
        finally:
            for child in self._children.values():
                os.killpg(child.pid, signal.SIGKILL)
                os.waitpid(child.pid, 0)
            self._selector.close()

    def _start(self, number: int, work: Work) -> None:
        def work_within_limits(tell: Tell) -> int:
            seconds = int(self._seconds) + 1
            resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
            with contextlib.suppress(OSError, ValueError):
                resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
            return work(tell)

        pid, pipe = fork_child(work_within_limits)
        ends_at = time.monotonic() + _TIMES_WAITING * self._seconds
        self._children[pipe] = _Child(pid, number, ends_at, [])
        self._selector.register(pipe, selectors.EVENT_READ)

    def _wait(self) -> Iterator[End]:
        """Yield how those children end that have ended, or have to."""
        for key, _ in self._selector.select(1) if self._children else ():
            data = os.read(key.fd, 65536)
            if data:
                self._children[key.fd].said.append(data)
            else:
                yield self._end(key.fd)
        for pipe, child in list(self._children.items()):
            if time.monotonic() > child.ends_at:
                yield self._end(pipe, is_late=True)

    def _end(self, pipe: int, is_late: bool = False) -> End:
        child = self._children.pop(pipe)
        self._selector.unregister(pipe)
        os.close(pipe)
        if is_late:
            os.killpg(child.pid, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(child.pid, 0)[1])
        with contextlib.suppress(ProcessLookupError):  # what the tests left behind
            os.killpg(child.pid, signal.SIGKILL)
        facts: dict[str, Any] = {}
        for line in b"".join(child.said).splitlines():
            facts.update(json.loads(line))
        return End(child.number, status, is_late, facts)
