"""The reply of a watch: beats and ends are counted, whatever it is cut into."""

from __future__ import annotations

import tracemalloc

import pytest

from sshjobs.protocol.watch_reply import WatchReply

NONCE = "00112233445566aa"
FENCE = f"sshjobs-reply 1 {NONCE}\n".encode()
MAX_LINE = 65536

pytestmark = pytest.mark.quick


def feed_pieces(data: bytes, size: int) -> tuple[int, int]:
    """Return how many beats and ends a reply has that comes in pieces of a size."""
    reply = WatchReply(NONCE)
    for at in range(0, len(data), size):
        reply.feed(data[at : at + size])
    return reply.beats, reply.stirs


@pytest.mark.parametrize("size", [1, 2, 7, 39, 40, 41, 1000])
@pytest.mark.parametrize("noise", [b"", b"motd\n", b"beat\nE x\n", b"n" * 200 + b"\n"])
def test_beats_and_ends_after_the_fence_are_counted(noise: bytes, size: int) -> None:
    lines = b"beat\nE aaaabbbbccccdddd 0\nbeat\nE x\nbeat\nE y\nE z\n"
    assert feed_pieces(noise + FENCE + lines, size) == (3, 4)


def test_nothing_is_counted_before_the_fence() -> None:
    reply = WatchReply(NONCE)
    assert (reply.beats, reply.stirs) == (0, 0)
    reply.feed(b"beat\nE x\n")
    reply.feed(b"x" + FENCE + b"beat\nE x\n")
    assert (reply.beats, reply.stirs) == (0, 0)


def test_other_lines_are_passed_over() -> None:
    lines = b"beats\nbeat \n beat\nEx\nE\n E x\n\nhello\nbeat\nE x\n"
    assert feed_pieces(FENCE + lines, 1000) == (1, 1)


def test_a_line_counts_with_its_newline() -> None:
    reply = WatchReply(NONCE)
    reply.feed(FENCE + b"beat")
    assert reply.beats == 0
    reply.feed(b"\nE x")
    assert (reply.beats, reply.stirs) == (1, 0)
    reply.feed(b"\n")
    assert (reply.beats, reply.stirs) == (1, 1)


@pytest.mark.parametrize(
    ("length", "ends"), [(MAX_LINE - 1, 1), (MAX_LINE, 1), (MAX_LINE + 1, 0)]
)
def test_of_a_longer_line_only_the_end_is_kept(length: int, ends: int) -> None:
    reply = WatchReply(NONCE)
    reply.feed(FENCE + b"E ".ljust(length, b"x"))
    reply.feed(b"\n")
    assert reply.stirs == ends


def test_noise_and_lines_of_any_length_take_no_memory() -> None:
    reply, much = WatchReply(NONCE), bytes(500_000)
    tracemalloc.start()
    try:
        for piece in (*[much] * 8, b"\n" + FENCE, *[much] * 8):
            reply.feed(piece)
        assert tracemalloc.get_traced_memory()[1] < 3_000_000
    finally:
        tracemalloc.stop()
    reply.feed(b"\nbeat\n")
    assert reply.beats == 1
