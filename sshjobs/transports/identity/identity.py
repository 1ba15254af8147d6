"""Which connection a host name means, and where its socket and locks are.

Two names share a connection when ``ssh -G`` resolves both to the same values and
they are read from the same configuration; nothing else makes them one.
"""

from __future__ import annotations

import os

from ...errors import StoreError, add_hint, find_hint, of_system
from ...model import pack, unpack
from ...owned import check_dir, make_private
from ...startup.records import Record
from ..env import find_program

#: A socket's path is at most 90 bytes long: ssh adds 17 while it binds, and 107 is
#: what sockaddr_un holds (seen with OpenSSH 9.2, 10.5).
MAX_SOCKET = 90
_SOCKET = "s."
KEY_LENGTH = 16

#: How many fields an identity has had in each version; all but the last two of them
#: are what they were.
_OLDEST = 14


class Identity(Record):
    """One connection of this machine: where it leads, and the files that say so.

    ``key`` names it in files and in the store. ``host`` is the user's word,
    ``target`` the word that ssh is given for it; it is empty for this machine.
    ``first_hop`` names the first jump host together with the configuration, or is
    empty. ``files`` are (path, mtime_ns, size) of each file that was read to find this
    out, or would be read if it existed, and of ``ssh`` itself; where there is no
    ``ssh`` its path is empty. ``keys``, ``agents`` and ``gssapi`` (whether Kerberos
    may be used) are the sources of :mod:`.credentials`, those of jump hosts with
    them. ``env`` names the variables of the environment that the configuration uses.
    ``times`` are the configuration's ConnectTimeout, that of the last jump
    host, ServerAliveInterval and ServerAliveCountMax, 0 where it says nothing.
    ``ciphers`` are those of the configuration in an order that is faster here, empty
    where that has an order of its own.
    """

    key: str
    host: str
    target: str
    hostname: str
    user: str
    port: int
    jump: str = ""
    first_hop: str = ""
    config: str = ""
    options: tuple[str, ...] = ()
    ssh: str = ""
    version: tuple[int, int] = (0, 0)
    files: tuple[tuple[str, int, int], ...] = ()
    cacheable: bool = True
    keys: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()
    gssapi: bool = False
    env: tuple[str, ...] = ()
    times: tuple[int, int, int, int] = (0, 0, 0, 0)
    ciphers: str = ""

    @property
    def is_local(self) -> bool:
        """Tell whether this is the machine that we are on, reached without ssh."""
        return not self.target

    def socket_path(self, folder: str) -> str:
        """Return where the control socket is."""
        return os.path.join(folder, _SOCKET + self.key)

    def to_bytes(self) -> bytes:
        """Write it down, for the store to keep."""
        return pack(tuple(self))

    @classmethod
    def from_bytes(cls, data: bytes) -> Identity:
        """Read a record that :meth:`to_bytes` wrote.

        A record of a version with other fields becomes an identity that is not fresh.
        The program is the one that PATH leads to now: no path out of a record is run.
        """
        try:
            values = unpack(data)
        except ValueError:
            values = ()
        if not isinstance(values, tuple) or len(values) < _OLDEST:
            values = ("", "", "", "", "", 0)
        # Records of schema 4 and before have a flag there: a proxy is on the way.
        if any(value is True or value is False for value in values[8:9]):
            values = values[:8] + values[9:]
        whole = len(values) == len(cls._fields)
        found = cls(*values if whole else values[: _OLDEST - 2])
        if any(type(value) is not kind for value, kind in zip(found, _KINDS)):
            found = cls("", "", "", "", "", 0, cacheable=False)
        ssh = find_program("ssh") if found.target else ""
        if whole and ssh == found.ssh:
            return found
        return found._replace(ssh=ssh, cacheable=False)

    def is_fresh(self) -> bool:
        """Tell whether resolving again would give the same; one stat a file."""
        if self.target and not self.ssh and find_program("ssh"):
            return False  # it was found out without an ssh, and here is one
        return self.cacheable and all(
            stat_file(entry[0]) == entry for entry in self.files
        )


_KINDS = tuple(type(value) for value in Identity("", "", "", "", "", 0))


def local_identity() -> Identity:
    import hashlib

    key = hashlib.sha256(b"local").hexdigest()[:KEY_LENGTH]
    return Identity(key, "local", "", os.uname().nodename, str(os.geteuid()), 0)


def stat_file(path: str) -> tuple[str, int, int]:
    """Return the path with its time of change and size; zeros if it is not there."""
    try:
        found = os.stat(path)
    except OSError:
        return (path, 0, -1)
    return (path, found.st_mtime_ns, found.st_size)


def choose_rundir(home: str) -> str:
    """Return the directory for sockets, locks and logs of the store at ``home``.

    It is below ``home`` where a socket's path fits there, else below /tmp, not in
    TMPDIR, so that a login shell and cron meet in one place.
    """
    near = os.path.join(home, "run")
    longest = len(os.fsencode(near)) + len(f"/{_SOCKET}") + KEY_LENGTH
    if longest <= MAX_SOCKET:
        return near
    import hashlib

    digest = hashlib.sha256(os.fsencode(os.path.realpath(home))).hexdigest()[:12]
    return f"/tmp/sshjobs-{os.geteuid()}/{digest}"


def check_rundir(path: str) -> None:
    """Make the directory if it is missing, and refuse it unless it is only ours.

    The ssh client does not look at a socket's owner: a user with a right to write
    here could take over every session (OpenSSH 9.2 and 10.5).

    Raises:
        StoreError: a symbolic link, somebody else's, or open to others.
    """
    if len(os.fsencode(path)) > MAX_SOCKET - len(f"/{_SOCKET}") - KEY_LENGTH:
        long = StoreError(f"{path}: too long for the path of a socket")
        raise add_hint(long, find_hint("here:socket path"))
    try:
        parent = os.path.dirname(path)
        if os.path.basename(parent) == f"sshjobs-{os.geteuid()}":
            _own_folder(parent)
        _own_folder(path)
    except OSError as error:
        raise of_system(path, error) from error


def _own_folder(path: str) -> None:
    make_private(path)
    check_dir(path, private=True)
