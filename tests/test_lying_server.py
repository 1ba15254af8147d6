"""A server of our own that does what no sshd does, on a channel and before a login."""

from __future__ import annotations

import os
import pwd
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import paramiko
import pytest
from paramiko.common import cMSG_CHANNEL_REQUEST, cMSG_USERAUTH_BANNER

from tests.cli import Cli
from tests.sshd import Sshd
from tests.test_lies import ENV, MIB, MOST_MEMORY, usage, weigh

Act = Callable[[paramiko.Channel], object]

#: What paramiko raises when the other side has gone, in the order of how often.
GONE = (OSError, EOFError, paramiko.SSHException)


def drip(send: Callable[[bytes], object]) -> None:
    """Say a byte now and then, for as long as it is taken."""
    while True:
        send(b".")
        time.sleep(0.3)


def end_twice(channel: paramiko.Channel) -> None:
    channel.send_exit_status(0)
    channel.send_exit_status(7)
    drip(channel.sendall)


def end_hugely(channel: paramiko.Channel) -> None:
    channel.send_exit_status(0xFFFFFFFF)
    channel.close()


def end_one_way(channel: paramiko.Channel) -> None:
    channel.shutdown_write()
    drip(channel.sendall_stderr)


def end_without_eof(channel: paramiko.Channel) -> None:
    channel.send_exit_status(0)


def eof_without_end(channel: paramiko.Channel) -> None:
    channel.shutdown_write()


def flood(channel: paramiko.Channel) -> None:
    while True:
        channel.sendall(b"L" * 32768)


def flood_stderr(channel: paramiko.Channel) -> None:
    while True:
        channel.sendall_stderr(b"E" * 32768)


def end_then_flood(channel: paramiko.Channel) -> None:
    channel.send_exit_status(0)
    flood(channel)


def die_of_a_signal(channel: paramiko.Channel) -> None:
    message = paramiko.Message()
    message.add_byte(cMSG_CHANNEL_REQUEST)
    message.add_int(channel.remote_chanid)
    message.add_string("exit-signal")
    message.add_boolean(False)
    message.add_string("KILL\x1b[2J" * 1000)
    message.add_boolean(True)
    message.add_string("\x1b[2J" * 1000)
    message.add_string("")
    transport = channel.get_transport()
    transport._send_user_message(message)  # type: ignore[attr-defined]
    channel.close()


ACTS: dict[str, Act] = {
    "end without eof": end_without_eof,
    "eof without end": eof_without_end,
    "flood": flood,
    "flood on stderr": flood_stderr,
    "end, then flood": end_then_flood,
    "signal": die_of_a_signal,
    "nothing": lambda channel: None,
    "close": lambda channel: channel.close(),
    "stderr": lambda channel: drip(channel.sendall_stderr),
    "end twice": end_twice,
    "end hugely": end_hugely,
    "end one way": end_one_way,
}


def act_until_gone(act: Act, channel: paramiko.Channel) -> None:
    """Do a thing on a channel until it is done, or until the client has gone."""
    with suppress(*GONE):
        act(channel)


class Session(paramiko.ServerInterface):
    """Lets everybody in, and does one thing on each channel."""

    def __init__(self, server: Server, transport: paramiko.Transport) -> None:
        super().__init__()
        self._server = server
        self._transport = transport

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        while self._server.floods and self._transport.is_active():
            message = paramiko.Message()
            message.add_byte(cMSG_USERAUTH_BANNER)
            message.add_string(b"Welcome \x1b[2J\n" * 2000)
            message.add_string(b"")
            self._transport._send_message(message)  # type: ignore[attr-defined]
        return paramiko.common.AUTH_SUCCESSFUL

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.common.OPEN_SUCCEEDED

    def check_channel_exec_request(
        self, channel: paramiko.Channel, command: bytes
    ) -> bool:
        how = (ACTS[self._server.act], channel)
        threading.Thread(target=act_until_gone, args=how, daemon=True).start()
        return True


class Server:
    """Listens on a port of its own, with the keys of an sshd that is not started."""

    def __init__(self, keys: Sshd) -> None:
        self.act = "nothing"
        self.floods = False
        self._key = paramiko.Ed25519Key(filename=str(keys.folder / "host"))
        self._listener = socket.create_server(("127.0.0.1", keys.port))
        self._open: list[paramiko.Transport] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with suppress(*GONE):
                transport = paramiko.Transport(connection)
                transport.add_server_key(self._key)
                self._open.append(transport)
                transport.start_server(
                    threading.Event(), Session(self, transport)  # does not wait
                )

    def close(self) -> None:
        self.floods = False
        self._listener.close()
        for transport in self._open:
            transport.close()


@pytest.fixture
def server(need_sshd: None, place: Path) -> Iterator[tuple[Server, Cli]]:
    """The server, and the command line that knows it as its host."""
    folder = place / "sshd"
    folder.mkdir()
    keys = Sshd(folder, pwd.getpwuid(os.geteuid()).pw_name)
    made = Server(keys)
    cli = Cli(keys, place / "home", place / "base")
    cli.env |= ENV
    yield made, cli
    cli.close()
    made.close()


@pytest.mark.parametrize("transport", ["auto", "fabric"])
@pytest.mark.parametrize("act", list(ACTS))
def test_a_channel_that_does_what_no_sshd_does(
    server: tuple[Server, Cli], act: str, transport: str
) -> None:
    host, cli = server
    cli.env["SSHJOBS_TRANSPORT"] = transport
    host.act = act
    ended = weigh(cli, "submit", cli.host, "--", "true")
    assert ended.status in (69, 70, 75), ended
    assert cli.host in ended.err and "Traceback" not in ended.err, ended
    assert ended.memory < MOST_MEMORY and ended.peak < MIB, (ended, ended.memory)


def test_a_banner_without_end_ends_the_handshake(server: tuple[Server, Cli]) -> None:
    host, cli = server
    host.floods = True
    ended = weigh(cli, "submit", cli.host, "--wait-host", "0", "--", "true")
    assert ended.status == 69 and "before the login was done" in ended.err, ended
    assert "\x1b" not in ended.err
    assert usage(cli.home) < 4 * MIB and ended.peak < 16 * MIB, ended.peak
