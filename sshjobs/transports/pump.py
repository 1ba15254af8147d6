"""Three pipes and one loop: a session's bytes, in and out, with a bound on silence."""

from __future__ import annotations

import fcntl
import os
import select
import time

from ..startup.contexts import suppress
from ..startup.records import TYPE_CHECKING
from .base import STDERR_BYTES, Sink, Stdin, StdoutTaker

if TYPE_CHECKING:
    from collections.abc import Callable


_PIECE = 1 << 20

#: What a pipe holds that nobody has asked to hold more: pipe(7).
_USUAL = 1 << 16

#: What is read at a time; for more, malloc asks the kernel for memory each time.
_READ = 1 << 16

#: Seconds between two calls of the sink while nothing arrives.
_BEAT = 1.0

#: Seconds between looks where the end of a session cannot be waited for (no pidfd).
_LOOK = 0.02

#: How long a pipe has to fill before it is emptied by one that takes all of it: a turn
#: for each packet would cost a tenth of the rate (2 cores, OpenSSH 9.2).
_FILL = 0.001

#: Where this part of what a pipe holds came last, nobody waits: the pipe would be full
#: before, and a master that cannot write stands still (an eighth of the rate).
_MUCH = 8


class Silence(Exception):
    """Not a byte moved for as long as the caller bears."""


