"""A real Kerberos realm on loopback, thrown away after the test (MIT krb5)."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

REALM = "SSHJOBS.TEST"
_PROGRAMS = ("krb5kdc", "kadmin.local", "kdb5_util", "kinit", "kdestroy")


def find(name: str) -> str:
    """Return the path of a program that may be root's, or ``""``."""
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin"))
    return shutil.which(name, path=path) or ""


def is_here() -> bool:
    """Tell whether this machine can have a realm."""
    return all(map(find, _PROGRAMS))


class Kdc:
    """One realm with its key distribution centre; see :attr:`env` for its clients.

    Args:
        folder: An empty directory for all of it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        (folder / "krb5.conf").write_text(f"""[libdefaults]
    default_realm = {REALM}
    dns_lookup_kdc = false
    dns_canonicalize_hostname = false
    rdns = false
    udp_preference_limit = 1
[realms]
    {REALM} = {{
        kdc = 127.0.0.1:{self._port}
    }}
[domain_realm]
    localhost = {REALM}
""")
        (folder / "kdc.conf").write_text(f"""[kdcdefaults]
    kdc_listen = ""
    kdc_tcp_listen = 127.0.0.1:{self._port}
[realms]
    {REALM} = {{
        database_name = {folder}/principal
        key_stash_file = {folder}/stash
    }}
[logging]
    kdc = FILE:{folder}/kdc.log
""")
        #: What every program of the realm needs in its environment.
        self.env = {"KRB5_CONFIG": str(folder / "krb5.conf")}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Kdc:
        self._run("kdb5_util", "create", "-s", "-P", "master")
        env = os.environ | self.env | {"KRB5_KDC_PROFILE": str(self.folder)}
        self._process = subprocess.Popen(
            [find("krb5kdc"), "-n"],
            env=env | {"KRB5_KDC_PROFILE": str(self.folder / "kdc.conf")},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        end = time.monotonic() + 10
        while not self._answers():
            assert time.monotonic() < end, "no KDC"
            time.sleep(0.02)
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self._port), 1).close()
        except OSError:
            return False
        return True

    def _run(self, name: str, *words: str, stdin: bytes = b"") -> None:
        env = os.environ | self.env
        env["KRB5_KDC_PROFILE"] = str(self.folder / "kdc.conf")
        subprocess.run(
            [find(name), *words], input=stdin, env=env, check=True, capture_output=True
        )

    def add_user(self, name: str, password: str) -> None:
        """Make a principal for a person."""
        self._run("kadmin.local", "addprinc", "-pw", password, name)

    def keytab(self, service: str) -> Path:
        """Make a principal for a service; return the file with its key."""
        path = self.folder / "keytab"
        self._run("kadmin.local", "addprinc", "-randkey", service)
        self._run("kadmin.local", "ktadd", "-k", str(path), service)
        return path

    def kinit(self, name: str, password: str, cache: str) -> None:
        """Get a ticket, as a person does."""
        self._run("kinit", "-c", cache, name, stdin=f"{password}\n".encode())
