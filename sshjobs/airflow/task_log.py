"""Copies logs of jobs into the logs of deferred tasks, each byte once.

Theory of operation: a line of a deferred task goes from the triggerer's process over a
socket (a queue in Airflow 2) to whoever writes the task's log file. A triggerer that is
killed takes with it the lines that were on their way, and no offset that is kept
elsewhere says how many these were. So the task's log files themselves are asked: each
line of a job is one record there, and a copy that begins (after a restart, or a
hand-over to another triggerer) passes over as many lines as stand in them. Where a log
file was begun anew (Airflow 3 does so when a triggerer gets a trigger back), or is that
of another machine, which nobody shows any more, the log is written whole again.

One thread of the triggerer logs for all of its tasks, so few lines at a time that the
socket, which the event loop writes to as well, is never full. Lines that a flood leaves
over are logged by the worker that ends the task, from the offset that the trigger says.
"""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from contextvars import copy_context
from glob import escape, glob
from typing import Any

from ..errors import SshJobsError
from ..owned import open_owned
from .versions import conf

#: Lines at a time, of all tasks and of one that goes on, and the pause between two
#: times. A line of a job is some 500 bytes in the socket, which takes 200 KiB.
_BURST = 200
_SHARE = 50
_PAUSE = 0.25

#: A longer line is logged in pieces of so many bytes.
_LONGEST = 1 << 15

#: How long a task that ends waits until its lines stand in its log file.
_CONFIRM = 5.0

_PIECE = 1 << 17  # bytes of a job's log that are read at a time

_log = logging.getLogger("sshjobs.job_log")

#: A record of it as Airflow 3 writes it; no line of a job can have these quotes.
_JSON_MARK = b'"logger":"sshjobs.job_log"'

#: A record of it as Airflow 2 writes it.
_TEXT_RECORD = re.compile(rb"\[[^]]*\] \{task_log\.py:\d+\} INFO - ")


def list_log_files(ti: Any) -> list[str]:
    """Return the log files that triggerers have written for this try of a task."""
    try:
        from jinja2 import Template

        template = Template(conf.get("logging", "log_filename_template"))
        name = template.render(ti=ti, try_number=ti.try_number)
        base = conf.get("logging", "base_log_folder")
    except Exception:  # a template of somebody's own may say, and want, anything
        return []
    return glob(escape(os.path.join(base, name)) + ".trigger.*")


