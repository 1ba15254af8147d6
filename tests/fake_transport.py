"""The shape of a transport, for hosts that say what a test wants."""

from __future__ import annotations

import re
from collections.abc import Callable

from sshjobs.transports import Completed, StdoutTaker


class FakeTransport:
    """A transport to no host: a kind of it only answers programs."""

    name = "fake"

    def run(
        self,
        script: str,
        *,
        stdin: bytes,
        timeout: float,
        sink: Callable[[bytes], None],
        into: StdoutTaker | None = None,
        keep_stdin_open: bool = False,
    ) -> Completed:
        """Have a program answered; whichever it is, one command line reads it."""
        assert script == "exec sh"
        return self.answer(stdin, sink, into)

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
