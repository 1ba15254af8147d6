"""The framing of the multiplexing protocol; no socket, no ssh."""

from __future__ import annotations

import struct

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
