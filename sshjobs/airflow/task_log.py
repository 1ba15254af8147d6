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
socket, which the event loop writes to as well, is never full: it goes on once the last
line stands in its file, and so all before it do. Lines that a flood leaves over are
logged by the worker that ends the task, from the offset that the trigger says.
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
from functools import lru_cache
from glob import escape, glob
from typing import Any, BinaryIO

from ..errors import SshJobsError
from ..owned import open_owned
from .versions import conf

#: Lines at a time, of all tasks and of one that goes on, and the pause between two
#: times. Airflow (3.3) makes a record of each that is 400 bytes longer. A socket of
#: Linux is full with 167 records of up to 700 bytes; a longer one counts for several.
#: What reads them there asks the database for triggers after each 4 KiB.
_BURST = 80
_SHARE = 50
_PAUSE = 0.1
_LINE_BYTES = 300

#: A longer line is logged in pieces of so many bytes.
_LONGEST = 1 << 15

#: How long a task that ends waits until its lines stand in its log file, and how long
#: where no log file was ever found: it may be that there is none on this machine.
_CONFIRM = 30.0
_CONFIRM_UNSEEN = 5.0

_PIECE = 1 << 17  # bytes of a job's log that are read at a time

_log = logging.getLogger("sshjobs.job_log")

#: A record of it as Airflow 3 writes it; no line of a job can have these quotes.
_JSON_MARK = b'"logger":"sshjobs.job_log"'

#: A record of it as Airflow 2 writes it.
_TEXT_RECORD = re.compile(rb"\[[^]]*\] \{task_log\.py:\d+\} INFO - ")


class LogFiles:
    """Lists the log files that triggerers have written for this try of a task.

    Where they are is asked once: a triggerer that waits for a thousand tasks lists
    theirs again and again.
    """

    def __init__(self, ti: Any) -> None:
        self._ti = ti
        self._pattern = ""

    def __call__(self) -> list[str]:
        """Return the files that there are now."""
        ti = self._ti
        try:
            if not self._pattern:
                text = conf.get("logging", "log_filename_template")
                name = _compile_template(text).render(ti=ti, try_number=ti.try_number)
                base = conf.get("logging", "base_log_folder")
                self._pattern = escape(os.path.join(base, name)) + ".trigger.*"
        except Exception:  # a template of somebody's own may say, and want, anything
            return []
        return glob(self._pattern)


@lru_cache(maxsize=1)
def _compile_template(text: str) -> Any:
    from jinja2 import Template

    return Template(text)


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
        self._records = Records(files)
        self._path = ""
        self._home_bytes = 0
        self._logged = -1  # lines in the files by now, -1 before the first look
        self._to_pass_over = 0
        self._left = _BURST  # lines that may be logged yet once the job has ended
        self._confirm_from = 0.0
        self._is_closed = False
        self._then: Callable[[int], object] | None = None

    def grow(self, path: str, home_bytes: int) -> None:
        """Take note that so many bytes of the log are in a file here."""
        self._path, self._home_bytes = path, home_bytes

    def finish(self, then: Callable[[int], object]) -> None:
        """Have ``then`` called with the offset once what was logged is in its file."""
        self._then = then

    def log_next_lines(self, most: int) -> int:
        """Log lines of so much cost; return their cost, -1 if this copy is done."""
        if self._is_closed:
            return -1
        if self._logged < 0:
            self._logged = self._to_pass_over = self._records.count()
        ending = self._then is not None
        most = min(most, self._left if ending else _SHARE)
        cost = 0
        for line, end in self._read_new_lines(ending) if most else ():
            if self._to_pass_over:
                self._to_pass_over -= 1
            else:
                text = line.decode("utf-8", "backslashreplace").rstrip("\r\n")
                self._context.run(_log.info, "%s", text)
                self._logged += 1
                cost += 1 + len(line) // _LINE_BYTES
            self.offset = end
            if cost >= most:
                break
        if ending:
            self._left = max(0, self._left - cost)
            if (cost < most or not self._left) and self._is_confirmed():
                self.give_up()
                return -1
        return cost

    def close(self) -> None:
        """Log no more: Airflow writes no line of a trigger that was cancelled."""
        self._is_closed, self._then = True, None

    def give_up(self) -> None:
        """Tell the waiter how far it went."""
        then, self._then = self._then, None
        if then is not None:
            then(self.offset)

    @property
    def is_ending(self) -> bool:
        """Tell whether somebody waits for the end of this copy."""
        return self._then is not None

    def is_written(self) -> bool:
        """Tell whether all that was logged stands in the files, as far as is known."""
        unknown = self._is_closed or not Records.were_seen
        return unknown or self._records.count() >= self._logged

    def _is_confirmed(self) -> bool:
        """Tell whether all lines are in the files, or were waited for long enough.

        Airflow writes no line any more once the trigger has ended: what is not in the
        files then is left to the worker.
        """
        count, now = self._records.count(), time.monotonic()
        bound = _CONFIRM if Records.were_seen else _CONFIRM_UNSEEN
        self._confirm_from = self._confirm_from or now
        if count < self._logged and now < self._confirm_from + bound:
            return False
        if count < self._logged and Records.were_seen:
            self.offset = self._find_offset(count)
        return True

    def _find_offset(self, count: int) -> int:
        """Return the byte after so many lines."""
        self.offset = end = 0
        for number, (_, after) in enumerate(self._read_new_lines(ending=True)):
            if number == count:
                break
            end = after
        return end

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


class Records:
    """Counts the records of a task's lines in its log files, each byte read once."""

    #: Whether any log file of any task was ever found by this process.
    were_seen = False

    def __init__(self, files: Callable[[], Iterable[str]]) -> None:
        self._files = files
        self._read: dict[str, tuple[int, int]] = {}  # path -> bytes, records

    def count(self) -> int:
        """Return how many whole records stand in the files now."""
        for path in self._files():
            with suppress(OSError), open(path, "rb") as file:
                self._read_on(path, file)
                Records.were_seen = True
        return sum(records for _, records in self._read.values())

    def _read_on(self, path: str, file: BinaryIO) -> None:
        at, records = self._read.get(path, (0, 0))
        if os.fstat(file.fileno()).st_size < at:  # it was begun anew
            at = records = 0
        file.seek(at)
        for line in file:
            if line.endswith(b"\n"):
                at += len(line)
                records += _is_record(line)
        self._read[path] = at, records


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
            last = self._log_burst(copies)
            until = time.monotonic() + _CONFIRM
            time.sleep(_PAUSE)
            while last and not last.is_written() and time.monotonic() < until:
                time.sleep(_PAUSE)

    def _log_burst(self, copies: list[LogCopy]) -> LogCopy | None:
        """Log one burst of lines; whoever gets none is the first of the next one.

        Returns:
            The copy that the last line is of.
        """
        left, last = _BURST, None
        later: list[LogCopy] = []
        for place, copy in enumerate(copies):
            if left <= 0:
                later[:0] = copies[place:]
                break
            allowed = min(left, _SHARE)
            try:
                count = copy.log_next_lines(left)
            except (OSError, SshJobsError):  # the worker meets it too, and tells it
                copy.give_up()
                continue
            left -= max(0, count)
            last = copy if count > 0 else last
            if count >= 0 and (copy.is_ending or count >= allowed):
                later.append(copy)
        with self._lock:
            self._stirred = dict.fromkeys([*later, *self._stirred])
        return last


#: That thread.
PUMP = LogPump()
