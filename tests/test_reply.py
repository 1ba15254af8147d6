"""Where a reply begins, where its frames and its log bytes end: each branch of it.

Every byte and every split are tried in ``test_protocol.py``; only a real sshd can pin
what a login shell prints before the fence (``test_wrong_shells.py``).
"""

from __future__ import annotations

import tracemalloc

import pytest

from sshjobs import protocol
from sshjobs.errors import ProtocolError
from sshjobs.protocol import GUARD, LogData, LogEnd, Missing, Reply, Unread
from sshjobs.protocol.frames import MAX_LINE

NONCE = "00112233445566aa"
FENCE = f"sshjobs-reply 1 {NONCE}\n".encode()
MARK = f"\n{NONCE} ".encode()
ID = "aaaabbbbccccdddd"
OTHER = "eeeeffffgggghhhh"
MISSING = f"missing {OTHER}\n".encode()

pytestmark = pytest.mark.quick


def start_reply(data: bytes = b"") -> Reply:
    """Return a reply whose fence has come, and these bytes."""
    reply = Reply(NONCE, "gpu1")
    assert reply.feed(FENCE + data) == []
    return reply


def start_log(data: bytes = b"") -> Reply:
    """Return a reply in the middle of a log that began at byte 7."""
    return start_reply(f"log {ID} 7\n".encode() + data)


@pytest.mark.parametrize("size", [1, 2, 5, 100])
def test_a_fence_that_comes_in_pieces_is_found(size: int) -> None:
    reply, wire = Reply(NONCE), FENCE + MISSING
    events = [
        event
        for at in range(0, len(wire), size)
        for event in reply.feed(wire[at : at + size])
    ]
    assert events == [Missing(OTHER)]
    assert (reply.begun, reply.preamble) == (True, b"")


def test_a_fence_is_a_line_of_its_own() -> None:
    reply = Reply(NONCE)
    assert reply.feed(b"motd " + FENCE + MISSING) == []
    assert not reply.begun
    assert reply.feed(b"\n" + FENCE + MISSING) == [Missing(OTHER)]
    assert reply.begun


def test_a_reply_begins_unbegun_unended_and_without_an_obstacle() -> None:
    reply = Reply(NONCE)
    assert (reply.begun, reply.ended, reply.preamble) == (False, False, b"")
    assert (reply.obstacle, reply.unread) == ("", False)


def test_the_first_2000_bytes_before_the_fence_are_kept() -> None:
    reply = Reply(NONCE)
    noise = bytes(range(32, 127)) * 40
    reply.feed(noise[:1500])
    assert reply.preamble == noise[:1500]
    reply.feed(noise[1500:2500])
    reply.feed(noise[2500:])
    assert reply.preamble == noise[:2000]


def test_noise_of_any_length_takes_no_memory() -> None:
    reply, noise = Reply(NONCE), bytes(1_000_000)
    tracemalloc.start()
    try:
        for _ in range(12):
            reply.feed(noise)
        assert tracemalloc.get_traced_memory()[1] < 6_000_000
    finally:
        tracemalloc.stop()
    assert reply.feed(b"\n" + FENCE + MISSING) == [Missing(OTHER)]


@pytest.mark.parametrize("name", ["tcsh", "zsh", "terminal"])
@pytest.mark.parametrize("split", [0, 9, 14])
def test_what_stands_in_place_of_sh_is_told_by_name(name: str, split: int) -> None:
    reply, said = Reply(NONCE), f"motd\nsshjobs-not-{name}\n".encode()
    reply.feed(said[:split])
    assert reply.obstacle == ""
    reply.feed(said[split:])
    assert reply.obstacle == name


def test_no_other_word_is_an_obstacle() -> None:
    reply = Reply(NONCE)
    reply.feed(b"sshjobs-not-fish\nzsh tcsh terminal\nnot-zsh\n")
    assert reply.obstacle == ""


def test_a_program_that_is_sent_back_is_unread() -> None:
    line = GUARD.splitlines()[0]
    reply = Reply(NONCE)
    reply.feed(b"$ " + line[:-1])
    assert reply.unread is False
    reply.feed(line[-1:])
    assert reply.unread is True


def test_an_error_names_the_host_and_what_it_said() -> None:
    reply = start_reply()
    nonsense = b"nonsense " + b"x" * 3000
    with pytest.raises(ProtocolError) as first:
        reply.feed(nonsense + b"\n")
    assert (first.value.host, first.value.reply) == ("gpu1", nonsense[:2000])
    assert isinstance(first.value.__cause__, ValueError)
    with pytest.raises(ProtocolError) as second:
        reply.feed(b"end\n")
    assert second.value is first.value
    assert not reply.ended


