"""A caller of the transports: its own directory, its settings, what it counted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sshjobs import processes, transports
from sshjobs.settings import Settings
from tests.sshd import Sshd

_RUN = """
import json, sys
from sshjobs import transports
from sshjobs.errors import SshJobsError, dump
from sshjobs.settings import Settings
host, rundir, values, script = json.loads(sys.argv[1])
settings = Settings(**values)
hooks = transports.CallerHooks(rundir)
out = []
try:
    identity = transports.resolve_host(host, settings)
    transport = transports.open_transport(identity, settings, hooks)
    end = transport.run(script, stdin=b"", timeout=30, sink=out.append)
except SshJobsError as error:
    print(dump(error))
    sys.exit(error.exit_status)
sys.stdout.write(b"".join(out).decode())
sys.exit(end.exit_status)
"""


class TransportCaller:
    """Reaches one host from one directory for sockets and locks.

    Args:
        folder: The directory; made 0700 on first use.
        sshd: The server that the host is, or ``None``.
        values: Settings.
    """

    def __init__(self, folder: Path, sshd: Sshd | None, **values: Any) -> None:
        self.folder = folder
        self.host = sshd.alias if sshd else "local"
        config = {"ssh_config": str(sshd.config)} if sshd else {}
        self.values: dict[str, Any] = config | values
        self.counts: Counter[str] = Counter()
        self._known: set[transports.Identity] = set()
        self._open: list[transports.Transport] = []
        self.on_wait: Callable[[], None] = lambda: None
        self.before_handshake: Callable[[], None] = lambda: None

    def __repr__(self) -> str:
        return f"<TransportCaller {self.host} {self.values}>"

    def again(self, **values: Any) -> TransportCaller:
        """Return another caller beside this one, with other settings."""
        other = TransportCaller(self.folder, None, **(self.values | values))
        other.host = self.host
        return other

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return Settings(**self.values)

    @property
    def identity(self) -> transports.Identity:
        """What the host resolves to now."""
        identity = transports.resolve_host(self.host, self.settings)
        self._known.add(identity)
        return identity

    @property
    def socket(self) -> Path:
        """Where the control socket is."""
        return Path(self.identity.socket_path(str(self.folder)))

    @property
    def hooks(self) -> transports.CallerHooks:
        """What is lent to a transport."""
        return transports.CallerHooks(
            str(self.folder),
            before_handshake=lambda: self.before_handshake(),
            count_event=lambda name, count: self.counts.update({name: count}),
            on_wait=lambda: self.on_wait(),
        )

    def connect(self, *, interactive: bool = False) -> transports.Transport:
        """Connect."""
        transport = transports.open_transport(
            self.identity, self.settings, self.hooks, interactive=interactive
        )
        self._open.append(transport)
        return transport

    def run(
        self, script: str, stdin: bytes = b"", timeout: float = 20.0
    ) -> tuple[int | None, bytes]:
        """Connect, run one command, return its exit status and its stdout."""
        pieces: list[bytes] = []
        transport = self.connect()
        try:
            end = transport.run(
                script, stdin=stdin, timeout=timeout, sink=pieces.append
            )
        finally:
            transport.close()
        return end.exit_status, b"".join(pieces)

    def state(self) -> transports.ConnState:
        """Tell what is known of the connection."""
        return transports.read_connection_state(self.identity, self.hooks)

    def disconnect(self, *, drain: bool = False) -> bool:
        """End the connection."""
        return transports.end_connection(
            self.identity, self.settings, self.hooks, drain=drain
        )

    def end_all(self) -> None:
        """End every connection that the host has ever resolved to."""
        for transport in self._open:
            transport.close()
        for identity in self._known:
            if self.folder.is_dir() and self.folder.stat().st_uid == os.geteuid():
                transports.end_connection(
                    identity, self.settings, self.hooks, drain=False
                )

    def process(self, script: str = "true") -> subprocess.Popen[str]:
        """Do what :meth:`run` does in a process of its own."""
        assert self.identity  # so that end_all() knows of it
        text = json.dumps([self.host, str(self.folder), self.values, script])
        return subprocess.Popen(
            [sys.executable, "-c", _RUN, text],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parent.parent,
        )

    def ssh_pids(self) -> list[int]:
        """Return every process that knows of our directory: ours, all of them."""
        found = []
        for name in filter(str.isdigit, os.listdir("/proc")):
            line = _cmdline(name)
            if os.fsencode(self.folder) in line and line.split(b"\0")[0].endswith(
                b"ssh"
            ):
                found.append(int(name))
        return [pid for pid in found if processes.read_start_time(pid) is not None]


def _cmdline(name: str) -> bytes:
    try:
        return Path(f"/proc/{name}/cmdline").read_bytes()
    except OSError:
        return b""
