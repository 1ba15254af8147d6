"""The framing of the multiplexing protocol; no socket, no ssh."""

from __future__ import annotations

import signal
import socket
import struct
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sshjobs.transports.openssh import mux

pytestmark = pytest.mark.quick

_KINDS = st.integers(0, 2**32 - 1)
_BODIES = st.binary(max_size=200)


def test_hello_is_what_protocol_mux_says() -> None:
    assert mux.pack_hello() == bytes.fromhex("0000000800000001" "00000004")


def test_new_session_asks_for_nothing_but_the_command() -> None:
    packet = mux.pack_new_session(7, "exec sh")
    (frame,) = mux.Frames().feed(packet)
    assert frame.type == mux.C_NEW_SESSION
    # request, reserved string, four flags as u32 (mux.c, not PROTOCOL.mux), no escape
    # character, no TERM, the command.
    assert frame.body == struct.pack(
        ">IIIIIIIII7s", 7, 0, 0, 0, 0, 0, 0xFFFFFFFF, 0, 7, b"exec sh"
    )


def test_command_longer_than_a_packet_is_refused_here() -> None:
    with pytest.raises(mux.Unfit):
        mux.pack_new_session(1, "x" * mux.MAX_PACKET)


@given(
    packets=st.lists(st.tuples(_KINDS, _BODIES), max_size=8),
    cuts=st.lists(st.integers(1, 50), min_size=1),
)
def test_frames_come_whole_however_they_are_cut(
    packets: list[tuple[int, bytes]], cuts: list[int]
) -> None:
    stream = b"".join(
        struct.pack(">II", 4 + len(body), kind) + body for kind, body in packets
    )
    frames, found, turn = mux.Frames(), [], 0
    while stream:
        size = cuts[turn % len(cuts)]
        found += frames.feed(stream[:size])
        stream, turn = stream[size:], turn + 1
    assert [(packet.type, packet.body) for packet in found] == packets


@given(st.binary(max_size=300))
def test_any_bytes_are_packets_or_unfit(data: bytes) -> None:
    try:
        packets = mux.Frames().feed(data)
    except mux.Unfit:
        return
    for packet in packets:
        assert isinstance(packet.read_text(4), str)
        assert packet.read_u32(0) >= -1


@pytest.mark.parametrize("length", [0, 3, mux.MAX_PACKET + 1, 2**32 - 1])
def test_length_that_no_master_sends_is_unfit(length: int) -> None:
    with pytest.raises(mux.Unfit):
        mux.Frames().feed(struct.pack(">I", length) + b"rest")


def test_text_that_is_cut_off_is_what_there_is() -> None:
    assert (
        mux.Packet(mux.S_FAILURE, struct.pack(">II", 1, 99) + b"why").read_text(4)
        == "why"
    )
    assert mux.Packet(mux.S_FAILURE, b"").read_text(4) == ""


def test_a_timer_of_this_process_does_not_keep_a_stopped_master_from_being_stuck(
    tmp_path: Path,
) -> None:
    """Its signal comes sooner than any slice of the wait is over, again and again."""
    path = str(tmp_path / "master")
    ticks: list[int] = []

    def tick(signum: int, _frame: object) -> None:
        ticks.append(signum)
        if time.monotonic() > limit:
            raise TimeoutError("it waits for ever")

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        old = signal.signal(signal.SIGALRM, tick)
        limit = time.monotonic() + 30
        signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
        try:
            with pytest.raises(mux.Stuck):
                mux.Control(path, 0.5, lambda: None)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            signal.signal(signal.SIGALRM, old)
    assert ticks


def test_a_master_with_a_full_backlog_is_stuck(tmp_path: Path) -> None:
    path = str(tmp_path / "master")
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(
        socket.AF_UNIX
    ) as first:
        listener.bind(path)
        listener.listen(0)
        first.connect(path)
        with pytest.raises(mux.Stuck):
            mux.Control(path, 0.2, lambda: None)
