"""Runs the system's rsync or sftp, with our connection in the place of theirs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import IO

from .. import errors
from ..errors import ConnectionLost, CopyFailed, Interrupted
from ..protocol.files import Found
from ..quoting import quote_for_rsync_rule, quote_text
from ..startup.stdlib import signal
from ..transports.env import find_program
from .copy_ride import ERROR, WISH, RideWish

#: From here on rsync sees to it that a host sends no name that was not asked for
#: (CVE-2022-29154, rsync's NEWS).
_CHECKS_NAMES = (3, 2, 5)

#: sftp reads a line of a batch into so many bytes (sftp.c, 9.2).
_SFTP_LINE = 2000

#: So much of the tool's complaints is kept, and so many lines of it are shown.
_WORDS_BYTES = 65536
_WORDS_LINES = 10

#: Seconds that an interrupted tool has to put its files in order.
_GRACE = 5.0

#: rsync(1), EXIT VALUES: some files were not copied, or were gone by then.
_PARTLY = (23, 24)


def find_rsync(*, receives: bool) -> str:
    """Return the path of a local rsync that is fit for a copy, or ""."""
    path = find_program("rsync")
    if not path or not receives:
        return path
    done = subprocess.run([path, "--version"], capture_output=True, text=True)
    words = done.stdout.split()[:3]
    with suppress(ValueError, IndexError):
        numbers = tuple(int(part) for part in words[2].lstrip("v").split("."))
        if numbers >= _CHECKS_NAMES:
            return path
    return ""


class CopyTool:
    """One run of a tool for a host: its folder, its ssh, its end.

    Args:
        wish: How its session is made.
        shows: Whether the tool shows its progress on standard error, a terminal.
    """

    def __init__(self, wish: RideWish, shows: bool) -> None:
        self._wish = wish
        self._shows = shows
        self._folder = ""

    @contextmanager
    def _prepare(self) -> Iterator[str]:
        """Yield the path of a program that tools take for ssh."""
        package = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
        code = (
            "import sys; sys.path[:1] = []; sys.path.append(sys.argv.pop(1)); "
            "from sshjobs.verbs.copy_ride import run_as_ssh; run_as_ssh()"
        )
        python = sys.executable or "python3"
        with tempfile.TemporaryDirectory(prefix="sshjobs-") as self._folder:
            words = [python, "-c", code, package, self._folder]
            line = " ".join(map(quote_text, words))
            ssh = f"{self._folder}/ssh"
            with open(ssh, "w", encoding="utf-8", errors="surrogateescape") as file:
                file.write(f'#!/bin/sh\nexec {line} "$@"\n')
            os.chmod(ssh, 0o700)
            with open(f"{self._folder}/{WISH}", "w", encoding="utf-8") as file:
                json.dump(list(self._wish), file)
            yield ssh

    def rsync(
        self,
        rsync: str,
        sources: Sequence[bytes],
        target: str,
        *,
        found: Sequence[Found] = (),
    ) -> None:
        """Copy by rsync.

        Args:
            found: The files that the host is to send; none if files go there.

        Raises:
            CopyFailed: some or all were not copied.
            ConnectionLost: the connection ended in the middle.
        """
        with self._prepare() as ssh:
            argv: list[str | bytes] = [rsync, "-rtL", "--partial", "--no-s"]
            argv += ["-e", f"/bin/sh {quote_text(ssh)}"]
            argv += ["--info=progress2"] if self._shows else []
            if found:
                names = b"".join(file.path + b"\0" for file in found)
                argv += ["--from0", self._write_option("files-from", names)]
                argv += ["--no-relative"]
            if any(set(file.name) & set(b"\\*?[") for file in found):
                # rsync would take such a name for a pattern, and whatever the host
                # sends for one that it means: a rule says each name as it is.
                rules = b"".join(
                    quote_for_rsync_rule(file.name, file.kind == "d") + b"\0"
                    for file in found
                )
                argv += ["--old-args", self._write_option("include-from", rules)]
                argv += ["--exclude=/**"]
            self._run([*argv, "--", *sources, target])

    def _write_option(self, name: str, data: bytes) -> str:
        with open(f"{self._folder}/{name}", "wb") as file:
            file.write(data)
        return f"--{name}={self._folder}/{name}"

    def sftp(self, sftp: str, lines: Sequence[bytes]) -> None:
        """Copy by sftp, a line of a batch for each file or directory.

        Raises:
            CopyFailed, ConnectionLost: see :meth:`rsync`.
        """
        for line in lines:
            if b"\n" in line or len(line) > _SFTP_LINE:
                raise CopyFailed(
                    self._wish.host,
                    "sftp takes no name with a newline, and none that is so long: "
                    "install rsync there and here, or rename it:\n" + os.fsdecode(line),
                )
        with self._prepare() as ssh:
            batch = f"{self._folder}/batch"
            # With @ it does not print the line, in which a name may be anything.
            shown = [b"@progress\n", *(b"@%s\n" % line for line in lines)]
            with open(batch, "wb") as file:
                file.writelines(shown if self._shows else [b"\n".join(lines), b"\n"])
            self._run([sftp, "-q", "-b", batch, "-S", ssh, "host"])

    def _run(self, argv: list[str | bytes]) -> None:
        env = {k: v for k, v in os.environ.items() if not k.startswith("RSYNC_")}
        # One that comes while it starts is raised once there is a child to end.
        with _raising_on_signals() as let_signals_in:
            child = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=2 if self._shows else subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env=env,
            )
            assert child.stderr is not None
            words = _Words(child.stderr)
            try:
                let_signals_in()
                status = child.wait()
            except BaseException:
                # It keeps the part of a file that is there.
                with suppress(subprocess.TimeoutExpired):
                    child.send_signal(signal.SIGINT)
                    child.wait(_GRACE)
                child.kill()
                child.wait()
                raise
        if status:
            self._raise_failure(os.path.basename(os.fsdecode(argv[0])), status, words)

    def _raise_failure(self, tool: str, status: int, words: _Words) -> None:
        with suppress(FileNotFoundError):
            with open(f"{self._folder}/{ERROR}", encoding="utf-8") as file:
                raise errors.load(file.read())
        said = words.take()
        host = self._wish.host
        if status in _PARTLY or (tool == "sftp" and status != 255):
            raise CopyFailed(host, "\n".join([f"{tool} copied not all of it:", *said]))
        if tool == "rsync" and status not in (10, 12, 30, 35, 255):
            raise CopyFailed(host, "\n".join([f"{tool} ended with {status}:", *said]))
        text = "the connection ended in the middle of the copy"
        codes = ("session:copy", "session:sftp")[: 1 + (tool == "sftp")]
        raise ConnectionLost(host, "\n".join([text, *said]), errors.find_hint(*codes))


class _Words:
    """The complaints of a tool, read so that it never waits for us."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._data = b""

        def read() -> None:
            with pipe:
                while data := os.read(pipe.fileno(), 65536):
                    self._data += data[: _WORDS_BYTES - len(self._data)]

        self._thread = threading.Thread(target=read, daemon=True)
        self._thread.start()

    def take(self) -> list[str]:
        """Return the first lines; a master may hold the pipe open for longer."""
        self._thread.join(1.0)
        lines = self._data.decode("utf-8", "backslashreplace").splitlines()
        lines = [line[:500] for line in lines if line.strip()]
        more = len(lines) - _WORDS_LINES
        return lines[:_WORDS_LINES] + [f"and {more} lines more"] * (more > 0)


@contextmanager
def _raising_on_signals() -> Iterator[Callable[[], None]]:
    """Turn the signals that end a process into :class:`Interrupted`, meanwhile.

    Yields:
        The function from whose call on they are raised; what came before is, in it.
    """
    came: list[int] = []
    is_let_in = False

    def take(signum: int, _frame: object) -> None:
        came.append(signum)
        if is_let_in:
            raise Interrupted(signum)

    def let_in() -> None:
        nonlocal is_let_in
        is_let_in = True
        if came:
            raise Interrupted(came[0])

    if threading.current_thread() is not threading.main_thread():
        yield let_in
        return
    old = {s: signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGHUP)}
    # nohup has SIGHUP ignored; None is a handler that is not Python's.
    old = {s: at for s, at in old.items() if at not in (signal.SIG_IGN, None)}
    try:
        for signum in old:
            signal.signal(signum, take)
        yield let_in
    finally:
        for signum, before in old.items():
            signal.signal(signum, before)
