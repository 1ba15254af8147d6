"""The process that owns a connection made by Fabric, and ends with its leader.

Theory of operation: the leader starts this process with one end of a socket as its
stdin and sends one line that says where to. The answer is a line too: that the login
succeeded, or its failure in ssh's words. From then on each line is a
command to run and carries four descriptors: stdin, stdout, stderr, and a socket for
its outcome. As the leader's end closes, however the leader ended, this process
ends, and the kernel closes its connection.

It is a process of its own, as ssh's master is, so that the gate's rules hold: whoever
takes the place of a leader that is stopped can end its connection, by killing this
process. Nothing here outlives the connection, so nothing is ever tidied up.
"""

from __future__ import annotations

import json
import logging
import os
import select
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from paramiko import Channel, ChannelException, SSHException, Transport

_PIECE = 1 << 17
_FDS = 4

#: Unanswered probes that end a connection; keep in sync with command_lines.py.
_PROBES = 3


def main() -> None:
    """Make the connection, say how that went, serve until the leader is gone."""
    os.environ.pop("PYTHONPATH", None)  # it was for us, not for a ProxyCommand
    logging.basicConfig(stream=sys.stderr, level=logging.CRITICAL)
    leader = socket.socket(fileno=0)
    pulse = _Pulse()
    _run_in_background(pulse.end_with_leader, leader)
    order, _ = _receive_line(leader, bytearray(), [])
    from .login import Failed, log_in

    try:
        transport = log_in(order)
    except Failed as error:
        leader.sendall(json.dumps(["failed", str(error), error.said]).encode() + b"\n")
        os._exit(1)
    _run_in_background(pulse.keep_asking, transport, order["keepalive"])
    leader.sendall(b'["open"]\n')
    buffer, fds = bytearray(), list[int]()
    while True:
        script, ends = _receive_line(leader, buffer, fds)
        _run_in_background(_Session(transport, ends).run_script, script)


def _run_in_background(work: Callable[..., None], *args: Any) -> threading.Thread:
    thread = threading.Thread(target=work, args=args, daemon=True)
    thread.start()
    return thread


class _Pulse:
    """When the host last answered.

    ``until`` is the instant at which its silence is too long; none while nobody asks.
    """

    until = float("inf")

    def keep_asking(self, transport: Transport, keepalive: float) -> None:
        """Ask the host for an answer now and then, as ServerAliveInterval does."""
        while transport.is_active():
            self.until = time.monotonic() + keepalive * (_PROBES + 1)
            time.sleep(keepalive)
            # Refused or not, an answer is an answer; without one this waits for ever.
            transport.global_request("keepalive@openssh.com", wait=True)

    def end_with_leader(self, leader: socket.socket) -> None:
        """End the process as the leader goes, or as the host is silent for too long."""
        poll = select.poll()
        poll.register(leader, 0)  # POLLHUP comes without being asked for
        while not poll.poll(500) and time.monotonic() < self.until:
            continue
        os._exit(0)


def _receive_line(
    leader: socket.socket, buffer: bytearray, fds: list[int]
) -> tuple[Any, list[int]]:
    """Return the next line, parsed, and the descriptors that came with it."""
    while b"\n" not in buffer:
        data, more, _, _ = socket.recv_fds(leader, _PIECE, _FDS)
        if not data:
            os._exit(0)
        buffer += data
        fds += more
    line, _, rest = bytes(buffer).partition(b"\n")
    buffer[:] = rest
    ends, fds[:] = fds[:_FDS], fds[_FDS:]
    return json.loads(line), ends


class _Session:
    """One command, between a channel and four descriptors of the leader."""

    def __init__(self, transport: Transport, ends: list[int]) -> None:
        self._transport = transport
        *self._fds, status = ends
        self._status = socket.socket(fileno=status)

    def run_script(self, script: str) -> None:
        """Run one command and report its outcome."""
        try:
            channel = self._transport.open_session()
        except ChannelException as error:
            self._end_session(["refused", error.text])
        except (SSHException, EOFError, OSError) as error:
            self._end_session(["gone", str(error)])
        else:
            self._send_line(["opened"])
            self._end_session(["ended", self._run_command(channel, script)])

    def _end_session(self, said: list[Any]) -> None:
        for fd in self._fds:
            os.close(fd)
        self._send_line(said)
        self._status.close()

    def _send_line(self, said: list[Any]) -> None:
        try:
            self._status.sendall(json.dumps(said).encode() + b"\n")
        except OSError:  # whom it concerned has gone
            return

    def _run_command(self, channel: Channel, script: str) -> int | None:
        """Return the exit status; ``None`` if there is none, -1 if the host is gone."""
        try:
            channel.exec_command(script)
        except (SSHException, EOFError, OSError):  # refused, or the end of it all
            return None if self._host_answers() else -1
        stdin, stdout, stderr = self._fds
        self._fds = [stdout, stderr]
        _run_in_background(self._close_with_leader, channel)
        _run_in_background(_feed_channel, stdin, channel)
        errors = _run_in_background(
            _drain_channel, channel.recv_stderr, stderr, channel
        )
        _drain_channel(channel.recv, stdout, channel)
        errors.join()
        status = channel.recv_exit_status()
        channel.close()
        if status >= 0:
            return status
        return None if self._host_answers() else -1

    def _host_answers(self) -> bool:
        """Ask the host: paramiko ends its channels before it says that it has ended."""
        if self._transport.is_active():
            self._transport.global_request("keepalive@openssh.com", wait=True)
        return self._transport.is_active()

    def _close_with_leader(self, channel: Channel) -> None:
        """Close the channel once the leader has lost interest."""
        try:
            self._status.recv(1)
        except OSError:  # we have closed it ourselves
            return
        channel.close()


def _feed_channel(fd: int, channel: Channel) -> None:
    try:
        while data := os.read(fd, _PIECE):
            channel.sendall(data)
        channel.shutdown_write()
    except (OSError, SSHException, EOFError):
        pass  # the command did not want the rest; its own business
    os.close(fd)


def _drain_channel(receive: Callable[[int], bytes], fd: int, channel: Channel) -> None:
    try:
        while data := receive(_PIECE):
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
    except OSError:  # the leader does not want the rest
        channel.close()


if __name__ == "__main__":
    main()
