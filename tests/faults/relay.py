"""A TCP relay between ssh and sshd that can lose, delay and swallow."""

from __future__ import annotations

import select
import socket
import struct
import threading
import time

_ESTABLISHED = 1  # tcp_states.h

#: Seconds between the last byte of a connection and its end.
_LAST = 0.3


class _Way:
    """One direction of one connection: what was read here and is owed there."""

    def __init__(self, source: socket.socket, sink: socket.socket) -> None:
        self.source = source
        self.sink = sink
        self.owed: list[tuple[float, bytes]] = []
        self.ended = False
        self.frozen = False
        self.paid_at = 0.0

    @property
    def due(self) -> float:
        """When the next piece is delivered.

        The end comes a little later: sshd forgets what it has not yet handed to a
        command when the connection ends (9.2).
        """
        at, data = self.owed[0]
        return at if data else max(at, self.paid_at + _LAST)


class Relay:
    """Forwards connections to a port of this machine, in a thread of its own.

    Args:
        target: The port.

    Attributes:
        port: Where it listens.
        delay: Seconds by which every byte is late.
        hole: Nothing is forwarded while this is true; connections stay open.
        shut: New connections are closed at once while this is true.
        limit: A client that sends more than this in one piece is frozen with it, if
            that is not 0; see :meth:`thaw`.
        most: The most connections that were open at once, as seen from the client.
        accepted: How many there were in all.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._ways: list[_Way] = []
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self.delay = 0.0
        self.hole = False
        self.shut = False
        self.limit = 0
        self.most = 0
        self.accepted = 0
        self._stopping = False
        self._heard_at = time.monotonic()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        return f"<Relay {self.port} to {self._target}>"

    @property
    def ill(self) -> bool:
        """Whether it does anything else than to forward."""
        return bool(self.delay or self.hole or self.shut or self.limit)

    def heal(self) -> None:
        """Forward as if nothing had been."""
        self.delay, self.hole, self.shut, self.limit = 0.0, False, False, 0

    def _freeze_pair(self, way: _Way) -> None:
        for one in self._ways:
            if one.source in (way.source, way.sink):
                one.frozen = True

    def freeze(self) -> None:
        """Swallow what the connections of now say, until :meth:`thaw`."""
        with self._lock:
            for way in self._ways:
                way.frozen = True

    @property
    def frozen(self) -> bool:
        """Whether there are connections that :meth:`thaw` would let go on."""
        with self._lock:
            return any(way.frozen for way in self._ways)

    @property
    def still(self) -> bool:
        """Whether nothing has come for half a second."""
        return time.monotonic() - self._heard_at > 0.5

    @property
    def alive(self) -> int:
        """How many connections there are, as seen from the client."""
        with self._lock:
            return self._alive()

    def thaw(self) -> None:
        """Deliver, late, what frozen connections have said."""
        with self._lock:
            for way in self._ways:
                way.frozen = False

    def drop(self) -> None:
        """Reset every connection, at both ends."""
        with self._lock:
            for way in self._ways:
                _reset(way.source)
            self._ways.clear()

    def close(self) -> None:
        """Drop everything and end the thread."""
        self._stopping = True
        self._thread.join(10)
        self.drop()
        self._listener.close()

    def _serve(self) -> None:
        while not self._stopping:
            with self._lock:
                readers = [self._listener] if not self.hole else []
                if not self.hole:
                    readers += [w.source for w in self._ways if _hungry(w)]
            ready, _, _ = select.select(_open(readers), [], [], 0.01)
            with self._lock:
                self._step(set(ready))

    def _step(self, ready: set[socket.socket]) -> None:
        if self._listener in ready:
            self._accept()
        if self.hole:
            return
        for way in list(self._ways):
            if way.source in ready and _hungry(way):
                self._read(way)
            if not way.frozen:
                self._pay(way)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        if self.shut:
            client.close()
            return
        try:
            server = socket.create_connection(("127.0.0.1", self._target), 2)
        except OSError:
            client.close()
            return
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            end.settimeout(2)
        self.accepted += 1
        self.most = max(self.most, self._alive() + 1)
        self._ways += [_Way(client, server), _Way(server, client)]

    def _alive(self) -> int:
        return sum(_established(way.source) for way in self._ways[::2])

    def _read(self, way: _Way) -> None:
        try:
            data = way.source.recv(65536)
        except OSError:
            data = b""
        way.ended = not data
        self._heard_at = time.monotonic()
        way.owed.append((time.monotonic() + self.delay, data))
        if 0 < self.limit < len(data):
            self._freeze_pair(way)

    def _pay(self, way: _Way) -> None:
        while way.owed and way.due <= time.monotonic():
            _, data = way.owed.pop(0)
            way.paid_at = time.monotonic()
            try:
                if data:
                    way.sink.sendall(data)
                else:
                    way.sink.shutdown(socket.SHUT_WR)
            except OSError:  # nobody is there any more; the other way may still count
                continue
        if way.ended and not way.owed:
            self._end(way)

    def _end(self, way: _Way) -> None:
        """Close both ends once both have closed theirs."""
        pair = [w for w in self._ways if w.source in (way.source, way.sink)]
        if all(w.ended and not w.owed for w in pair):
            for one in pair:
                one.source.close()
            self._ways = [w for w in self._ways if w not in pair]


def _hungry(way: _Way) -> bool:
    return not way.ended and len(way.owed) < 64


def _open(ends: list[socket.socket]) -> list[socket.socket]:
    return [end for end in ends if end.fileno() >= 0]


def _established(end: socket.socket) -> bool:
    """Tell whether the client still has this connection; it need not be read."""
    try:
        return end.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _ESTABLISHED
    except OSError:
        return False


def _reset(end: socket.socket) -> None:
    try:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    except OSError:
        return
    end.close()
