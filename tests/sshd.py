"""A real sshd on loopback, thrown away after the test, that counts what it sees."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

#: Where sshd is on Debian, Fedora, macOS and the BSDs; it wants an absolute path.
_PLACES = ("/usr/sbin/sshd", "/usr/bin/sshd", "/usr/local/sbin/sshd", "/sbin/sshd")


def sshd_path() -> str:
    """Return the path of sshd, or ``""`` where there is none."""
    named = os.environ.get("SSHJOBS_TEST_SSHD", "")
    for path in (named, *_PLACES):
        if path and os.access(path, os.X_OK):
            return path
    return ""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _keygen(path: Path) -> None:
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(path)],
        check=True,
        stdin=subprocess.DEVNULL,
    )


class Sshd:
    """One sshd with its own keys, config, port and log, and a client config for it.

    Args:
        folder: An empty directory for all of it; its path must be open to ``user``.
        user: Who logs in; an ordinary sshd serves only the user that runs it.
        options: sshd_config keywords and their values, e.g. ``MaxSessions=1``; and
            ``program``, if it is to be run by another name.

    Attributes:
        config: An ssh_config with the alias ``box`` for this server.
        alias: That alias.
    """

    def __init__(self, folder: Path, user: str = "", **options: Any) -> None:
        self.folder = folder
        self.user = user or pwd.getpwuid(os.geteuid()).pw_name
        self.alias = "box"
        self.port = _free_port()
        self.log = folder / "sshd.log"
        self._stderr = folder / "sshd.stderr"
        self.config = folder / "ssh_config"
        self.key = folder / "id"
        self.program = str(options.pop("program", "") or sshd_path())
        #: Words before those that start it, as of a program that changes its world.
        self.prefix: list[str] = options.pop("prefix", [])
        self.options = options
        self._process: subprocess.Popen[bytes] | None = None
        _keygen(folder / "host")
        _keygen(self.key)
        authorized = folder / "authorized_keys"
        shutil.copy(self.key.with_suffix(".pub"), authorized)
        authorized.chmod(0o644)
        self.known_hosts = folder / "known_hosts"
        self._know_host()
        self.log.touch()
        self.write_client_config()

    def __repr__(self) -> str:
        return f"<Sshd 127.0.0.1:{self.port} {self.options}>"

    def _know_host(self) -> None:
        key = (self.folder / "host.pub").read_text()
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {key}")

    def new_host_key(self) -> None:
        """Give the server another host key; the client goes on knowing the old one."""
        for name in ("host", "host.pub"):
            (self.folder / name).unlink()
        _keygen(self.folder / "host")

    def write_client_config(self, *lines: str, before: str = "") -> Path:
        """Write the ssh_config anew, with further lines for the alias."""
        text = f"""{before}
Host {self.alias}
    HostName 127.0.0.1
    Port {self.port}
    User {self.user}
    IdentityFile {self.key}
    IdentitiesOnly yes
    UserKnownHostsFile {self.known_hosts}
    GlobalKnownHostsFile /dev/null
    StrictHostKeyChecking yes
"""
        self.config.write_text(text + "".join(f"    {line}\n" for line in lines))
        return self.config

    def _server_config(self) -> Path:
        settings: dict[str, Any] = {
            "Port": self.port,
            "ListenAddress": "127.0.0.1",
            "HostKey": self.folder / "host",
            "PidFile": self.folder / "sshd.pid",
            "AuthorizedKeysFile": self.folder / "authorized_keys",
            "StrictModes": "no",
            # Without PAM a user whose password is locked ("!") cannot log in at all.
            "UsePAM": "yes" if os.geteuid() == 0 else "no",
            "PasswordAuthentication": "no",
            "KbdInteractiveAuthentication": "no",
            "PrintMotd": "no",
            "LogLevel": "DEBUG1",
            "PermitRootLogin": "yes",
            "AllowUsers": self.user,
            **self._own_home(),
        } | self.options
        path = self.folder / "sshd_config"
        path.write_text(
            "".join(f"{name} {value}\n" for name, value in settings.items())
        )
        return path

    def _own_home(self) -> dict[str, str]:
        """Return an empty home for a login as ourselves: our ~/.bashrc may say much."""
        if pwd.getpwnam(self.user).pw_uid != os.geteuid():
            return {}
        (self.folder / "login").mkdir(exist_ok=True)
        return {"SetEnv": f"HOME={self.folder}/login"}

    def start(self) -> Sshd:
        """Start it and wait until its log says that it listens."""
        if os.geteuid() == 0:
            os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
        before = self._count("Server listening on ")
        with open(self._stderr, "ab") as stderr:
            self._process = subprocess.Popen(
                [
                    *self.prefix,
                    self.program,
                    "-D",
                    "-f",
                    self._server_config(),
                    "-E",
                    self.log,
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # who reads ours would wait for its end
                stderr=stderr,
                start_new_session=True,
            )
        try:
            self.wait_for("Server listening on ", before + 1)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop the listener; connections that are open live on, as with a real one."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:  # stopped by somebody, say
                self._process.kill()
                self._process.wait()
            self._process = None

    def restart(self, **options: Any) -> None:
        """Stop it, change options, start it again on the same port."""
        self.stop()
        self.options |= options
        self.start()

    def close(self) -> None:
        """Stop it and end every connection that it still serves."""
        self.stop()
        for pid in self.session_pids():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    def __enter__(self) -> Sshd:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def session_pids(self) -> list[int]:
        """Return the processes of this server that serve a connection."""
        pids = re.findall(r"(?:Forked child|User child is on pid) (\d+)", self.text)
        return [int(pid) for pid in pids if _is_sshd(int(pid), self._stderr)]

    def owns(self, pid: int) -> bool:
        """Tell whether a process is its listener."""
        return self._process is not None and self._process.pid == pid

    @property
    def text(self) -> str:
        """The log so far."""
        return self.log.read_text(errors="replace")

    def _count(self, words: str) -> int:
        return self.text.count(words)

    def wait_for(self, words: str, times: int = 1, seconds: float = 10.0) -> None:
        """Wait until the log has had these words that often."""
        end = time.monotonic() + seconds
        while self._count(words) < times:
            assert time.monotonic() < end, f"no {words!r} x {times} in:\n{self.text}"
            time.sleep(0.01)

    @property
    def connections(self) -> int:
        """How many TCP connections it has accepted and looked at."""
        return self._count("Connection from ")

    @property
    def logins(self) -> int:
        """How many of them have authenticated."""
        return self._count("Accepted publickey for ")

    @property
    def drops(self) -> int:
        """How many connections it has dropped at the door (MaxStartups, penalties)."""
        return self._count("drop connection ")

    @property
    def sessions(self) -> int:
        """How many commands it has started."""
        return self._count("Starting session: ")


def _is_sshd(pid: int, stderr: Path) -> bool:
    """Tell whether a process is of the sshd with this standard error.

    Its number alone says little: numbers come round again within minutes on a busy
    machine, and other tests have an sshd as well.
    """
    place = Path(f"/proc/{pid}")
    try:
        return b"sshd" in (place / "cmdline").read_bytes() and _is_at(place, stderr)
    except OSError:
        return False


def _is_at(place: Path, stderr: Path) -> bool:
    try:
        return os.readlink(place / "fd" / "2") == str(stderr)
    except PermissionError:  # an sshd that is not root's hides that from its user
        return True
