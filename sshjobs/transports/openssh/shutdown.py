"""Ends connections: the one that is alive, and what is left of older ones."""

from __future__ import annotations

import os
import stat
import time
from contextlib import closing

from ...errors import StoreError
from ...settings import Settings
from .. import process
from ..base import CallerHooks
from ..gate import GateLost, clear_hop, passage, pause, seam, unlink
from ..identity.identity import Identity, check_rundir
from .client import order
from .master import PATIENCE, LiveMaster, probe, record, record_path, recorded
from .mux import MuxError

#: Seconds after which a log is nobody's any more; far beyond any session.
_LEFT = 86400.0

#: How often processes are listed at most, should one of them not die of SIGKILL.
_LOOKS = 5


def log_prefix(identity: Identity, folder: str) -> str:
    """Return what the paths of a connection's logs begin with.

    A log is also an argument of each ssh that writes to it, with the generation of
    the gate under which it was started at its end: so each can be found and told
    from those of another holder.
    """
    return os.path.join(folder, f"log.{identity.key}.")


def clear(identity: Identity, hooks: CallerHooks) -> bool:
    """End what is left of an older master; tell whether there was something.

    A process that does not answer, one whose socket is gone, one whose starter was
    killed before it wrote anything down: each has a log of ours as an argument.
    """
    folder = hooks.rundir
    logs = log_prefix(identity, folder)
    found = [process.end(*recorded(identity, folder)[:2])]
    # Again until there is none: one may have gone to the background meanwhile.
    for _ in range(_LOOKS):
        carriers = process.carriers(logs)
        found += [process.end(pid, start) for pid, start in carriers]
        if not carriers:
            break
    note = record_path(identity, folder)
    for path in (identity.socket_path(folder), f"{note}.new", note):
        hooks.on_wait()  # whoever has overtaken us may have a live socket there by now
        _remove(path)
    _sweep(folder, (f"{identity.socket_path(folder)}.", logs), age=_LEFT)
    _drop_unborn(f"{identity.socket_path(folder)}.")
    return any(found)


def _drop_unborn(prefix: str) -> None:
    """Remove sockets that never got their name.

    A master binds PATH.<16 random> and links it to PATH (OpenSSH 5.4 to 10.5, mux.c);
    one that was killed in between leaves it. Who may start one is here.
    """
    with os.scandir(os.path.dirname(prefix)) as entries:
        for entry in entries:
            if entry.path.startswith(prefix) and _is_socket(entry):
                unlink(entry.path)


def _is_socket(entry: os.DirEntry[str]) -> bool:
    try:
        return stat.S_ISSOCK(entry.stat(follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


def _remove(path: str) -> None:
    try:
        unlink(path)
    except OSError as error:
        raise StoreError(
            f"{path}: in the way of the control socket, and cannot be removed: "
            f"{error.strerror}"
        ) from error


def _sweep(folder: str, prefixes: tuple[str, ...], *, age: float) -> None:
    """Remove what sessions and handshakes have left so many seconds ago."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.path.startswith(prefixes) and _age(entry) >= age:
                unlink(entry.path)


def _tidy(identity: Identity, folder: str) -> None:
    """Remove the logs of a connection that has ended; see :class:`~.client.ByClient`.

    The log of a session is its process's own, which may be about to read it.
    """
    _sweep(folder, (log_prefix(identity, folder),), age=0.0)
    session = f"{os.path.basename(identity.socket_path(folder))}."
    for name in os.listdir(folder):
        pid = name.removeprefix(session).partition(".")[0]
        if name.startswith(session) and pid.isdigit():
            if process.start_of(int(pid)) is None:
                unlink(os.path.join(folder, name))


def _age(entry: os.DirEntry[str]) -> float:
    """Return the seconds since a file was written to; below 0 if it is gone."""
    try:
        return time.time() - entry.stat(follow_symlinks=False).st_mtime
    except FileNotFoundError:
        return -1.0


def end_connection(
    identity: Identity,
    settings: Settings,
    hooks: CallerHooks,
    *,
    drain: bool,
    wait: bool,
) -> bool:
    """End the connection; see :func:`sshjobs.transports.end_connection`.

    Args:
        wait: For the gate, if another holds it; otherwise nothing is done then.
    """
    check_rundir(hooks.rundir)
    while True:
        with passage(hooks, identity.key) as held:
            try:
                if held is not None:
                    ended = _end(identity, settings, held[1], drain)
                    ended = clear(identity, held[1]) or ended
                    _tidy(identity, hooks.rundir)
                    clear_hop(hooks.rundir, identity.first_hop)
                    held[0].clear()
                    return ended
            except GateLost:
                continue
        if not wait:
            return False
        pause(hooks.on_wait)


def make_way(identity: Identity, settings: Settings, hooks: CallerHooks) -> None:
    """End every connection that is left, for one that cannot be shared.

    The gate is held.
    """
    if identity.ssh or settings.mux != "ssh":
        _end(identity, settings, hooks, True)
    clear(identity, hooks)


def _end(
    identity: Identity, settings: Settings, hooks: CallerHooks, drain: bool
) -> bool:
    """Have the master end by itself, and wait for that; tell whether there was one."""
    try:
        live = probe(identity, settings.mux, hooks)
        if live is None:
            return False
        start = process.start_of(live.pid)
        _make_sure_of_record(identity, hooks.rundir, live.pid, start)
        _dismiss(identity, live, hooks, drain)
    except MuxError:  # it does not answer: it is killed next
        return False
    deadline = time.monotonic() + (settings.command_timeout if drain else 2.0)
    while start is not None and time.monotonic() < deadline:
        if process.start_of(live.pid) != start:
            break
        pause(hooks.on_wait)
    return True


def _make_sure_of_record(
    identity: Identity, folder: str, pid: int, start: str | None
) -> None:
    """Have it written down who the master is, should its starter have been killed.

    One that drains is found by its number alone: it answers no more, and its title,
    where its log stood, is "[stopped mux]" by then (OpenSSH 9.2, clientloop.c).
    """
    if recorded(identity, folder)[:2] != (pid, start):
        with seam(record_path(identity, folder)):
            record(identity, folder, pid)


def _dismiss(
    identity: Identity, live: LiveMaster, hooks: CallerHooks, drain: bool
) -> None:
    if live.control is None:
        order(
            identity,
            identity.socket_path(hooks.rundir),
            "stop" if drain else "exit",
            PATIENCE,
        )
        return
    with closing(live.control) as control:
        if drain:
            control.stop_listening()
        else:
            control.terminate()
