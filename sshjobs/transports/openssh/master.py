"""Finds the live master of a connection, and the record of its process.

Theory of operation: a master is an ``ssh -N -f`` that owns the connection and
listens at a control socket. A process that finds a live one uses it, without any
lock. A process that finds none waits for the gate, looks again, clears away the dead,
starts one master and asks *that socket* for it.

``ControlMaster=auto`` is not used: processes that race each make a connection, and
all but one keep theirs. ``ControlMaster=yes`` never looks at the socket that it
finds: with a file at that path, ssh says "already exists, disabling multiplexing",
ends with status 0 and leaves a connection behind that nobody owns, for ever
(OpenSSH 9.2, 10.5). So the path is cleared first, the words are looked for after,
and each ssh that we start carries the path of its log as an argument, by which it
can be found even if its starter was killed.
"""

from __future__ import annotations

import os
import time

from ... import processes
from ...errors import HostUnreachable, find_hint
from ...settings import Settings
from ...startup.records import Record
from ..base import CallerHooks, ConnState
from ..identity.identity import Identity, check_rundir
from .mux import Control, Foreign, Gone, MuxError, Stuck, Unfit

#: Seconds that a master may take to answer before it counts as hung. It is one thread
#: and answers in 0.1 ms; a busy machine may keep it from running for a while.
PATIENCE = 5.0


class LiveMaster(Record):
    """A master that has just answered.

    ``control`` is the connection that asked, good for one session; while it is open
    the master does not end for idleness (a multiplexing client counts as a channel,
    OpenSSH 9.2). ``None`` where ssh had to ask. ``is_new`` says that this process has
    just made it, and that it has served nobody yet.
    """

    pid: int
    control: Control | None
    is_new: bool = False


def probe_master(identity: Identity, mux: str, hooks: CallerHooks) -> LiveMaster | None:
    """Return the live master, or ``None`` if nobody answers at the socket.

    Args:
        mux: The setting of that name.

    Raises:
        Stuck: a master is there and does not answer.
    """
    if mux == "ssh":
        return _probe_by_ssh(identity, hooks)
    try:
        path = identity.socket_path(hooks.rundir)
        control = Control(path, PATIENCE, hooks.on_wait)
        try:
            # HELLO alone would show a master; ALIVE names the process that owns the
            # connection, which a later look compares.
            return LiveMaster(control.ask_for_pid(), control)
        except BaseException:
            control.close()
            raise
    except (Gone, Foreign):
        # A stale file, nothing, or somebody else's socket: under the gate it is removed
        # before a master is made. Not a byte goes to a foreign one.
        return None
    except Unfit:
        if mux == "native":
            raise
        return _probe_by_ssh(identity, hooks)


def _probe_by_ssh(identity: Identity, hooks: CallerHooks) -> LiveMaster | None:
    if not os.path.lexists(identity.socket_path(hooks.rundir)):
        return None  # ssh would say so after 5 ms of a process
    from .client import send_order_by_ssh

    said = send_order_by_ssh(
        identity, identity.socket_path(hooks.rundir), "check", PATIENCE
    )
    import re

    # The text ends with \r\n and comes on stderr (9.2, 10.5); the status is 255 without
    # a master.
    found = re.search(rb"Master running \(pid=(\d+)\)", said)
    return LiveMaster(int(found[1]), None) if found else None


def find_usable_master(
    identity: Identity, settings: Settings, hooks: CallerHooks
) -> LiveMaster | None:
    """Return the live master if it answers; one that hangs counts as none.

    Raises:
        HostUnreachable: it answers and does not speak our protocol.
    """
    try:
        return probe_master(identity, settings.mux, hooks)
    except Stuck:  # it is replaced under the gate, where this is asked once more
        return None
    except MuxError as error:
        raise HostUnreachable(
            identity.host,
            f"the control socket is of no use: {error}; nothing ran there",
            find_hint("here:mux"),
        ) from error


def read_master_state(identity: Identity, hooks: CallerHooks) -> ConnState:
    """Tell whether a master answers, and since when it is there."""
    check_rundir(hooks.rundir)
    path = identity.socket_path(hooks.rundir)
    noted, _, since = read_record(identity, hooks.rundir)
    try:
        # "auto", not the setting: a state is read of any master, however it speaks.
        live = probe_master(identity, "auto", hooks)
    except MuxError:  # it is there and of no use
        return ConnState(False, noted or None, None, path)
    if live is None:
        return ConnState(False, None, None, path)
    if live.control is not None:
        live.control.close()
    # A record of another pid is an older master's, whose starter died before it wrote.
    return ConnState(True, live.pid, since if noted == live.pid else None, path)


def locate_record(identity: Identity, folder: str) -> str:
    """Return the path of the record of the process that owns the connection."""
    return os.path.join(folder, f"master.{identity.key}")


def write_record(identity: Identity, folder: str, pid: int) -> None:
    """Write down which process owns the connection, and since when."""
    path = locate_record(identity, folder)
    import json

    text = json.dumps(
        [pid, processes.read_start_time(pid) or "", time.time(), identity.host]
    )
    # By rename: a reader sees the old record or the new one, and never half of one.
    with open(f"{path}.new", "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)
    os.replace(f"{path}.new", path)


def read_record(identity: Identity, folder: str) -> tuple[int, str, float]:
    """Return the pid, the start time and the since of the record; 0 without one."""
    import json

    try:
        with open(locate_record(identity, folder), encoding="utf-8") as file:
            pid, start, since, _ = json.load(file)
    except (FileNotFoundError, ValueError):
        return 0, "", 0.0
    return int(pid), str(start), float(since)
