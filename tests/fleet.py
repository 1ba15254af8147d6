"""Many hosts that are one server, each with a name and a connection of its own."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from tests.cli import Cli, end_jobs, finish
from tests.faults.relay import Relay
from tests.sshd import Sshd


class Fleet:
    """Many names of one server, each with a connection of its own.

    Args:
        sshd: The server; it listens at every loopback address.
        place: Where the home and the hosts' directory are made.
    """

    def __init__(self, sshd: Sshd, place: Path) -> None:
        outer = place / "host"
        outer.mkdir()
        login = pwd.getpwnam(sshd.user)
        os.chown(outer, login.pw_uid, login.pw_gid)
        self.sshd = sshd
        self.cli = Cli(sshd, place / "home", outer / "base")
        self.names: list[str] = []
        self.relays: dict[str, Relay] = {}
        key = (sshd.folder / "host.pub").read_text()
        sshd.known_hosts.write_text(f"box {key}")
        self._text = ""

    def __repr__(self) -> str:
        return f"<Fleet {len(self.names)}>"

    def add(self, name: str, *, relayed: bool = False) -> None:
        """Give the server one more name."""
        self.names.append(name)
        address, port = f"127.0.1.{len(self.names)}", self.sshd.port
        if relayed:
            self.relays[name] = Relay(port)
            address, port = "127.0.0.1", self.relays[name].port
        self._text += f"Host {name}\n    HostName {address}\n    Port {port}\n"

    def write(self, *lines: str, before: str = "") -> None:
        """Write the configuration; every name is like the alias of the server."""
        text = self.sshd.write_client_config("HostKeyAlias box", *lines).read_text()
        shared = text.replace("Host box", "Host n*")
        self.sshd.config.write_text(before + self._text + shared)

    def submit(self, command: str) -> dict[str, str]:
        """Start a job on each, all at once; return their ids by name."""
        words = [("submit", name, "--", command) for name in self.names]
        ends = finish([self.cli.start(*one) for one in words])
        assert [end.status for end in ends] == [0] * len(ends), ends
        return {name: end.id for name, end in zip(self.names, ends)}

    def close(self) -> None:
        """End every connection."""
        finish([self.cli.start("disconnect", name) for name in self.names])
        for relay in self.relays.values():
            relay.close()
        end_jobs(self.cli.base)