class Pump:
    """Feeds stdin, hands stdout to the sink, keeps the head of stderr.

    Every end of ours is non-blocking, so that 20 MB in and 20 MB out cannot wait for
    each other. The other ends are :attr:`theirs`: pass them on, then call
    :meth:`close_handed_ends`. With ``into``, that takes stdout in place of the sink.
    """

    def __init__(
        self,
        stdin: Stdin,
        sink: Sink,
        timeout: float,
        *,
        stderr_bytes: int = STDERR_BYTES,
        into: StdoutTaker | None = None,
        keep_stdin_open: bool = False,
    ) -> None:
        self._sink = sink
        self._into = into
        self._open_ended = keep_stdin_open or into is not None  # stdin does not end yet
        self._stderr_bytes = stderr_bytes
        self._timeout = timeout
        self._stdin = stdin
        self._rest = memoryview(b"")
        self._poll = select.poll()
        self.stderr = b""
        self.stdout_bytes = 0
        self._taken = 0
        self._ours: set[int] = set()
        self._unsent: set[int] = set()
        self._in = self._out = self._err = -1
        try:
            in_theirs, self._in = self._make_pipe(0)
            out_theirs, self._out = self._make_pipe(1)
            err_theirs, self._err = self._make_pipe(1)
            self._much = self._enlarge_pipe(self._out) // _MUCH
        except OSError:  # no descriptors left: give back those that there were
            self.close()
            raise
        self.theirs = (in_theirs, out_theirs, err_theirs)
        self._moved_at = self._sunk_at = time.monotonic()

    def _make_pipe(self, theirs: int) -> tuple[int, int]:
        """Return (their end, our end); they read at end 0, or write at end 1."""
        ends = os.pipe()
        ours = ends[1 - theirs]
        self._unsent.add(ends[theirs])
        os.set_blocking(ours, False)
        self._ours.add(ours)
        self._poll.register(ours, select.POLLIN if theirs else select.POLLOUT)
        return ends[theirs], ours

    def _enlarge_pipe(self, ours: int) -> int:
        """Have a pipe hold more than usual (Linux); return how much it holds.

        64 KiB are a third as fast.
        """
        if hasattr(fcntl, "F_SETPIPE_SZ"):
            with suppress(OSError):  # pipe-user-pages-soft is used up
                return fcntl.fcntl(ours, fcntl.F_SETPIPE_SZ, _PIECE)
        return _USUAL

    def close_handed_ends(self) -> None:
        """Close our copies of the other side's ends."""
        while self._unsent:
            os.close(self._unsent.pop())

    def close(self) -> None:
        """Close every end that is still open here."""
        self.close_handed_ends()
        for fd in list(self._ours):
            self._close_end(fd)

    def _close_end(self, fd: int) -> None:
        self._ours.discard(fd)
        self._stop_polling(fd)
        os.close(fd)
        # The number may soon name another descriptor; ours must not match it.
        self._in, self._out, self._err = (
            -1 if fd == one else one for one in (self._in, self._out, self._err)
        )

    def _stop_polling(self, fd: int) -> None:
        try:
            self._poll.unregister(fd)
        except KeyError:  # stdin, between what is known of it and the rest
            return

    def run(self, watch: int, ended: Callable[[], bool]) -> None:
        """Move bytes until ``ended()`` is true, then the rest in the pipes.

        Args:
            watch: A descriptor that is readable when ``ended`` is worth asking, or -1.

        Raises:
            Silence: nothing moved for ``timeout`` seconds.
        """
        if watch >= 0:
            self._poll.register(watch, select.POLLIN)
        # Made only now, as the other side starts.
        stdin = self._stdin if isinstance(self._stdin, bytes) else self._stdin()
        self._moved_at = self._sunk_at = time.monotonic()
        if len(stdin) > _USUAL:
            self._enlarge_pipe(self._in)
        self._rest = memoryview(stdin)
        self._feed_stdin()
        while not self._move_bytes(watch, ended):
            self._call_sink_if_due()
        while self._read_out():
            self._call_sink_if_due()
        for _ in range(_USUAL // STDERR_BYTES):  # somebody may still be writing to it
            if not self._read_err():
                return

    def _move_bytes(self, watch: int, ended: Callable[[], bool]) -> bool:
        now = time.monotonic()
        due = min(self._sunk_at + _BEAT, self._moved_at + self._timeout)
        least = _LOOK if watch < 0 else _BEAT
        wait = max(0.0, min(due - now, least))
        ready = {fd for fd, _ in self._poll.poll(wait * 1000)}
        if self._in in ready:
            self._feed_stdin()
        if self._err in ready:
            self._read_err()
        if self._out in ready:
            if self._into is not None and self._taken < self._much:
                time.sleep(_FILL)
            self._read_out()
        if watch >= 0 and watch not in ready:
            return False
        if watch >= 0:
            self._moved_at = time.monotonic()
        return ended()

    def _call_sink_if_due(self) -> None:
        now = time.monotonic()
        if now - self._moved_at >= self._timeout:
            raise Silence
        if now - self._sunk_at >= _BEAT:
            self._sunk_at = now
            self._sink(b"")

    def _feed_stdin(self) -> None:
        try:
            self._rest = self._rest[os.write(self._in, self._rest[:_PIECE]) :]
        except BlockingIOError:
            return
        except BrokenPipeError:  # the command did not want the rest; its own business
            self._rest = self._rest[:0]
        self._moved_at = time.monotonic()
        if not self._rest and self._open_ended:
            self._stop_polling(self._in)
        elif not self._rest:
            self._close_end(self._in)

    def _read_out(self) -> bool:
        if self._into is not None:
            return self._have_out_taken(self._into)
        piece = self._read_piece(self._out)
        if piece:
            self.stdout_bytes += len(piece)
            self._sunk_at = self._moved_at
            self._sink(piece)
        return bool(piece)

    def _have_out_taken(self, taker: StdoutTaker) -> bool:
        if self._out < 0:
            return False
        try:
            count = taker.take(self._out)
        except BlockingIOError:
            return False
        self._taken = count
        self._moved_at = time.monotonic()
        self.stdout_bytes += count
        if not count:
            self._close_end(self._out)
        more = taker.answer()
        if more and self._open_ended and self._in >= 0:
            # Stdin goes on with these bytes, and ends after them.
            self._open_ended = False
            self._rest = memoryview(bytes(self._rest) + more)
            self._poll.register(self._in, select.POLLOUT)
            self._feed_stdin()
        return count > 0

    def _read_err(self) -> bool:
        moved_at = self._moved_at
        piece = self._read_piece(self._err)
        self._moved_at = moved_at
        self.stderr += piece[: self._stderr_bytes - len(self.stderr)]
        return bool(piece)

    def _read_piece(self, fd: int) -> bytes:
        if fd < 0:
            return b""
        try:
            piece = os.read(fd, _READ)
        except BlockingIOError:
            return b""
        self._moved_at = time.monotonic()
        if not piece:
            self._close_end(fd)
        return piece
