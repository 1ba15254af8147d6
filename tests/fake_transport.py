"""The shape of a transport, for hosts that say what a test wants."""

from __future__ import annotations

import re
from collections.abc import Callable

from sshjobs.transports import Completed, StdoutTaker
from sshjobs.transports.base import Stdin


class FakeTransport:
    """A transport to no host: a kind of it only answers programs."""

    name = "fake"

    def run(
        self,
        script: str,
        *,
        stdin: Stdin,
        timeout: float,
        sink: Callable[[bytes], None],
        into: StdoutTaker | None = None,
        keep_stdin_open: bool = False,
    ) -> Completed:
        """Have a program answered; whichever it is, one command line reads it."""
        assert script == "exec sh"
        program = stdin if isinstance(stdin, bytes) else stdin()
        return self.answer(program, sink, into)

    def answer(
        self,
        program: bytes,
        sink: Callable[[bytes], None],
        into: StdoutTaker | None = None,
    ) -> Completed:
        """Give the sink, or ``into``, what the host says; return how it ended."""
        raise NotImplementedError

    def close(self) -> None:
        """Hold nothing."""


def find_nonce(program: bytes, call: bytes = b"sj_open_round") -> bytes | None:
    """Return the nonce that a program is told to answer with, None if there is none."""
    found = re.search(call + rb" '([0-9a-f]+)'", program)
    return found[1] if found else None
