"""What answers at a control socket: packets, or anything."""

from __future__ import annotations

import random
import struct

from sshjobs.transports.openssh import mux
from tests.fuzz import mutate
from tests.fuzz.engine import Broken, Case
from tests.fuzz.ground import Ground

_KINDS = (
    mux.MSG_HELLO,
    mux.S_OK,
    mux.S_PERMISSION_DENIED,
    mux.S_FAILURE,
    mux.S_EXIT_MESSAGE,
    mux.S_ALIVE,
    mux.S_SESSION_OPENED,
    0x80000007,
    0x80000008,
    0,
)


class Packets:
    """Cuts any stream into packets, and reads each of them."""

    name = "mux"
    share = 1.0

    def __init__(self, ground: Ground) -> None:
        self._ground = ground

    def make(self, rng: random.Random) -> Case:
        """Spoil packets of a master, and cut the stream anywhere."""
        packets = [
            mux.pack_hello(),
            mux.pack_packet(mux.S_ALIVE, 1, 4711),
            mux.pack_packet(mux.S_SESSION_OPENED, 2, 1),
            mux.pack_packet(mux.S_EXIT_MESSAGE, 1, 3),
            mux.pack_packet(mux.S_FAILURE, 2, "Session open refused by peer"),
        ]
        for _ in range(rng.choice((1, 3, 9))):
            body = rng.randbytes(rng.choice((0, 3, 4, 8, 200)))
            packets.append(mux.pack_packet(rng.choice(_KINDS)) + b"")
            packets.append(struct.pack(">II", 4 + len(body), rng.choice(_KINDS)) + body)
        rng.shuffle(packets)
        if rng.random() < 0.7:
            packets = [mutate.spoil(rng, b"".join(packets))]
        if rng.random() < 0.1:
            size = rng.choice((0, 3, mux.MAX_PACKET, mux.MAX_PACKET + 1, 2**32 - 1))
            packets.append(struct.pack(">I", size) + bytes(1000))
        return packets

    def try_one(self, case: Case) -> None:
        """Feed it, however it is cut: the same packets must come, or the same no."""
        whole = _packets([b"".join(case)])
        pieces = _packets([b"".join(case)[at : at + 7] for at in range(0, 4000, 7)])
        same = whole[-1:] == pieces[-1:] if _is_unfit(whole) else whole == pieces
        if len(b"".join(case)) <= 4000 and not same:
            raise Broken(f"pieces matter: {whole} {pieces}")


def _is_unfit(packets: list[tuple[int, bytes, int, str]]) -> bool:
    """Tell whether the last is a no, which takes what was in its piece with it."""
    return packets[-1:] != [] and packets[-1][0] < 0


def _packets(pieces: list[bytes]) -> list[tuple[int, bytes, int, str]]:
    frames, found = mux.Frames(), []
    try:
        for piece in pieces:
            for packet in frames.feed(piece):
                texts = packet.read_text(4)
                found.append((packet.type, packet.body, packet.read_u32(0), texts))
    except mux.Unfit as error:
        found.append((-1, b"", 0, str(error)))
    return found
