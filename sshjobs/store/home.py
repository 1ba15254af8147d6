"""Where the store lies: its directory, the machine that it is of, its file system."""

from __future__ import annotations

import os

from ..errors import SpecError
from ..owned import check_dir, close_to_others, make_private

#: File systems on which flock and the memory that WAL shares are not to be relied on.
#: Source: sqlite.org/wal.html, "all processes must be on the same host"; flock(2).
NETWORK_TYPES = frozenset(
    "nfs nfs4 cifs smb2 smb3 smbfs 9p afs ceph lustre gpfs beegfs fuse.sshfs "
    "fuse.glusterfs fuse.s3fs fuse.rclone".split()
)


def default_home(environ: dict[str, str]) -> str:
    """Return where this machine's store is.

    It is found from the password file, not from HOME, so that a login shell,
    cron and ``sudo -u`` meet at one place; and it names the machine, so that two
    machines that share a home directory do not.

    Raises:
        SpecError: ``SSHJOBS_HOME`` is not an absolute path, or is not given and
            nothing else says where it would be.
    """
    given = environ.get("SSHJOBS_HOME")
    if given:
        if not os.path.isabs(given):
            raise SpecError(f"SSHJOBS_HOME is not an absolute path: {given!r}")
        return given
    home = login_home()
    if not home:
        raise SpecError(
            f"uid {os.geteuid()} has no entry in the password file, which says where "
            "your home is: set SSHJOBS_HOME to a directory of your own"
        )
    return os.path.join(home, ".local", "state", "sshjobs", name_machine())


def login_home() -> str:
    """Return our home as the password file has it, "" for a made-up uid."""
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError:
        return ""


def name_machine() -> str:
    """Return a short name of this machine: its id, or its host name."""
    # machine-id(5) outlives a reboot and a change of the host name; a container may
    # have none.
    for path in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        try:
            with open(path, encoding="ascii") as file:
                text = file.read().strip()
        except (OSError, ValueError):
            continue
        if text:
            return text[:12]
    return os.uname().nodename


def make_home(path: str) -> None:
    """Make the directory, or take one that is there; an empty one is only ours then.

    A directory in use for something else stays as it is: /tmp must not become private.
    Others may look into it, since our files and directories in it are ours alone, but
    not write there.

    Raises:
        StoreError: it is not ours, or others can write there.
    """
    if make_private(path):
        return
    # lstat(2), not stat(2): another user may have put a link there, to a place of ours.
    is_ours = os.lstat(path).st_uid == os.geteuid() and not os.path.islink(path)
    if is_ours and os.path.isdir(path) and not os.listdir(path):
        close_to_others(path)
    check_dir(path)


def own_folder(path: str) -> None:
    """Have a directory of ours."""
    try:
        check_dir(path)
    except FileNotFoundError:
        make_private(path)
        check_dir(path)


def describe_network(home: str) -> str:
    """Return a warning for a directory on a network file system, else ""."""
    kind = on_network(home)
    if not kind:
        return ""
    return (
        f"{home} lies on a network file system ({kind}): locks and SQLite's WAL want a "
        "local disk; let SSHJOBS_HOME name one"
    )


def on_network(path: str) -> str:
    """Return the type of the network file system that a path is on, else ""."""
    kind = mount_type(path)
    return kind if kind in NETWORK_TYPES else ""


def mount_type(path: str, mounts: str = "/proc/self/mounts") -> str:
    """Return the type of the file system that a path is on, "" if that is not known.

    Source: fstab(5), the format of /proc/self/mounts; the last one mounted counts.
    """
    best, kind, real = "", "", os.path.realpath(path) + "/"
    try:
        with open(mounts, encoding="utf-8", errors="surrogateescape") as file:
            for line in file:
                where, found = (line.split(" ") + ["", ""])[1:3]
                where = where.replace("\\040", " ").rstrip("/") + "/"
                if real.startswith(where) and len(where) >= len(best):
                    best, kind = where, found
    except OSError:  # no Linux
        return ""
    return kind
