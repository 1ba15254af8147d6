"""Files of ours on this machine: opened only if they are ours.

A record of another user could name programs, options of ssh and bytes for ``marshal``,
which is as good as running that user's programs. So every directory that we keep things
in is looked at whenever a store is opened, and every file as it is opened: a regular
file or a directory, no symbolic link, of our effective uid, and not writable by others.
In a directory that passes, nobody else can put anything, so that the files SQLite opens
by itself (the database, its WAL) need no more than a look before.
"""

from __future__ import annotations

import errno
import os

from .errors import StoreError, add_hint, find_hint

# Octal, as stat(2) has them: the module of that name is one file more at each start.
_TYPE, _DIR, _REGULAR, _LINK = 0o170000, 0o040000, 0o100000, 0o120000
_OTHERS_WRITE = 0o022
_STICKY = 0o1000

#: A link is not followed, and a FIFO makes nobody wait for its other end.
_SAFE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

#: The errors of open(2) for a symbolic link (EMLINK: FreeBSD) and for no file.
_ODD = frozenset((errno.ELOOP, errno.EMLINK, errno.ENXIO, errno.EISDIR))


def open_owned(path: str, flags: int, mode: int = 0o600) -> int:
    """Open a file of ours; return its descriptor, which no child inherits.

    Raises:
        StoreError: it is a link, no regular file, somebody else's, or others can
            write to it.
        OSError: as of open(2) otherwise, ``FileNotFoundError`` among them.
    """
    try:
        # Opened first, then looked at by its descriptor: between a look at a path and
        # its open another file may take the name.
        fd = os.open(path, flags | _SAFE, mode)
    except OSError as error:
        if error.errno in _ODD:
            check_file(path)
        raise
    try:
        # fstat(2) is about the very file that is open, whatever the path names by now.
        _check(path, os.fstat(fd), _REGULAR)
    except BaseException:
        os.close(fd)
        raise
    return fd


def check_file(path: str) -> None:
    """Refuse a path at which something lies that is no file of ours.

    Raises:
        StoreError: see :func:`open_owned`.
    """
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    _check(path, found, _REGULAR)


def check_dir(path: str, *, private: bool = False) -> None:
    """Refuse anything but a directory of ours.

    Args:
        private: Others may not even look into it.

    Raises:
        StoreError: a link, no directory, somebody else's, or open to others.
        FileNotFoundError: there is nothing.
    """
    found = os.lstat(path)
    _check(path, found, _DIR)
    if private and found.st_mode & 0o077:
        raise _make_error(f"{path}: open to others", "here:private")


def check_way(path: str) -> None:
    """Refuse a path whose last steps others could change under our feet.

    Raises:
        StoreError: anybody can rename the files of a directory on the way.
    """
    # The right to rename an entry is that to write to its directory, the sticky bit
    # apart (unlink(2), EPERM).
    folder = os.path.dirname(os.path.realpath(path))
    while True:
        mode = os.stat(folder).st_mode
        if mode & 0o002 and not mode & _STICKY:
            text = f"{path}: anybody can replace it, since {folder} is open to all"
            raise _make_error(text, "here:way", folder=folder)
        if folder == "/":
            return
        folder = os.path.dirname(folder)


def make_private(path: str) -> bool:
    """Make a directory and its missing parents, all 0700; tell if it was made.

    ``os.makedirs`` gives its mode to the last one only, and the umask counts.
    """
    # mkdir(2) makes one or fails: of two processes one hears that it was there.
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        return False
    except FileNotFoundError:
        parent = os.path.dirname(path)
        if parent == path:
            raise
        make_private(parent)
        return make_private(path)
    if os.stat(path).st_mode & 0o777 != 0o700:  # a umask that takes even ours
        os.chmod(path, 0o700)
    return True


def close_to_others(path: str) -> None:
    """Make a directory of ours 0700; leave anything else as it is."""
    # By descriptor: chmod of a path would follow a link that has just been put there.
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | _SAFE)
    try:
        if os.fstat(fd).st_uid == os.geteuid():
            os.fchmod(fd, 0o700)
    finally:
        os.close(fd)


def check_config(path: str, fd: int) -> None:
    """Refuse a config file that others could write; it may name programs.

    It may be root's, and a link may lead to it: where it is, its owner has said.

    Raises:
        StoreError: it is somebody else's, or others can write to it.
    """
    found = os.fstat(fd)
    # Root could do as it likes without us; any other user could not.
    if found.st_uid not in (0, os.geteuid()):
        raise _make_error(
            f"{path}: belongs to {_who(found.st_uid)}, not to {_who(os.geteuid())}, "
            "and it may name programs to run",
            "here:config owner",
        )
    # /dev/null, which turns the file off, is open to all and no regular file.
    if found.st_mode & _OTHERS_WRITE and found.st_mode & _TYPE == _REGULAR:
        text = f"{path}: others can write to it, and it may name programs to run"
        raise _make_error(text, "here:config", path=path)


def _check(path: str, found: os.stat_result, kind: int) -> None:
    if (
        found.st_mode & _TYPE == kind
        and found.st_uid == os.geteuid()
        and not found.st_mode & _OTHERS_WRITE
    ):
        return
    raise _make_error(*_name_fault(path, found, kind))


def _make_error(text: str, code: str, **facts: object) -> StoreError:
    return add_hint(StoreError(text), find_hint(code, **facts))


def _name_fault(path: str, found: os.stat_result, kind: int) -> tuple[str, str]:
    """Return the fault of a path, and the code of its remedy."""
    what = found.st_mode & _TYPE
    if what == _LINK:
        to = os.path.realpath(path)
        return f"{path}: a symbolic link to {to}, and none is followed", "here:link"
    if what != kind:
        name = "directory" if kind == _DIR else "regular file"
        return f"{path}: not a {name}", "here:odd"
    if found.st_uid != os.geteuid():
        owner, us = _who(found.st_uid), _who(os.geteuid())
        text = f"{path}: belongs to {owner}, not to {us}, who may be using it"
        return text, "here:owner"
    text = f"{path}: others can write there"
    return text, "here:directory" if kind == _DIR else "here:file"


def _who(uid: int) -> str:
    import pwd

    try:
        return f"uid {uid} ({pwd.getpwuid(uid).pw_name})"
    except KeyError:
        return f"uid {uid}"
