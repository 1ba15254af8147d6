"""A terminal that a program has for itself, and gives back as it was, whatever comes.

Theory of operation: :class:`Screen` is entered and left. Leaving restores modes, cursor
and the text that was there; it is done in ``finally``, on the way of each exception.
Signals that end a process become exceptions, and so does a terminal that is gone; those
that do not (the size has changed, Ctrl-Z) wake the one ``select`` that waits for keys,
through a pipe.
"""

from __future__ import annotations

import os
import select
import signal
import termios
from types import FrameType

from ..startup.contexts import contextmanager
from ..startup.records import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

# Of xterm and of all that take its name: the other screen, no cursor, no wrapping.
_ENTER = "\033[?1049h\033[?25l\033[?7l\033[H\033[2J"
_LEAVE = "\033[?7h\033[?25h\033[?1049l"

#: Escape sequences that are keys, by the names that we give them.
_KEYS = {
    "[A": "up",
    "OA": "up",
    "[B": "down",
    "OB": "down",
    "[5~": "page up",
    "[6~": "page down",
    "[H": "home",
    "OH": "home",
    "[1~": "home",
    "[F": "end",
    "OF": "end",
    "[4~": "end",
}

_ENDING = (signal.SIGTERM, signal.SIGHUP)


class Ended(BaseException):
    """A signal has told the process to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def _ending_with_terminal() -> Iterator[None]:
    """Turn the errors of a terminal that is gone (EIO) into the end that SIGHUP is."""
    try:
        yield
    except (OSError, termios.error) as error:
        raise Ended(signal.SIGHUP) from error


class Screen:
    """The terminal of standard input and output, while a program has it for itself.

    Args:
        before_stop: Is called before Ctrl-Z stops the process, and ``after_stop`` once
            it goes on.
    """

    def __init__(
        self, before_stop: Callable[[], None], after_stop: Callable[[], None]
    ) -> None:
        self._around_stop = before_stop, after_stop
        self._modes: list[Any] = []
        self._old: dict[int, Any] = {}
        self._shown: list[str] = []
        self._wake = (-1, -1)
        self._is_stopping = False
        self._rest = b""

    def __enter__(self) -> Screen:
        with _ending_with_terminal():
            self._modes = termios.tcgetattr(0)
        self._wake = os.pipe()
        for fd in self._wake:
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(self._wake[1], warn_on_full_buffer=False)
        for number in _ENDING:
            self._old[number] = signal.signal(number, self._end)
        self._old[signal.SIGWINCH] = signal.signal(signal.SIGWINCH, self._note)
        self._old[signal.SIGTSTP] = signal.signal(signal.SIGTSTP, self._note)
        try:
            self.take()
        except BaseException:  # a signal has come: nobody else leaves for us
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.give_back()
        finally:
            signal.set_wakeup_fd(-1)
            for number, handler in self._old.items():
                signal.signal(number, handler)
            for fd in self._wake:
                os.close(fd)

    def take(self) -> None:
        """Have the terminal for ourselves."""
        with _ending_with_terminal():
            modes = termios.tcgetattr(0)
            modes[3] &= ~(termios.ICANON | termios.ECHO)
            modes[6][termios.VMIN], modes[6][termios.VTIME] = 1, 0
            termios.tcsetattr(0, termios.TCSADRAIN, modes)
        self._shown = []
        _write(_ENTER)

    def give_back(self) -> None:
        """Leave the terminal as it was."""
        try:
            _write(_LEAVE)
        finally:
            with _ending_with_terminal():
                termios.tcsetattr(0, termios.TCSADRAIN, self._modes)

    @contextmanager
    def lend(self) -> Iterator[None]:
        """Let others use the terminal, as it was, for the while."""
        self.give_back()
        ours = {number: signal.getsignal(number) for number in self._old}
        for number, handler in self._old.items():
            signal.signal(number, handler)
        try:
            yield
        finally:
            for number, handler in ours.items():
                signal.signal(number, handler)
            self.take()

    def draw(self, lines: Sequence[str]) -> None:
        """Show lines; only those that have changed are written."""
        old, self._shown = self._shown, list(lines)
        if len(old) != len(lines):
            old = []
        pieces = [] if old else ["\033[2J"]
        for place, line in enumerate(lines):
            if not old or old[place] != line:
                pieces.append(f"\033[{place + 1};1H\033[2K{line}\033[0m")
        _write("".join(pieces))

    def read_keys(self, seconds: float) -> list[str]:
        """Return keys as they come: letters, or names such as ``up`` and ``enter``.

        After ``seconds`` without any, or if the size has changed, there are none.
        """
        ready, _, _ = select.select([0, self._wake[0]], [], [], seconds)
        if self._wake[0] in ready:
            os.read(self._wake[0], 512)
        if self._is_stopping:
            self._stop()
        if 0 not in ready:
            return []
        with _ending_with_terminal():
            data = os.read(0, 1024)
        if not data:  # the terminal is gone
            raise Ended(signal.SIGHUP)
        return self._split_keys(data)

    def _split_keys(self, data: bytes) -> list[str]:
        text = (self._rest + data).decode("utf-8", "surrogateescape")
        whole = text.rstrip("".join(map(chr, range(0xDC80, 0xDD00))))
        # Bytes at the end that are no letter yet wait for the rest of it, up to three.
        tail = text[len(whole) :].encode("utf-8", "surrogateescape")
        self._rest = tail if len(tail) < 4 else b""
        keys: list[str] = []
        place = 0
        while place < len(whole):
            if whole[place] == "\033" and place + 1 < len(whole):
                name = next(
                    (k for k in _KEYS if whole.startswith(k, place + 1)), whole[:0]
                )
                keys.append(_KEYS.get(name, ""))
                place += 1 + (len(name) or len(whole))
                continue
            keys.append(_name_key(whole[place]))
            place += 1
        return [key for key in keys if key]

    def _stop(self) -> None:
        """Stop as Ctrl-Z has a process stop, and go on when it is told to."""
        self._is_stopping = False
        before, after = self._around_stop
        before()
        self.give_back()
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)  # stands still here, up to SIGCONT
        signal.signal(signal.SIGTSTP, self._note)
        self.take()
        after()

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._is_stopping |= number == signal.SIGTSTP
        self._shown = []  # a terminal that was smaller for a moment has lost some

    def _end(self, number: int, _frame: FrameType | None) -> None:
        raise Ended(number)


def _name_key(char: str) -> str:
    names = {"\r": "enter", "\n": "enter", "\033": "escape", "\x7f": "backspace"}
    return names.get(char) or {"\b": "backspace"}.get(char, char)


def _write(text: str) -> None:
    data = text.encode("utf-8", "replace")
    with _ending_with_terminal():
        while data:
            data = data[os.write(1, data) :]
