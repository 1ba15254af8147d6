"""Ends connections: the one that is alive, and the leftovers of older ones."""

from __future__ import annotations

import os
import stat
import time

from ... import processes
from ...errors import StoreError
from ...locks import translate_os_errors, unlink_if_there
from ...settings import Settings
from ...startup.contexts import closing, suppress
from .. import process
from ..base import CallerHooks
from ..gate import GateLost, pause_before_next_try, remove_dead_slots, try_to_hold_gate
from ..identity.identity import Identity, check_rundir
from .client import send_order_by_ssh
from .master import (
    PATIENCE,
    LiveMaster,
    locate_record,
    probe_master,
    read_record,
    write_record,
)
from .mux import MuxError

#: Seconds after which a log is nobody's any more; far beyond any session.
_LEFT = 86400.0

#: How often processes are listed at most, should one of them not die of SIGKILL.
_LOOKS = 5


def prefix_of_logs(identity: Identity, folder: str) -> str:
    """Return the common beginning of the paths of a connection's logs.

    A log is also an argument of each ssh that writes to it, with the generation of
    the gate under which it was started at its end: so each can be found and told
    from those of another holder.
    """
    return os.path.join(folder, f"log.{identity.key}.")


def end_leftovers(identity: Identity, hooks: CallerHooks) -> bool:
    """End the leftovers of an older master; tell whether there were any.

    A process that does not answer, one without its socket, one without a record,
    since its starter was killed: each has a log of ours as an argument.
    """
    folder = hooks.rundir
    logs = prefix_of_logs(identity, folder)
    # The record first: a master that drains has no log in its arguments any more.
    found = [processes.end_process(*read_record(identity, folder)[:2])]
    # Again until there is none: one may have gone to the background meanwhile.
    for _ in range(_LOOKS):
        find_carriers = process.find_carriers(logs)
        found += [processes.end_process(pid, start) for pid, start in find_carriers]
        if not find_carriers:
            break
    note = locate_record(identity, folder)
    for path in (identity.socket_path(folder), f"{note}.new", note):
        hooks.on_wait()  # whoever has overtaken us may have a live socket there by now
        try:
            unlink_if_there(path)
        except OSError as error:  # a directory of that name
            raise StoreError(
                f"{path}: in the way of the control socket, and cannot be removed: "
                f"{error.strerror}"
            ) from error
    _remove_older_than(folder, (f"{identity.socket_path(folder)}.", logs), age=_LEFT)
    _remove_unnamed_sockets(f"{identity.socket_path(folder)}.")
    return any(found)


def _remove_unnamed_sockets(prefix: str) -> None:
    """Remove sockets that never got their name.

    A master binds PATH.<16 random> and links it to PATH (OpenSSH 5.4 to 10.5, mux.c);
    one that was killed in between leaves it. Only a holder of the gate is here.
    """
    with os.scandir(os.path.dirname(prefix)) as entries:
        for entry in entries:
            if not entry.path.startswith(prefix):
                continue
            try:
                mode = entry.stat(follow_symlinks=False).st_mode
            except FileNotFoundError:  # its master has just given it the name
                continue
            # A session's log has that prefix too, and may be about to be read.
            if stat.S_ISSOCK(mode):
                unlink_if_there(entry.path)


def _remove_older_than(folder: str, prefixes: tuple[str, ...], *, age: float) -> None:
    """Remove the files that sessions and handshakes left so many seconds ago."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.path.startswith(prefixes):
                continue
            with suppress(FileNotFoundError):  # it is gone meanwhile
                if time.time() - entry.stat(follow_symlinks=False).st_mtime >= age:
                    unlink_if_there(entry.path)


def _remove_logs(identity: Identity, folder: str) -> None:
    """Remove the logs of a connection that has ended; see :class:`~.client.ByClient`.

    The log of a session is its process's own, which may be about to read it.
    """
    _remove_older_than(folder, (prefix_of_logs(identity, folder),), age=0.0)
    session = f"{os.path.basename(identity.socket_path(folder))}."
    for name in os.listdir(folder):
        pid = name.removeprefix(session).partition(".")[0]
        if name.startswith(session) and pid.isdigit():
            if processes.read_start_time(int(pid)) is None:
                unlink_if_there(os.path.join(folder, name))


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
        with try_to_hold_gate(hooks, identity.key) as held:
            try:
                if held is not None:
                    # First by its own protocol, so that sessions come to their end;
                    # then by SIGKILL, whatever is left.
                    ended = _end_master(identity, settings, held[1], drain)
                    ended = end_leftovers(identity, held[1]) or ended
                    _remove_logs(identity, hooks.rundir)
                    remove_dead_slots(hooks.rundir, identity.first_hop)
                    held[0].remove_files()
                    return ended
            except GateLost:
                continue
        if not wait:
            return False
        pause_before_next_try(hooks.on_wait)


def end_for_unshared_connection(
    identity: Identity, settings: Settings, hooks: CallerHooks
) -> None:
    """End every connection that is left, for one that cannot be shared.

    The gate is held.
    """
    if identity.ssh or settings.mux != "ssh":
        _end_master(identity, settings, hooks, True)
    end_leftovers(identity, hooks)


def _end_master(
    identity: Identity, settings: Settings, hooks: CallerHooks, drain: bool
) -> bool:
    """Have the master end by itself, and wait for that; tell whether there was one."""
    try:
        live = probe_master(identity, settings.mux, hooks)
        if live is None:
            return False
        start = processes.read_start_time(live.pid)
        _ensure_record(identity, hooks.rundir, live.pid, start)
        _order_to_end(identity, live, hooks, drain)
    except MuxError:  # it does not answer: it is killed next
        return False
    # A drained master ends with its last session (STOP_LISTENING, since 5.9); one that
    # was terminated needs an instant. Neither is waited for without a bound.
    deadline = time.monotonic() + (settings.command_timeout if drain else 2.0)
    while start is not None and time.monotonic() < deadline:
        if processes.read_start_time(live.pid) != start:
            break
        pause_before_next_try(hooks.on_wait)
    return True


def _ensure_record(
    identity: Identity, folder: str, pid: int, start: str | None
) -> None:
    """Write down the master's process, should its starter have been killed.

    One that drains is found by its number alone: it answers no more, and its title,
    where its log stood, is "[stopped mux]" by then (OpenSSH 9.2, clientloop.c).
    """
    if read_record(identity, folder)[:2] != (pid, start):
        with translate_os_errors(locate_record(identity, folder)):
            write_record(identity, folder, pid)


def _order_to_end(
    identity: Identity, live: LiveMaster, hooks: CallerHooks, drain: bool
) -> None:
    if live.control is None:
        # ssh -O hangs for ever at a stopped master (9.2): PATIENCE bounds it.
        send_order_by_ssh(
            identity,
            identity.socket_path(hooks.rundir),
            "stop" if drain else "exit",
            PATIENCE,
        )
        return
    with closing(live.control) as control:
        if drain:
            control.order_to_drain()
        else:
            control.order_to_terminate()
