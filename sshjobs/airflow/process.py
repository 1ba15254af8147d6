"""Runs ``sshjobs`` for a task: its output into the task's log, SIGTERM passed on.

Theory of operation: Airflow ends a task with a signal or with an exception, and
``sshjobs run`` answers SIGTERM by cancelling its job on the host and telling how that
ended. So the command has a session of its own, gets SIGTERM exactly once, and both its
streams are read until it has ended or :data:`LINGER` is over.
"""

from __future__ import annotations

import codecs
import contextlib
import json
import os
import re
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..quoting import join_words
from .bash_versions import SubprocessHook

#: Seconds that a task which is being ended waits for ``sshjobs run`` to say how the
#: job ended: the setting kill_grace (10 s) and as much for the way there and back.
LINGER = 20.0

#: Lines of the log that stand in the message of a task that failed.
TAIL_LINES = 20

#: A line longer than this (characters) is logged in pieces.
MAX_LINE = 1 << 20

# A line of its own on standard error names the job that there is (model.new_job_id).
_ID = re.compile("[a-z2-7]{16}")


def find_program() -> list[str]:
    """Return how ``sshjobs`` is called: the one beside this interpreter first.

    A worker started as /opt/venv/bin/airflow has no /opt/venv/bin in its PATH.
    """
    beside = os.path.join(os.path.dirname(sys.executable), "sshjobs")
    found = beside if os.access(beside, os.X_OK) else shutil.which("sshjobs")
    return [found] if found else [sys.executable, "-m", "sshjobs"]


class TaskLogLines:
    """Bytes in, whole lines into the task's log; the last ones are remembered."""

    def __init__(self, log: Any, encoding: str) -> None:
        self._log = log
        self._decode = codecs.getincrementaldecoder(encoding)("backslashreplace")
        self._rest = ""
        self.ended = False
        self.job = ""
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)

    def close(self) -> None:
        """Log the bytes after the last end of a line."""
        if not self.ended:
            self.feed(b"")

    def feed(self, data: bytes) -> bool:
        """Log each whole line; ``b""`` is the end, which ends the last line.

        Returns:
            Whether there may be more.
        """
        self.ended = not data
        text = self._rest + self._decode.decode(data, self.ended)
        *lines, self._rest = text.split("\n")
        if self._rest and (self.ended or len(self._rest) > MAX_LINE):
            lines.append(self._rest)
            self._rest = ""
        for line in lines:
            self.tail.append(line.rstrip("\r"))
            self._log.info("%s", self.tail[-1])
            self.job = line if _ID.fullmatch(line) else self.job
        return not self.ended


class CommandEnd(NamedTuple):
    """How a command of ours ended, its last lines, and the job that it named."""

    status: int
    stdout: list[str]
    stderr: list[str]
    job: str


