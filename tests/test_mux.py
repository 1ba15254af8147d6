"""The multiplexing protocol: its packets, and a connection to a scripted master."""

from __future__ import annotations

import os
import resource
import select
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
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


def test_numbers_are_those_of_protocol_mux() -> None:
    assert [
        mux.VERSION,
        mux.MSG_HELLO,
        mux.C_NEW_SESSION,
        mux.C_ALIVE_CHECK,
        mux.C_TERMINATE,
        mux.C_STOP_LISTENING,
    ] == [4, 1, 0x10000002, 0x10000004, 0x10000005, 0x10000009]
    assert [
        mux.S_OK,
        mux.S_PERMISSION_DENIED,
        mux.S_FAILURE,
        mux.S_EXIT_MESSAGE,
        mux.S_ALIVE,
        mux.S_SESSION_OPENED,
    ] == [0x80000000 + number for number in range(1, 7)]
    assert mux.MAX_PACKET == 262144


def test_text_and_bytes_of_a_packet_have_their_length_before_them() -> None:
    assert mux.pack_packet(9, 5, "\udce4\N{SNOWMAN}", b"\0x") == (
        b"\0\0\0\x16"
        b"\0\0\0\x09"
        b"\0\0\0\x05"
        b"\0\0\0\x04\xe4\xe2\x98\x83"
        b"\0\0\0\x02\0x"
    )


def test_command_longer_than_a_packet_is_refused_here() -> None:
    room = mux.MAX_PACKET - 40  # ten numbers stand beside the command
    assert len(mux.pack_new_session(1, "x" * room)) == 4 + mux.MAX_PACKET
    with pytest.raises(mux.Unfit, match="longer than a packet"):
        mux.pack_new_session(1, "x" * (room + 1))


@pytest.mark.parametrize("size", [0, 1, mux.MAX_PACKET - 4])
def test_packet_of_any_size_that_a_master_sends_is_taken(size: int) -> None:
    frames, body = mux.Frames(), b"x" * size
    packet = mux.pack_packet(3) if not size else b""
    packet = packet or struct.pack(">II", 4 + size, 3) + body
    assert frames.feed(packet[:-1]) == []
    assert frames.feed(packet[-1:]) == [mux.Packet(3, body)]
    assert frames.feed(packet + packet[:7]) == [mux.Packet(3, body)]
    assert frames.feed(packet[7:]) == [mux.Packet(3, body)]


def test_number_that_is_not_there_is_minus_one() -> None:
    packet = mux.Packet(1, struct.pack(">II", 7, 2**32 - 1) + b"\0\0\0")
    assert [packet.read_u32(index) for index in range(4)] == [7, 2**32 - 1, -1, -1]


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
    for rest in (b"", b"rest"):
        with pytest.raises(mux.Unfit):
            mux.Frames().feed(struct.pack(">I", length) + rest)


def test_text_that_is_cut_off_is_what_there_is() -> None:
    assert (
        mux.Packet(mux.S_FAILURE, struct.pack(">II", 1, 99) + b"why").read_text(4)
        == "why"
    )
    for body in (b"", b"\0" * 4, b"\0" * 7):
        assert mux.Packet(mux.S_FAILURE, body).read_text(4) == ""
    more = mux.Packet(1, struct.pack(">II", 1, 2) + b"a\xffrest")
    assert more.read_text(4) == "a\ufffd"


# -- a connection, and a master that says what stands in a list --------------------


