"""Makes a connection: one handshake at a time, under the gate, and verified."""

from __future__ import annotations

import os
import time

from ... import processes
from ...errors import AccountRefused, HostUnreachable, Throttled, find_hint
from ...locks import translate_os_errors, unlink_if_there
from ...settings import Settings
from ...startup.contexts import contextmanager
from ...startup.records import TYPE_CHECKING
from ...startup.stdlib import socket
from .. import process
from ..base import CallerHooks
from ..env import build_ssh_env
from ..gate import (
    Gate,
    GateLost,
    hold_jump_slot,
    pause_before_next_try,
    try_to_hold_gate,
)
from ..identity.identity import Identity
from ..ssh_errors import clean_words, explain_failed_login
from .askpass import Asking, lend_login_secrets
from .command_lines import build_master_argv, choose_connect_seconds
from .master import LiveMaster, find_usable_master, write_record
from .shutdown import end_leftovers, prefix_of_logs

if TYPE_CHECKING:
    from collections.abc import Iterator


#: A person who types a password; sshd itself gives 120 s (LoginGraceTime).
_TYPING = 180.0

_TAIL = 65536

#: A banner is a page; whoever says more before the login is done only fills the disk.
#: ssh writes it into a log as it comes, which is looked at so often.
_MOST_SAID = 1 << 19
_GLANCE = 0.05

_ORPHAN = "already exists, disabling multiplexing"

#: What ssh says at VERBOSE once a login is done, that to a jump host first.
_LOGIN = "Authenticated to "


def make_master(
    identity: Identity, settings: Settings, hooks: CallerHooks, *, interactive: bool
) -> LiveMaster:
    """Wait for the gate, look again, and make the connection if it is still missing.

    Raises:
        TransportError: there is none, and none can be made now.
    """
    while True:
        with try_to_hold_gate(hooks, identity.key) as held:
            try:
                if held is not None:
                    return _make_under_gate(
                        identity, settings, held[1], held[0], interactive
                    )
            except GateLost:
                continue
        pause_before_next_try(hooks.on_wait)
        live = find_usable_master(identity, settings, hooks)
        if live is not None:
            return live


def _make_under_gate(
    identity: Identity,
    settings: Settings,
    hooks: CallerHooks,
    gate: Gate,
    interactive: bool,
) -> LiveMaster:
    # The holder of the gate before us has made one, most likely.
    live = find_usable_master(identity, settings, hooks)
    if live is not None:
        return live
    # ControlMaster=yes never looks at a socket that it finds (mux.c, 9.2): whatever is
    # at the path has to go first.
    end_leftovers(identity, hooks)
    log = f"{prefix_of_logs(identity, hooks.rundir)}{gate.generation}"
    try:
        with hold_jump_slot(
            hooks, identity.first_hop, lambda: _LOGIN in read_end_of_log(log)
        ) as inside:
            try:
                live = _log_in(identity, settings, inside, gate, log, interactive)
            except AccountRefused as error:
                # A connection that is cut in the very instant between the key and the
                # account looks like pam_deny, which says nothing: twice in a row it is
                # the account (auth2.c, 9.2).
                if error.is_certain or interactive:
                    raise
                live = _log_in(identity, settings, inside, gate, log, interactive)
    except BaseException as error:
        # A master that was made in time for who has overtaken us is theirs now.
        if not isinstance(error, GateLost) or _ORPHAN in read_end_of_log(log):
            _end_processes_with(log)
        raise
    with translate_os_errors(hooks.rundir):
        write_record(identity, hooks.rundir, live.pid)
    return live._replace(is_new=True)


def _log_in(
    identity: Identity,
    settings: Settings,
    hooks: CallerHooks,
    gate: Gate,
    log: str,
    interactive: bool,
) -> LiveMaster:
    """Make one handshake and judge it."""
    hooks.on_wait()
    hooks.before_handshake()
    with lend_login_secrets(identity, settings, log, interactive=interactive) as asking:
        status = _run_ssh_until_login(
            identity, settings, hooks, gate, log, interactive, asking
        )
    return _judge_outcome(identity, settings, hooks, status, log)


def _end_processes_with(log: str) -> None:
    """End every process of a handshake that came to nothing."""
    # The log's path is an argument of ssh, of the master that it forked, of the
    # ssh to a jump host.
    for pid, start in process.find_carriers(log, whole=True):
        processes.end_process(pid, start)


def check_socket_can_be_made(path: str) -> None:
    """Make a socket as ssh will, and remove it: an obstacle to that costs no login.

    ssh binds PATH.<16 random> only after the login, and links it to PATH (mux.c, 9.2).

    Raises:
        StoreError: there is no room, no inode, no right, or no such thing as a socket
            or a link on that file system.
    """
    with translate_os_errors(f"{path}: the control socket cannot be made"):
        for tries_left in (2, 1, 0):
            try:
                return _make_and_remove_socket(path)
            except FileNotFoundError:
                # Who was stopped in the gate and goes on takes ours for a leftover.
                if not tries_left:
                    raise


def _make_and_remove_socket(path: str) -> None:
    names = [f"{path}.{os.urandom(8).hex()}" for _ in range(2)]
    one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # Each may fail alone: a file system may have sockets and no hard links.
        one.bind(names[0])
        os.link(*names)
    finally:
        one.close()
        for name in names:
            unlink_if_there(name)


