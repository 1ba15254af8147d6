"""The reply of a watch: a line for each sign of life, and for each end of a job."""

from __future__ import annotations

from .request import PROTOCOL_VERSION

#: No line of a watch comes near this; of a longer one only the end is kept.
_MAX_LINE = 65536


class WatchReply:
    """Reads the reply of a watch.

    Attributes:
        beats: How many signs of life have come.
        stirs: How many jobs have ended since it began.
    """

    def __init__(self, nonce: str) -> None:
        self.beats = 0
        self.stirs = 0
        self._fence = f"\nsshjobs-reply {PROTOCOL_VERSION} {nonce}\n".encode("ascii")
        self._begun = False
        self._buffer = b"\n"

    def feed(self, data: bytes) -> None:
        """Take the next bytes; lines that are not understood are passed over."""
        self._buffer += data
        if not self._begun:
            _, fence, rest = self._buffer.partition(self._fence)
            if not fence:
                self._buffer = self._buffer[-len(self._fence) :]
                return
            self._begun, self._buffer = True, rest
        lines = self._buffer.split(b"\n")
        self._buffer = lines.pop()[-_MAX_LINE:]
        self.beats += lines.count(b"beat")
        self.stirs += sum(line.startswith(b"E ") for line in lines)