class Master:
    """Takes one connection, says its pieces to it, and keeps what it hears."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.path)
        self._listener.listen()
        self._listener.settimeout(5)
        self._threads: list[threading.Thread] = []
        self._links: list[socket.socket] = []

    def say(self, *pieces: bytes, then_end: bool = False) -> None:
        """Say something to who connects; the end of it is that of the connection."""

        def serve() -> None:
            self._links.append(self._listener.accept()[0])
            self._links[0].settimeout(5)
            for piece in pieces:
                self._links[0].sendall(piece)
            if then_end:
                self._links[0].shutdown(socket.SHUT_WR)

        self._threads.append(threading.Thread(target=serve, daemon=True))
        self._threads[-1].start()

    def _join_threads(self) -> None:
        for thread in self._threads:
            thread.join(5)

    def wait(self) -> socket.socket:
        """Return the connection once all is said."""
        self._join_threads()
        return self._links[0]

    def hear(self) -> bytes:
        """Return all that the client says until it hangs up."""
        heard = b""
        while data := self.wait().recv(65536):
            heard += data
        return heard

    def close(self) -> None:
        with closing(self._listener):
            self._join_threads()
        for link in self._links:
            link.close()


@pytest.fixture
def master(tmp_path: Path) -> Iterator[Master]:
    made = Master(tmp_path / "master")
    yield made
    made.close()


#: How a master greets that has an extension, as one of OpenSSH 10.3 has "info".
HELLO = mux.pack_packet(mux.MSG_HELLO, 4, "information", "0")


def reach(master: Master, timeout: float = 5.0) -> mux.Control:
    return mux.Control(master.path, timeout, lambda: None)


def cut_up(data: bytes) -> list[bytes]:
    return [data[place : place + 1] for place in range(len(data))]


def test_a_master_is_greeted_and_asked_for_its_pid(master: Master) -> None:
    """Its answers come byte by byte, and between them what nobody asked for."""
    answers = [
        HELLO,
        mux.pack_packet(mux.S_EXIT_MESSAGE, 0, 255),
        mux.pack_packet(mux.S_ALIVE, 2, 77),
        mux.pack_packet(mux.S_ALIVE, 1, 4711),
        mux.pack_packet(mux.S_ALIVE, 2, 4712),
    ]
    master.say(*cut_up(b"".join(answers)))
    with closing(reach(master)) as control:
        assert repr(control) == f"<Control {master.path}>"
        assert os.fstat(control.fileno()).st_mode & 0o140000
        assert [control.ask_for_pid(), control.ask_for_pid()] == [4711, 4712]
    assert master.hear() == mux.pack_hello() + mux.pack_packet(
        mux.C_ALIVE_CHECK, 1
    ) + mux.pack_packet(mux.C_ALIVE_CHECK, 2)


@pytest.mark.parametrize(
    ("hello", "spoken"),
    [
        (mux.pack_packet(1, 5, 6, 7), "0000000500000006"),
        (mux.pack_packet(2, 4), "00000004"),
        (mux.pack_packet(1), ""),
    ],
)
def test_who_greets_otherwise_is_unfit_and_left_alone(
    master: Master, hello: bytes, spoken: str
) -> None:
    master.say(hello)
    with pytest.raises(mux.Unfit) as caught:
        reach(master)
    assert str(caught.value) == f"the master speaks another protocol ({spoken})"
    assert master.hear() == mux.pack_hello()  # and then the end


def test_who_ends_before_the_greeting_is_gone(master: Master) -> None:
    master.say(HELLO[:-1], then_end=True)
    with pytest.raises(mux.Gone, match="the master closed the connection"):
        reach(master)


def test_where_no_socket_is_nobody_is(tmp_path: Path) -> None:
    with pytest.raises(mux.Gone, match="No such file or directory"):
        mux.Control(str(tmp_path / "none"), 5.0, lambda: None)
    stale = tmp_path / "stale"
    with closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(str(stale))
    with pytest.raises(mux.Gone, match="Connection refused"):
        mux.Control(str(stale), 5.0, lambda: None)


def test_where_no_descriptor_is_left_the_master_is_not_blamed(master: Master) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        with pytest.raises(mux.Unfit, match="Too many open files"):
            reach(master)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_master_of_another_user_hears_nothing(
    master: Master, monkeypatch: pytest.MonkeyPatch
) -> None:
    master.say()
    monkeypatch.setattr(os, "geteuid", lambda uid=os.geteuid(): uid + 1)
    with pytest.raises(mux.Foreign):
        reach(master)
    assert master.hear() == b""


def test_the_peer_is_the_user_that_the_kernel_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Peer(socket.socket):
        def getsockopt(self, *_place: int) -> bytes:  # type: ignore[override]
            return struct.pack("iII", 7, 1000, 50)

    with closing(Peer(socket.AF_UNIX)) as peer:
        assert mux.read_peer_uid(peer, str(tmp_path)) == 1000
        monkeypatch.delattr(f"{mux.__name__}.socket.SO_PEERCRED")
        assert mux.read_peer_uid(peer, str(tmp_path)) == tmp_path.stat().st_uid
        with pytest.raises(FileNotFoundError):
            mux.read_peer_uid(peer, str(tmp_path / "none"))


@pytest.mark.parametrize(
    ("order", "kind"),
    [
        (mux.Control.order_to_drain, mux.C_STOP_LISTENING),
        (mux.Control.order_to_terminate, mux.C_TERMINATE),
    ],
)
def test_an_order_is_taken_refused_or_the_last_word(
    tmp_path: Path, order: Callable[[mux.Control], None], kind: int
) -> None:
    sent = mux.pack_hello() + mux.pack_packet(kind, 1)
    refusal = mux.pack_packet(mux.S_PERMISSION_DENIED, 1, "Permission denied")
    for number, answer in enumerate((mux.pack_packet(mux.S_OK, 1), b"", refusal)):
        with closing(Master(tmp_path / f"{number}")) as master:
            master.say(HELLO + answer, then_end=not answer)
            with closing(reach(master)) as control:
                if answer == refusal:
                    with pytest.raises(mux.Refused, match="^Permission denied$"):
                        order(control)
                else:
                    order(control)
            assert master.hear() == sent


def test_another_answer_to_an_alive_check_is_unfit(master: Master) -> None:
    master.say(HELLO + mux.pack_packet(mux.S_FAILURE, 1, "unsupported request"))
    with closing(reach(master)) as control, pytest.raises(mux.Unfit, match="alive"):
        control.ask_for_pid()


def test_a_session_is_asked_for_with_three_descriptors_in_order(
    master: Master, tmp_path: Path
) -> None:
    master.say(HELLO + mux.pack_packet(mux.S_ALIVE, 1, 7))
    files = [open(tmp_path / name, "wb") for name in ("in", "out", "err")]
    with closing(reach(master)) as control:
        control.ask_for_pid()
        control.ask_for_session("exec sh", [file.fileno() for file in files])
        link = master.wait()
        request = mux.pack_new_session(2, "exec sh")
        before = mux.pack_hello() + mux.pack_packet(mux.C_ALIVE_CHECK, 1)
        assert link.recv(len(before + request), socket.MSG_WAITALL) == before + request
        for file in files:
            data, fds, _flags, _address = socket.recv_fds(link, 9, 9)
            assert (data, len(fds)) == (b"\0", 1)
            assert os.path.sameopenfile(fds[0], file.fileno())
            os.close(fds[0])
            file.close()
    assert master.hear() == b""


def test_a_long_request_reaches_a_master_that_reads_late(master: Master) -> None:
    master.say(HELLO)
    with closing(reach(master)) as control:
        link = master.wait()
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        late = threading.Timer(0.2, lambda: heard.append(master.hear()))
        heard: list[bytes] = []
        late.start()
        requests = [mux.pack_new_session(n, "x" * 200_000) for n in (1, 2, 3)]
        for _ in requests:
            control.ask_for_session("x" * 200_000, [])
    late.join(5)
    assert heard == [mux.pack_hello() + b"".join(requests)]


def test_packets_come_as_they_are_there_and_then_the_end(master: Master) -> None:
    opened = mux.pack_packet(mux.S_SESSION_OPENED, 1, 5)
    ended = mux.pack_packet(mux.S_EXIT_MESSAGE, 5, 3)
    first = mux.Packet(mux.S_SESSION_OPENED, opened[8:])
    last = mux.Packet(mux.S_EXIT_MESSAGE, ended[8:])
    master.say(HELLO + opened + ended[:9])
    with closing(reach(master)) as control:
        link = master.wait()
        # With the greeting came what is handed out first, once.
        assert control.receive_packets() == [first]
        assert control.receive_packets() == []
        link.sendall(ended[9:] + opened)
        assert control.receive_packets() == [last, first]
        link.shutdown(socket.SHUT_WR)
        assert control.receive_packets() is None
        assert control.receive_packets() is None


def test_packets_that_came_with_the_end_come_before_it(master: Master) -> None:
    opened = mux.pack_packet(mux.S_SESSION_OPENED, 1, 5)
    master.say(HELLO + opened, then_end=True)
    with closing(reach(master)) as control:
        master.wait()
        assert control.receive_packets() == [
            mux.Packet(mux.S_SESSION_OPENED, opened[8:])
        ]
        assert control.receive_packets() is None


def test_a_master_that_was_killed_has_ended(master: Master) -> None:
    """It had not read all that it was sent: the kernel resets the connection."""
    master.say(HELLO)
    with closing(reach(master)) as control:
        master.wait().close()
        assert control.receive_packets() is None


def test_what_is_no_packet_is_unfit(master: Master) -> None:
    master.say(HELLO)
    with closing(reach(master)) as control:
        master.wait().sendall(b"\0\0\0\x01junk")
        with pytest.raises(mux.Unfit, match="a packet of 1 bytes"):
            control.receive_packets()


# -- how long a step waits, by a clock of the test ----------------------------------


class Clock:
    """Stands in for ``time`` and ``select``: a wait is written down, and is over."""

    POLLIN, POLLOUT = select.POLLIN, select.POLLOUT

    def __init__(self, longest: float = 9.0) -> None:
        self.now = 100.0
        self.longest = longest
        self.waits: list[float] = []
        self.events: list[int] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.waits.append(round(seconds, 6))
        assert len(self.waits) < 20, "it waits for ever"
        self.now += min(seconds, self.longest)

    def poll(self) -> Clock.Poll:
        return self.Poll(self)

    class Poll:
        def __init__(self, clock: Clock) -> None:
            self.clock = clock

        def register(self, _of: object, event: int) -> None:
            self.clock.events.append(event)

        def poll(self, milliseconds: float) -> None:
            self.clock.sleep(milliseconds / 1000)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(mux, "time", made)
    monkeypatch.setattr(mux, "select", made)
    return made


def test_who_waits_for_an_answer_is_told_once_a_second(
    master: Master, clock: Clock
) -> None:
    told: list[float] = []
    with pytest.raises(mux.Stuck, match="the master does not answer"):
        mux.Control(master.path, 3.5, lambda: told.append(clock.now))
    assert told == [101.0, 102.0, 103.0]
    assert clock.waits == [1.0, 1.0, 1.0, 0.5]
    assert clock.events == [select.POLLIN] * 4


def test_a_wait_that_a_signal_cuts_short_is_as_long_in_all(
    master: Master, clock: Clock
) -> None:
    clock.longest = 0.75
    told: list[float] = []
    with pytest.raises(mux.Stuck):
        mux.Control(master.path, 2.5, lambda: told.append(clock.now))
    assert told == [101.0, 102.0]
    assert clock.waits == [1.0, 0.25, 1.0, 0.25, 0.5]


def test_who_waits_for_a_place_in_the_backlog_looks_often(
    tmp_path: Path, clock: Clock
) -> None:
    path = str(tmp_path / "master")
    with closing(socket.socket(socket.AF_UNIX)) as listener, closing(
        socket.socket(socket.AF_UNIX)
    ) as first:
        listener.bind(path)
        listener.listen(0)
        first.connect(path)
        with pytest.raises(mux.Stuck):
            mux.Control(path, 0.05, lambda: None)
    assert clock.waits == [0.02, 0.02, 0.01]


def test_a_master_that_does_not_read_is_stuck(
    master: Master, monkeypatch: pytest.MonkeyPatch
) -> None:
    master.say(HELLO)
    with closing(reach(master, 0.5)) as control:
        clock = Clock()
        monkeypatch.setattr(mux, "time", clock)
        monkeypatch.setattr(mux, "select", clock)
        with pytest.raises(mux.Stuck):
            for _ in range(1000):
                control.ask_for_session("x" * 200_000, [])
        assert (clock.waits, clock.events) == ([0.5], [select.POLLOUT])


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
