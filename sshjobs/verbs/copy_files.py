"""Copies files to a host and back, over the connection that all share.

Theory of operation: one session asks the host where the files are to go, or which files
are meant; a second one is that of rsync, where both sides have it, else of the system's
sftp. Names travel as data: no shell here or there reads one. Of a host only the
contents of files are taken: links are followed there, so that none is made here, and a
name that no pattern of the call means is refused before the copy begins.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from contextlib import suppress

from ..errors import CopyFailed, SpecError
from ..host_names import check_host
from ..owned import make_private
from ..protocol import files
from ..protocol.files import FilesAnswer, Found
from ..quoting import quote_for_sftp
from ..startup.records import Record
from ..transports.env import find_program
from .context import Context
from .copy_question import ask_about_files
from .copy_ride import RideWish
from .copy_tools import CopyTool, find_rsync

#: From here on sftp's progress was seen to escape names for a terminal.
_CLEANS_NAMES = (9, 2)


class Copied(Record):
    """One file or directory that is there now; a directory with all in it."""

    source: str
    target: str


def put_files(
    ctx: Context,
    host: str,
    sources: Sequence[str],
    target: str,
    *,
    shows: bool = False,
) -> list[Copied]:
    """Copy files and directories of this machine to a host.

    Args:
        target: A directory, which is made if it ends with a slash; or the new name of
            the one source. It is relative to the login directory.
        shows: Whether progress is shown on standard error, a terminal.

    Raises:
        SpecError: a source is not there, or two have one name; nothing was done.
        CopyFailed: some or all were not copied.
        HostUnreachable, SessionRefused, ConnectionLost: the host could not be asked,
            or no longer; run again, the copy goes on.
    """
    _check_host(host, target)
    _refuse_empty(target, "DEST")
    named = [_name_source(source) for source in sources]
    _refuse_doubles([name for _, name in named])
    place, is_new, has_rsync = _find_place(ctx, host, target, len(named))
    rsync = find_rsync(receives=False) if has_rsync else ""
    there = place if is_new else place + b"/"
    copy = _prepare_copy(ctx, host, bool(rsync), shows, os.fsdecode(there))
    if rsync:
        # The contents of a directory go into one of another name.
        slash = b"/" * (is_new and os.path.isdir(named[0][0]))
        copy.rsync(rsync, [_encode_local(path) + slash for path, _ in named], "host:/")
    else:
        lines = [
            b"put -r %s %s"
            % (quote_for_sftp(_encode_local(path)), quote_for_sftp(there))
            for path, _ in named
        ]
        copy.sftp(_find_sftp(host), lines)
    return [
        Copied(source, os.fsdecode(place if is_new else there + name))
        for source, name in named
    ]


def get_files(
    ctx: Context,
    host: str,
    patterns: Sequence[str],
    target: str = ".",
    *,
    base: str = "",
    shows: bool = False,
) -> list[Copied]:
    """Copy files and directories of a host to this machine.

    Args:
        patterns: Paths and patterns as of a shell, which the host expands.
        target: A directory, which is made if it ends with a slash; or the new name of
            the one file that is meant.
        base: The directory there that the patterns are relative to; "" is the login
            directory.

    Raises:
        SpecError, CopyFailed and others: see :func:`put_files`.
    """
    _check_host(host, base)
    for word, name in [*((pattern, "FILE") for pattern in patterns), (target, "DEST")]:
        _refuse_empty(word, name)
    wanted = [_encode_path(pattern.rstrip("/") or "/") for pattern in patterns]
    for pattern in wanted:
        if pattern.rpartition(b"/")[2] in (b"", b".", b"..", b"~"):
            raise SpecError(
                f"{os.fsdecode(pattern)}: a directory is copied under its own name: "
                "say it by that, or its contents with a pattern (*)"
            )
    there = _encode_path(base)
    answer = ask_about_files(
        ctx,
        host,
        lambda nonce: files.build_files_question(there, wanted, nonce),
        wanted,
    )
    found = _check_found(host, base, answer, wanted)
    _refuse_doubles([file.name for file in found])
    is_new = _choose_target(target, len(found))
    return _bring_files(ctx, host, answer, found, target, is_new, shows)


def _bring_files(
    ctx: Context,
    host: str,
    answer: FilesAnswer,
    found: list[Found],
    target: str,
    is_new: bool,
    shows: bool,
) -> list[Copied]:
    folder = target
    if is_new:  # rsync takes a directory: the file comes home beside its new name
        if found[0].kind == "d" and os.path.lexists(target):
            name = os.fsdecode(found[0].name)
            raise SpecError(f"{target}: is no directory, and {name} is one")
        folder = _make_part_folder(target)
    rsync = find_rsync(receives=True) if answer.has_rsync else ""
    copy = _prepare_copy(ctx, host, bool(rsync), shows)
    if rsync:
        copy.rsync(
            rsync, [b"host:/"], os.path.join(os.path.abspath(folder), ""), found=found
        )
    else:
        here = quote_for_sftp(os.fsencode(os.path.join(os.path.abspath(folder), "")))
        lines = [b"get -r %s %s" % (quote_for_sftp(file.path), here) for file in found]
        copy.sftp(_find_sftp(host), lines)
    copied = []
    for file in found:
        path = os.path.join(folder, os.fsdecode(file.name))
        if not os.path.lexists(path):
            raise CopyFailed(host, f"{os.fsdecode(file.path)}: did not arrive")
        if is_new:
            os.replace(path, target)
            with suppress(OSError):  # half of another file, which was broken off
                os.rmdir(folder)
            path = target
        copied.append(Copied(os.fsdecode(file.path), path))
    return copied


def _make_part_folder(target: str) -> str:
    """Make the directory that a file comes into before it has its new name."""
    parent, name = os.path.split(os.path.abspath(target))
    folder = os.path.join(parent, f".{name}.part")
    if not make_private(folder):
        # In /tmp it may be somebody else's, or a link that leads to files of ours.
        found = os.lstat(folder)
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            raise SpecError(
                f"{folder}: is no directory of yours: look at it, then move it away, "
                "or give DEST another name"
            )
    return folder


def _check_host(host: str, folder: str) -> None:
    """Refuse a host to which no connection leads, this machine among them."""
    if host == "local":
        place = f"in {folder}" if folder else "below your home directory"
        raise SpecError(
            f"local is this machine: its files are here, {place}; cp copies them"
        )
    check_host(host)


def _prepare_copy(
    ctx: Context, host: str, by_rsync: bool, shows: bool, place: str = ""
) -> CopyTool:
    """Return the run of a tool; an older sftp would print names as they are."""
    if shows and not by_rsync:
        shows = ctx.identity(host, ctx.settings(host)).version >= _CLEANS_NAMES
    tool = "rsync" if by_rsync else "sftp"
    return CopyTool(RideWish(host, ctx.flags, tool, place), shows)


def _encode_path(path: str) -> bytes:
    """Return a path as its bytes on a host."""
    if "\0" in path or not isinstance(path, str):
        raise SpecError("a NUL byte cannot stand in a path")
    return os.fsencode(path)


def _encode_local(path: str) -> bytes:
    """Return a path that rsync and sftp take for one of this machine and no flag."""
    return os.fsencode(path if path.startswith("/") else f"./{path}")


def _refuse_empty(word: str, name: str) -> None:
    if not word or "\0" in word:
        raise SpecError(f"{name} is empty, as of a variable that was not set")


def _name_source(source: str) -> tuple[str, bytes]:
    """Return the path of a source and its name on the host."""
    _refuse_empty(source, "FILE")
    path = source.rstrip("/") or "/"
    if not os.path.exists(path):
        raise SpecError(f"{source}: no such file or directory on this machine")
    if not os.path.isfile(path) and not os.path.isdir(path):
        raise SpecError(f"{source}: {_KINDS['o']}, and is not copied")
    name = os.path.basename(path)
    if name in ("", ".", ".."):
        name = os.path.basename(os.path.realpath(path))
        path = os.path.realpath(path)
    if not name:
        raise SpecError(f"{source}: a whole file system cannot be copied")
    return path, os.fsencode(name)


def _refuse_doubles(names: Sequence[bytes]) -> None:
    for number, name in enumerate(names):
        if name in names[:number]:
            raise SpecError(
                f"two files are called {os.fsdecode(name)}: copy them one by one, each "
                "into a directory of its own"
            )


def _find_place(
    ctx: Context, host: str, target: str, count: int
) -> tuple[bytes, bool, bool]:
    """Ask for the place of so many files on a host.

    Returns:
        Its path, whether it is that of the one file, and whether rsync is there.
    """
    path = _encode_path(target.rstrip("/") or target[:1])
    answer = ask_about_files(
        ctx,
        host,
        lambda nonce: files.build_place_question(path, target.endswith("/"), nonce),
    )
    fault = ""
    if answer.base == "p":
        fault = "permission denied"
    elif answer.base != "d" and target.endswith("/"):
        fault = "is no directory, and none could be made there"
    elif not answer.path.startswith(b"/"):
        fault = "there is no directory to hold it (a / at its end has it made)"
    elif answer.base != "d" and count > 1:
        fault = "is no directory (a / at its end has it made)"
    elif b"\n" in answer.path:
        fault = "the path has a newline, which no login shell takes"
    if fault:
        raise CopyFailed(host, f"{target}: {fault}")
    is_new = answer.base != "d"
    return answer.path if is_new else answer.path.rstrip(b"/"), is_new, answer.has_rsync


def _choose_target(target: str, count: int) -> bool:
    """Make the directory that a target ends with; tell whether it is a new name."""
    if target.endswith("/"):
        with suppress(FileExistsError, NotADirectoryError):
            os.makedirs(target, exist_ok=True)
    if os.path.isdir(target):
        return False
    if count > 1:
        raise SpecError(
            f"{target}: is no directory, and {count} files are meant "
            "(a / at its end has it made)"
        )
    if not os.path.isdir(os.path.dirname(target) or "."):
        raise SpecError(f"{target}: there is no directory to hold it")
    return True


_KINDS = {
    "n": "no such file or directory",
    "p": "permission denied",
    "o": "is no file and no directory",
}


def _check_found(
    host: str, base: str, answer: FilesAnswer, patterns: Sequence[bytes]
) -> list[Found]:
    """Return the files, if each pattern means one that can be copied."""
    if answer.base != "in":
        why = "is gone" if answer.base == "gone" else "permission denied"
        raise CopyFailed(
            host, f"{os.fsdecode(answer.path)}: {why} (the directory {base or '~'})"
        )
    for file in answer.files:
        if file.kind in _KINDS:
            text = os.fsdecode(patterns[file.pattern])
            raise CopyFailed(
                host, f"{text}: {_KINDS[file.kind]}, below {os.fsdecode(answer.path)}"
            )
    # Two patterns may mean one file.
    return list({file.path: file for file in answer.files}.values())


def _find_sftp(host: str) -> str:
    path = find_program("sftp")
    if not path:
        raise CopyFailed(host, "there is no rsync on both sides, and no sftp here")
    return path