def _judge_outcome(
    identity: Identity,
    settings: Settings,
    hooks: CallerHooks,
    status: int | None,
    log: str,
) -> LiveMaster:
    """Return the master that answers at our socket, or raise why there is none.

    Args:
        status: How ssh ended, None if that is not known; the socket tells then.
    """
    # Status 0 means that ssh went to the background after the login, and nothing of the
    # socket: it is the same with "already exists, disabling multiplexing" (9.2, 10.5).
    text, said = read_end_of_log(log), read_end_of_log(_locate_host_words(log))
    with translate_os_errors(log):
        unlink_if_there(_locate_host_words(log))
    live = None if status else find_usable_master(identity, settings, hooks)
    if live is not None and _ORPHAN not in text:
        return live
    if status or (status is None and live is None):
        error = explain_failed_login(identity.host, text, status, said)
        if isinstance(error, AccountRefused):
            error.is_certain = bool(clean_words(said))
        if isinstance(error, Throttled):
            hooks.count_event("drops", 1)
        raise error
    if live is not None and live.control is not None:
        live.control.close()
    raise HostUnreachable(
        identity.host,
        f"the connection ended right after the login: {clean_words(text)}; "
        "nothing ran there",
        find_hint("login:ended"),
    )


def _count_logged_bytes(log: str) -> int:
    """Return how much a host has had written into the logs of a handshake."""
    size = 0
    for path in (log, _locate_host_words(log)):
        try:
            size += os.stat(path).st_size
        except FileNotFoundError:
            continue
    return size


def _run_ssh_until_login(
    identity: Identity,
    settings: Settings,
    hooks: CallerHooks,
    gate: Gate,
    log: str,
    interactive: bool,
    asking: Asking,
) -> int | None:
    """Run ssh until it has authenticated or failed; return its status, if known."""
    limit = _TYPING if interactive else bound_login_seconds(identity, settings)
    path = identity.socket_path(hooks.rundir)
    argv = build_master_argv(
        identity,
        settings,
        path,
        log,
        interactive=interactive,
        asking=asking.options,
    )
    env = build_ssh_env(settings, identity.env, interactive=interactive) | asking.env
    child = _start_ssh(identity, hooks, log, argv, env, interactive)
    # The child ends at the login: -f forks, and the master is the forked process.
    try:
        # From here on a usurper of the gate can end this very ssh.
        gate.stamp_ssh(child.pid, child.start)
        end = time.monotonic() + limit
        while not child.wait(_GLANCE):
            hooks.on_wait()
            if _count_logged_bytes(log) > _MOST_SAID:
                raise HostUnreachable(
                    identity.host,
                    f"it said more than {_MOST_SAID} bytes before the login was done; "
                    "nothing ran there",
                    find_hint("login:many words"),
                )
            # ConnectTimeout does not bound a server that greets and goes silent (9.2).
            if time.monotonic() >= end:
                raise make_late_login_error(identity, limit, read_end_of_log(log))
        gate.stamp_ssh(0, "")
        hooks.on_wait()
    finally:
        child.kill()
    return child.status


def _start_ssh(
    identity: Identity,
    hooks: CallerHooks,
    log: str,
    argv: list[str],
    env: dict[str, str],
    interactive: bool,
) -> process.Child:
    """Start the ssh that becomes the master, and count the handshake.

    Raises:
        TransportError: no ssh can be started here; or another has taken over the gate.
    """
    with open_streams_of_ssh(log, False), open_streams_of_ssh(
        _locate_host_words(log), interactive
    ) as fds:
        check_socket_can_be_made(identity.socket_path(hooks.rundir))
        hooks.count_event("handshakes", 1)
        hooks.on_wait()  # the last moment to find that another has taken over
        try:
            pid = process.spawn_program(
                argv, env, fds, cwd="/", session=not interactive
            )
        except OSError as error:
            raise process.explain_start_failure(
                identity.host, identity.ssh, error
            ) from error
    return process.Child(pid, group=not interactive)


def _locate_host_words(log: str) -> str:
    """Return where the host's own words go (SSH_MSG_USERAUTH_BANNER): to stderr.

    The words of ssh itself are in the log, so that no host can speak for it.
    """
    return f"{log}.said"


def bound_login_seconds(identity: Identity, settings: Settings) -> float:
    """Return how long all of a handshake may take; each hop connects once."""
    # Each hop is an ssh of its own: its ConnectTimeout begins after the one before.
    hops = len(identity.jump.split(",")) if identity.jump else 0
    own, hop_own = (choose_connect_seconds(settings, one) for one in identity.times[:2])
    return own + hops * hop_own + settings.banner_timeout


def make_late_login_error(
    identity: Identity, limit: float, text: str
) -> HostUnreachable:
    said = clean_words(text)
    return HostUnreachable(
        identity.host,
        f"no login within {limit:g} s; nothing ran there" + (f": {said}" * bool(said)),
        find_hint("login:silent"),
    )


@contextmanager
def open_streams_of_ssh(log: str, interactive: bool) -> Iterator[tuple[int, int, int]]:
    """Lend ssh its stdin, stdout and stderr; the log is made anew.

    Never a pipe: some versions keep it open for the life of the master (8.4 and
    older), and a reader that waits for its end waits for ever.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
    with translate_os_errors(log):
        unlink_if_there(log)
        err = os.open(log, flags, 0o600)
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        yield (0, 2, 2) if interactive else (null, null, err)
    finally:
        os.close(null)
        os.close(err)


def read_end_of_log(log: str) -> str:
    """Return the end of a log; a long banner of the host may stand before it."""
    try:
        with open(log, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
            return file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
