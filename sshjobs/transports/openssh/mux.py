"""OpenSSH's multiplexing protocol, spoken to a control socket without an ssh process.

Theory of operation: a master listens on a Unix socket; one connection to it carries
at most one session. Both sides say HELLO; NEW_SESSION is followed by three
descriptors, each with one byte; the master answers SESSION_OPENED or FAILURE, then,
when the command has ended with a status, EXIT_MESSAGE, and closes once every byte
has gone through the descriptors. Framing and packets are pure functions; only
:class:`Control` touches a socket.

A session costs 0.25 ms of processor time this way, 4.7 ms with ``ssh -S``, and its
outcome is exact.

Source: PROTOCOL.mux, corrected by mux.c of OpenSSH 9.2 and 10.5 (the flags of
NEW_SESSION are u32 on the wire; no S_OK follows the descriptors).
"""

from __future__ import annotations

import os
import select
import sys
import time

from ...startup.records import TYPE_CHECKING, Record
from ...startup.stdlib import socket

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


VERSION = 4

MSG_HELLO = 0x00000001
C_NEW_SESSION = 0x10000002
C_ALIVE_CHECK = 0x10000004
C_TERMINATE = 0x10000005
C_STOP_LISTENING = 0x10000009
S_OK = 0x80000001
S_PERMISSION_DENIED = 0x80000002
S_FAILURE = 0x80000003
S_EXIT_MESSAGE = 0x80000004
S_ALIVE = 0x80000005
S_SESSION_OPENED = 0x80000006

#: A master closes the socket on a longer one (CHANNEL_MUX_MAX_PACKET, 9.2 and 10.5).
MAX_PACKET = 256 * 1024

_NO_ESCAPE = 0xFFFFFFFF
_SLICE = 1.0
_CONNECT_SLICE = 0.02
_READ_BYTES = 65536


class MuxError(Exception):
    """An obstacle; the caller knows the host and tells the user."""


class Gone(MuxError):
    """Nobody answers at the socket: no session was opened."""


class Stuck(MuxError):
    """Somebody listens and does not answer in time: a stopped or hung master."""


class Unfit(MuxError):
    """The other side does not speak this protocol."""


class Foreign(MuxError):
    """Somebody else listens at the socket; not a byte was sent there."""


class Refused(MuxError):
    """The master said no; no session was opened."""


class Cut(Exception):
    """A session was open, or may have been, and ended without a status."""


class Packet(Record):
    """One packet from a master, its type taken off."""

    type: int
    body: bytes

    def read_u32(self, index: int) -> int:
        """Return the ``index``-th number of the body, -1 if the body is too short."""
        piece = self.body[4 * index : 4 * index + 4]
        return int.from_bytes(piece, "big") if len(piece) == 4 else -1

    def read_text(self, offset: int) -> str:
        """Return the string that begins at ``offset`` of the body."""
        # A number that is cut short is one that ends in zeros.
        head = self.body[offset : offset + 4].ljust(4, b"\0")
        length = int.from_bytes(head, "big")
        return self.body[offset + 4 : offset + 4 + length].decode("utf-8", "replace")


def pack_packet(kind: int, *fields: int | str | bytes) -> bytes:
    """Return one packet, its length before it."""
    # PROTOCOL.mux: numbers are 32 bits, the highest byte first; a string has its
    # length before it. Flags are numbers too, though the page says bool (mux.c, 9.2).
    body = kind.to_bytes(4, "big")
    for field in fields:
        if isinstance(field, int):
            body += field.to_bytes(4, "big")
            continue
        data = os.fsencode(field) if isinstance(field, str) else field
        body += len(data).to_bytes(4, "big") + data
    return len(body).to_bytes(4, "big") + body


def pack_hello() -> bytes:
    """Return the packet that both sides send first."""
    return pack_packet(MSG_HELLO, VERSION)