class LogCopy:
    """One job's log on its way into the log of the task whose trigger makes this.

    Args:
        files: Lists the files in which lines of an earlier triggerer may stand.

    Attributes:
        offset: The byte of the job's log after the last line that was logged.
    """

    def __init__(self, files: Callable[[], Iterable[str]]) -> None:
        self.offset = 0
        self._context = copy_context()  # it tells Airflow whose log is meant
        self._files = files
        self._path = ""
        self._home_bytes = 0
        self._logged = -1  # lines in the files by now, -1 before the first look
        self._to_pass_over = 0
        self._left = _BURST  # lines that may be logged yet once the job has ended
        self._confirm_until = 0.0
        self._then: Callable[[int], object] | None = None

    def grow(self, path: str, home_bytes: int) -> None:
        """Take note that so many bytes of the log are in a file here."""
        self._path, self._home_bytes = path, home_bytes

    def finish(self, then: Callable[[int], object]) -> None:
        """Have ``then`` called with the offset once what was logged is in its file."""
        self._then = then

    def log_next_lines(self, most: int) -> int:
        """Log up to so many lines; return how many, -1 if this copy is done."""
        if self._logged < 0:
            self._logged = self._to_pass_over = self._count_records()
        ending = self._then is not None
        most = min(most, self._left if ending else _SHARE)
        count = 0
        for line, end in self._read_new_lines(ending) if most else ():
            if self._to_pass_over:
                self._to_pass_over -= 1
            else:
                text = line.decode("utf-8", "backslashreplace").rstrip("\r\n")
                self._context.run(_log.info, "%s", text)
                count += 1
            self.offset = end
            if count == most:
                break
        self._logged += count
        if ending:
            self._left -= count
            if (count < most or not self._left) and self._is_confirmed():
                self.give_up()
                return -1
        return count

    def give_up(self) -> None:
        """Tell the waiter how far it went."""
        then, self._then = self._then, None
        if then is not None:
            then(self.offset)

    @property
    def is_ending(self) -> bool:
        """Tell whether somebody waits for the end of this copy."""
        return self._then is not None

    def _count_records(self) -> int:
        count = 0
        for path in self._files():
            with suppress(OSError), open(path, "rb") as file:
                count += sum(map(_is_record, file))
        return count

    def _is_confirmed(self) -> bool:
        """Tell whether all lines are in the files, or were waited for long enough."""
        now = time.monotonic()
        self._confirm_until = self._confirm_until or now + _CONFIRM
        return now > self._confirm_until or self._count_records() >= self._logged

    def _read_new_lines(self, ending: bool) -> Iterator[tuple[bytes, int]]:
        """Yield each line that is here and not logged, and the offset after it.

        A line without an end waits for it until the job has ended.
        """
        if self._home_bytes <= self.offset:
            return
        at, rest = self.offset, b""
        with open(open_owned(self._path, os.O_RDONLY), "rb") as file:
            file.seek(at)
            while at + len(rest) < self._home_bytes:
                data = file.read(min(_PIECE, self._home_bytes - at - len(rest)))
                if not data:
                    return
                *lines, rest = _split_lines(rest + data)
                for line in lines:
                    at += len(line)
                    yield line, at
        if rest and ending:
            yield rest, at + len(rest)


def _is_record(line: bytes) -> bool:
    """Tell whether a line of a task's log file is a whole record of a job's line."""
    if line.startswith(b"{"):
        return _JSON_MARK in line and line.endswith(b"}\n")
    return line.endswith(b"\n") and _TEXT_RECORD.match(line) is not None


def _split_lines(data: bytes) -> list[bytes]:
    """Return lines with their ends; the last one, maybe empty, has none yet.

    A long one is cut at places that depend on nothing but its bytes.
    """
    lines = data.split(b"\n")
    pieces: list[bytes] = []
    for line in [*(line + b"\n" for line in lines[:-1]), lines[-1]]:
        while len(line) > _LONGEST + 1:
            cut = _LONGEST
            while cut > _LONGEST - 4 and line[cut] & 0xC0 == 0x80:
                cut -= 1  # into no character of UTF-8
            pieces.append(line[:cut])
            line = line[cut:]
        pieces.append(line)
    return pieces


class LogPump:
    """The one thread of a process that logs for all of its deferred tasks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stirred: dict[LogCopy, None] = {}
        self._thread: threading.Thread | None = None

    def stir(self, copy: LogCopy) -> None:
        """Take note that a copy has grown, or is to end."""
        with self._lock:
            self._stirred[copy] = None
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="sshjobs-log", daemon=True
                )
                self._thread.start()

    def _run(self) -> None:
        while True:
            with self._lock:
                copies, self._stirred = list(self._stirred), {}
                if not copies:
                    self._thread = None
                    return
            self._log_burst(copies)
            time.sleep(_PAUSE)

    def _log_burst(self, copies: list[LogCopy]) -> None:
        """Log one burst of lines; whoever gets none is the first of the next one."""
        left = _BURST
        later: list[LogCopy] = []
        for place, copy in enumerate(copies):
            if not left:
                later[:0] = copies[place:]
                break
            allowed = min(left, _SHARE)
            try:
                count = copy.log_next_lines(left)
            except (OSError, SshJobsError):  # the worker meets it too, and tells it
                copy.give_up()
                continue
            left -= max(0, count)
            if count >= 0 and (copy.is_ending or count >= allowed):
                later.append(copy)
        with self._lock:
            self._stirred = dict.fromkeys([*later, *self._stirred])


#: That thread.
PUMP = LogPump()
