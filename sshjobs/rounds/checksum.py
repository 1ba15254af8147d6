"""The checksums of a log, by which both sides know that they have the same bytes.

There are two, since not every host has cksum (BusyBox of Debian 12), nor sha256sum.
POSIX cksum(1): CRC-32 with the polynomial 0x04C11DB7, not reflected, from 0, over the
bytes and then over their number, least byte first; complemented. That of zlib has the
same polynomial reflected: the bits of each byte are put the other way round first, and
those of the register at the end, so that no loop over bytes is needed (1.8 ns a byte).
"""

from __future__ import annotations

import hashlib
import zlib

from ..errors import StoreError
from ..protocol import ANY_LOG, Reap
from ..startup.records import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_PIECE_BYTES = 1 << 20


class Sums:
    """Sums up bytes that come in pieces.

    Attributes:
        length: How many have come.
    """

    def __init__(self) -> None:
        self.length = 0
        self._sha256 = hashlib.sha256()
        self._register = 0xFFFFFFFF  # zlib complements what it is given and returns

    def update(self, data: bytes) -> None:
        """Take the next bytes."""
        self._register = zlib.crc32(data.translate(_MIRRORED), self._register)
        self._sha256.update(data)
        self.length += len(data)

    @property
    def sha256(self) -> str:
        """The sum of the bytes so far, as sha256sum(1) prints it."""
        return self._sha256.hexdigest()

    @property
    def cksum(self) -> int:
        """The sum of the bytes so far, as cksum(1) prints it."""
        size = (self.length.bit_length() + 7) // 8
        number = self.length.to_bytes(size, "little").translate(_MIRRORED)
        return int(f"{zlib.crc32(number, self._register):032b}"[::-1], 2)


def add_checksums(reap: Reap, path: str, beat: Callable[[], None]) -> Reap:
    """Return a wish to reap with the sums of those bytes of the log that are home.

    Raises:
        StoreError: the file cannot be read.
    """
    sums = Sums()
    if reap.home and reap.home != ANY_LOG:
        try:
            with open(path, "rb", buffering=0) as file:
                while sums.length < reap.home:
                    left = reap.home - sums.length
                    data = file.read(min(_PIECE_BYTES, left))
                    # Shorter than the record says (it was cut, or the disk was
                    # restored): without sums the host takes the logs for different, and
                    # keeps its own.
                    if not data:
                        return reap
                    sums.update(data)
                    # 1 GB takes seconds: the leader shows that it is not stopped.
                    beat()
        except OSError as error:
            raise StoreError(f"{path}: {error.strerror}") from error
    return reap._replace(cksum=sums.cksum, sha256=sums.sha256)