def pack_new_session(request: int, command: str) -> bytes:
    """Return the packet that asks for one command without a terminal.

    No agent, no X11, no environment: the user's configuration has no say here.

    Raises:
        Unfit: the command is too long for a packet.
    """
    flags = (0, 0, 0, 0)  # terminal, X11, agent, subsystem
    packet = pack_packet(C_NEW_SESSION, request, b"", *flags, _NO_ESCAPE, b"", command)
    # At a longer one the master closes the socket without a word (9.2, 10.5).
    if len(packet) - 4 > MAX_PACKET:
        raise Unfit("the command line is longer than a packet")
    return packet


class Frames:
    """Cuts a stream of bytes into packets."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Packet]:
        """Return the packets that are whole now.

        Raises:
            Unfit: a length that no master sends.
        """
        self._rest += data
        packets = []
        while len(self._rest) >= 4:
            length = int.from_bytes(self._rest[:4], "big")
            # The type alone is 4 bytes. A length beyond the bound is another protocol,
            # and no reason to wait for that many bytes.
            if not 4 <= length <= MAX_PACKET:
                raise Unfit(f"a packet of {length} bytes")
            # A packet may come in pieces, and several in one: a stream has no borders.
            if len(self._rest) < 4 + length:
                break
            kind = int.from_bytes(self._rest[4:8], "big")
            packets.append(Packet(kind, self._rest[8 : 4 + length]))
            self._rest = self._rest[4 + length :]
        return packets


class Control:
    """One connection to a control socket, greeted and checked.

    Args:
        path: The socket.
        timeout: Seconds for each step.
        tick: Called about once a second while a step waits; may raise.

    Raises:
        Gone: no master.
        Stuck: a master that does not answer.
        Unfit: something else.
        Foreign: somebody else's.
    """

    def __init__(self, path: str, timeout: float, on_wait: Callable[[], None]) -> None:
        self.path = path
        self._timeout = timeout
        self._on_wait = on_wait
        self._frames = Frames()
        self._packets: list[Packet] = []
        self._request = 0
        try:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        except OSError as error:
            raise Unfit(f"no socket to be had here: {error.strerror}") from error
        try:
            # Not by SO_RCVTIMEO: whenever a timer's signal comes, that begins anew.
            self._socket.setblocking(False)
            self._repeat_until_timeout(lambda: self._socket.connect(self.path))
            # ssh itself looks at no owner (9.2): a socket of another user would get the
            # command line and our descriptors.
            if read_peer_uid(self._socket, self.path) != os.geteuid():
                raise Foreign("the socket belongs to somebody else")
            self._send_all(pack_hello())
            packet = self._wait_for_packet()
            # Both sides greet with version 4 (since 5.4); from 10.3 on a master adds
            # extensions behind it, which we do not need.
            if packet.type != MSG_HELLO or packet.read_u32(0) != VERSION:
                spoken = packet.body[:8].hex()
                raise Unfit(f"the master speaks another protocol ({spoken})")
        except BaseException:
            self.close()
            raise

    def __repr__(self) -> str:
        return f"<Control {self.path}>"

    def fileno(self) -> int:
        """Return the descriptor, for poll(2)."""
        return self._socket.fileno()

    def close(self) -> None:
        """Hang up; a session that is still open here ends, its command does not."""
        self._socket.close()

    def _repeat_until_timeout(self, step: Callable[[], object], event: int = 0) -> None:
        """Repeat a step that would wait, until our time is over.

        Args:
            event: What poll(2) is to wait for; 0 for a place in the backlog, for which
                it cannot.
        """
        told_at = time.monotonic()
        end = told_at + self._timeout
        while True:
            try:
                step()
                return
            except BlockingIOError as error:
                now = time.monotonic()
                # A stopped master still takes connections, up to the backlog of 64
                # (mux.c), and answers none.
                if now >= end:
                    raise Stuck("the master does not answer") from error
            except OSError as error:
                # ENOENT: no master ever, or one that has ended; ECONNREFUSED: its file,
                # left by one that was killed. Nothing was asked in either case.
                raise Gone(error.strerror or "no socket") from error
            if now - told_at >= _SLICE:
                told_at = now
                self._on_wait()
            seconds = min(told_at + _SLICE, end) - now
            if event:  # a signal makes the wait no longer
                poll = select.poll()
                poll.register(self._socket, event)
                poll.poll(seconds * 1000)
            else:
                time.sleep(min(_CONNECT_SLICE, seconds))

    def _send_all(self, data: bytes) -> None:
        rest = memoryview(data)

        def step() -> None:
            nonlocal rest
            while rest:
                rest = rest[self._socket.send(rest) :]

        self._repeat_until_timeout(step, select.POLLOUT)

    def _wait_for_packet(self) -> Packet:
        while not self._packets:
            pieces: list[bytes] = []
            self._repeat_until_timeout(
                lambda: pieces.append(self._socket.recv(_READ_BYTES)), select.POLLIN
            )
            # It closes without a word on another version, another uid or a packet that
            # is too long (mux.c, channels.c, 9.2).
            if not pieces[0]:
                raise Gone("the master closed the connection")
            self._packets += self._frames.feed(pieces[0])
        return self._packets.pop(0)

    def _ask_master(self, kind: int) -> Packet:
        self._request += 1
        self._send_all(pack_packet(kind, self._request))
        while True:
            packet = self._wait_for_packet()
            # Each answer begins with the number of its request.
            if packet.read_u32(0) == self._request:
                return packet

    def ask_for_pid(self) -> int:
        """Return the process id of the master.

        SO_PEERCRED would give that of the process that has listened before the
        master went to the background.
        """
        packet = self._ask_master(C_ALIVE_CHECK)
        if packet.type != S_ALIVE:
            raise Unfit("no answer to an alive check")
        return packet.read_u32(1)

    def order_to_drain(self) -> None:
        """Have the master take no more sessions and end with the last that it has."""
        self._order_master(C_STOP_LISTENING)

    def order_to_terminate(self) -> None:
        """Have the master end now; sessions are cut."""
        self._order_master(C_TERMINATE)

    def _order_master(self, kind: int) -> None:
        try:
            packet = self._ask_master(kind)
        except Gone:  # it may close before its S_OK is written (mux.c, 9.2)
            return
        if packet.type != S_OK:
            raise Refused(packet.read_text(4))

    def ask_for_session(self, command: str, fds: Sequence[int]) -> None:
        """Ask for a session; the answer comes with :meth:`receive`.

        Raises:
            Gone: nothing was opened; the connection has ended.
            Stuck: likewise.
        """
        self._request += 1
        packet = pack_new_session(self._request, command)
        # One descriptor a message, as mm_send_fd sends them (monitor_fdpass.c, 9.2).
        rights = [
            [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fd.to_bytes(4, sys.byteorder))]
            for fd in fds
        ]
        # Nothing may come between: from the packet to the third descriptor the master
        # waits for us alone, without a timeout (mm_receive_fd, 9.2 and 10.5).
        self._send_all(packet)
        for right in rights:
            self._repeat_until_timeout(
                lambda: self._socket.sendmsg([b"\0"], right), select.POLLOUT
            )

    def receive_packets(self) -> list[Packet] | None:
        """Return the packets that are there now, ``None`` at the end of all.

        Raises:
            Unfit: not packets.
        """
        packets, self._packets = self._packets, []
        try:
            data = self._socket.recv(_READ_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return packets
        except OSError:  # ECONNRESET: the master was killed
            data = b""
        # Packets that came with the end are handed out first; the end comes again.
        if not data and not packets:
            return None
        return packets + self._frames.feed(data)


def read_peer_uid(connection: socket.socket, path: str) -> int:
    """Return the user id of the process at the other end."""
    if hasattr(socket, "SO_PEERCRED"):
        raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        return int.from_bytes(raw[4:8], sys.byteorder)  # pid, uid, gid: unix(7)
    # macOS and BSD have LOCAL_PEERCRED in shapes of their own; there the directory,
    # which only we can write to, and the owner of the socket must do.
    return os.lstat(path).st_uid