class StreamedProcess(SubprocessHook):
    """SubprocessHook that feeds stdin, parts the streams, and drains when ended."""

    _ending = False
    _told = False

    #: Whether the command was ended because its job was silent for too long.
    is_silent = False

    @property
    def is_ending(self) -> bool:
        """Tell whether the task is being ended."""
        return self._ending

    def run_line(
        self,
        line: str,
        env: Mapping[str, str],
        stdin: str = "",
        encoding: str = "utf-8",
        silence: float | None = None,
    ) -> CommandEnd:
        """Run a line of bash to its end, its output line by line into the log.

        Once it has named its job, silence of so many seconds ends it; see
        :attr:`is_silent`.

        When an exception unwinds through here (execution_timeout; in Airflow 2 also
        a task that is being ended), the command gets SIGTERM and :data:`LINGER` to
        report, so that a retry does not meet the job that is being cancelled.
        """
        self.log.info("Running command: %s", line)
        process = self.sub_process = _start_bash(line, env, stdin)
        streams = {
            file: TaskLogLines(self.log, encoding)
            for file in (process.stdout, process.stderr)
        }
        try:
            self._pump_streams(process, streams, silence=silence)
            for lines in streams.values():
                lines.close()
        except BaseException:
            self.send_sigterm()
            self._pump_streams(process, streams, time.monotonic() + LINGER)
            raise
        finally:
            for file in streams:
                file.close()
        status = process.wait()
        self.log.info("Command exited with return code %s", status)
        said, told = streams.values()
        return CommandEnd(status, list(said.tail), list(told.tail), told.job)

    def _pump_streams(
        self,
        process: Any,
        streams: Mapping[Any, TaskLogLines],
        deadline: float | None = None,
        silence: float | None = None,
    ) -> None:
        """Read both streams to their ends, or until the deadline.

        Silence after the process has ended is an end too: a process that
        it left behind (a master that keeps a descriptor) must not hold the task.
        """
        heard_at = time.monotonic()
        with selectors.DefaultSelector() as selector:
            for file, lines in streams.items():
                if not lines.ended:
                    selector.register(file, selectors.EVENT_READ, lines)
            while selector.get_map():
                ready = selector.select(1.0)
                self._send_sigterm_once()
                gone = not ready and process.poll() is not None
                if gone or (deadline and time.monotonic() > deadline):
                    return
                named = any(lines.job for lines in streams.values())
                if ready or not (named and silence):
                    heard_at = time.monotonic()
                self._end_if_silent(heard_at, silence)
                for key, _ in ready:
                    if not key.data.feed(os.read(key.fd, 65536)):
                        selector.unregister(key.fileobj)

    def _end_if_silent(self, heard_at: float, silence: float | None) -> None:
        if silence and time.monotonic() > heard_at + silence:
            self.is_silent = True
            self.send_sigterm()

    def send_sigterm(self) -> None:
        """Tell the command to end; one that has not begun is told when it has."""
        self._ending = True
        self._send_sigterm_once()

    def _send_sigterm_once(self) -> None:
        """Send SIGTERM, once: a second one would make sshjobs give up at once."""
        process = self.sub_process
        if not self._ending or self._told or process is None:
            return
        self._told = True
        if process.poll() is None:
            self.log.info("Sending SIGTERM to sshjobs, which cancels the job")
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)


def _start_bash(line: str, env: Mapping[str, str], stdin: str) -> Any:
    """Start a line of bash in a session of its own, with a text for its stdin."""
    with tempfile.TemporaryFile() as source:
        source.write(stdin.encode("utf-8", "surrogateescape"))
        source.seek(0)
        return subprocess.Popen(
            [shutil.which("bash") or "bash", "-c", line],
            stdin=source,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(env),
            cwd="/",
            start_new_session=True,
        )


def ask_sshjobs(env: Mapping[str, str], *words: str) -> list[dict[str, Any]]:
    """Return the jobs that a verb of sshjobs prints, from this machine's record."""
    said = subprocess.run(
        [*find_program(), words[0], "--json", *words[1:]],
        env=dict(env),
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )
    return [json.loads(line) for line in said.stdout.splitlines()]


def read_log(env: Mapping[str, str], *words: str) -> bytes:
    """Return what ``sshjobs logs`` prints of a job, without a task's log seeing it."""
    said = subprocess.run(
        [*find_program(), "logs", *words],
        env=dict(env),
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    return said.stdout


def build_adopting_line(host: str, *words: str) -> str:
    """Return the line of bash for a verb about a job that another machine may know.

    A job that another worker submitted is in that one's record: it is taken up from
    the host (64: no such job here), along with all that this machine does not know
    there (1: some of them ended badly).
    """
    line = join_words([*find_program(), *words])
    adopt = join_words([*find_program(), "poll", "--host", host, "--adopt"])
    return (
        f"{line}; s=$?; if [ $s = 64 ]; then {adopt} >/dev/null; s=$?; "
        f"case $s in 0|1) {line}; s=$?;; esac; fi; exit $s"
    )


def kill_job(job: str, env: Mapping[str, str]) -> None:
    """End a job, for a task that is being ended itself."""
    words = [*find_program(), "kill", "--", job]
    with contextlib.suppress(subprocess.TimeoutExpired):
        subprocess.run(words, env=dict(env), cwd="/", timeout=LINGER, check=False)