def test_an_error_after_good_frames_keeps_its_cause() -> None:
    reply = start_reply()
    assert reply.feed(MISSING + b"nonsense\n") == [Missing(OTHER)]
    with pytest.raises(ProtocolError) as raised:
        reply.feed(MISSING)
    assert isinstance(raised.value.__cause__, ValueError)
    assert raised.value.reply == b"nonsense\n"


def test_a_host_without_a_name_is_called_the_host() -> None:
    with pytest.raises(ProtocolError, match="^the host: "):
        Reply(NONCE).feed(FENCE + b"nonsense\n")


@pytest.mark.parametrize("line", [b"\n", b"\n\x18", b" \n", b"\n" + MISSING])
def test_an_empty_line_is_no_frame(line: bytes) -> None:
    with pytest.raises(ProtocolError):
        start_reply().feed(line)


def test_half_a_frame_that_was_given_up_is_nothing() -> None:
    reply = start_reply()
    assert reply.feed(b"lost aaaa\x18\n" + MISSING) == [Missing(OTHER)]


def test_a_frame_counts_with_its_newline() -> None:
    reply = start_reply()
    assert reply.feed(MISSING[:-1]) == []
    assert reply.feed(b"\n") == [Missing(OTHER)]


def test_nothing_after_the_end_counts() -> None:
    reply = start_reply()
    assert reply.feed(b"end\n" + MISSING + b"nonsense\n") == [protocol.End()]
    assert reply.ended
    assert reply.feed(MISSING + b"nonsense\n") == []


def test_the_longest_line_is_read_however_it_is_cut() -> None:
    line = f"lost {ID} ".encode().ljust(MAX_LINE, b"x")
    reply = start_reply()
    assert reply.feed(line) == []
    (lost,) = reply.feed(b"\n")
    assert lost == protocol.Lost(ID, "x" * 1000)


@pytest.mark.parametrize("cut", [MAX_LINE + 1, MAX_LINE + 2, 69_000, 70_000])
def test_a_line_that_is_too_long_costs_its_job_only(cut: int) -> None:
    wire = f"elsewhere {ID} ".encode().ljust(70_000, b"x") + b"\n" + MISSING
    reply = start_reply()
    events = reply.feed(wire[:cut])
    assert [type(event) for event in events] == [Unread]
    assert reply.feed(wire[cut:]) == [Missing(OTHER)]


def test_all_log_bytes_are_passed_on_but_those_that_may_be_the_mark() -> None:
    reply = start_log()
    held_back = len(MARK) - 1
    assert reply.feed(b"x" * held_back) == []
    assert reply.feed(b"y") == [LogData(ID, 7, b"x")]
    assert reply.feed(b"z" * 100) == [
        LogData(ID, 8, b"x" * (held_back - 1) + b"y" + b"z" * (100 - held_back))
    ]


@pytest.mark.parametrize("length", [0, 1, 2, len(MARK) - 1, len(MARK), 70_000])
@pytest.mark.parametrize("cut", [0, 1, len(MARK), len(MARK) + 1])
def test_a_log_ends_with_its_mark_and_its_size(length: int, cut: int) -> None:
    wire = b"l" * length + MARK + b"4711\n" + MISSING
    reply = start_log()
    at = length + cut
    events = reply.feed(wire[:at]) + reply.feed(wire[at:])
    data = [event for event in events if isinstance(event, LogData)]
    assert all(event.data for event in data)
    assert b"".join(event.data for event in data) == b"l" * length
    assert [event.offset for event in data] == [
        7 + sum(len(one.data) for one in data[:at]) for at in range(len(data))
    ]
    assert events[len(data) :] == [LogEnd(ID, 7, length, 4711), Missing(OTHER)]


def test_two_logs_follow_each_other() -> None:
    one = f"log {ID} 7\nab".encode() + MARK + b"9\n"
    two = f"log {OTHER} 0\nc".encode() + MARK + b"1\nend\n"
    assert start_reply().feed(one + two) == [
        LogData(ID, 7, b"ab"),
        LogEnd(ID, 7, 2, 9),
        LogData(OTHER, 0, b"c"),
        LogEnd(OTHER, 0, 1, 1),
        protocol.End(),
    ]


@pytest.mark.parametrize("log", [b"", b"abc"])
def test_a_mark_without_an_end_is_nonsense(log: bytes) -> None:
    reply = start_log()
    # The mark itself counts for the length of its line.
    said = reply.feed(log + MARK.ljust(MAX_LINE, b"1"))
    assert said == ([LogData(ID, 7, log)] if log else [])
    with pytest.raises(ProtocolError):
        reply.feed(b"1")


@pytest.mark.parametrize("size", [b"x", b"-1", b"", b"1 2"])
def test_the_size_of_a_log_is_a_number(size: bytes) -> None:
    with pytest.raises(ProtocolError):
        start_log(MARK + b"4").feed(size + b" \n")
