"""The shapes that every transport has, and the hooks that a caller lends to one.

Nothing here does I/O; the rooms beside this one import it, it imports none.
"""

from __future__ import annotations

from ..startup.records import TYPE_CHECKING, Record

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol, TypeAlias
else:
    Protocol = object

#: Takes each piece of stdout as it arrives, and ``b""`` about once a second while
#: none does, so that the caller can beat its lock there. What it raises abandons
#: the session: our own ends are closed at once and the exception goes through.
Sink: TypeAlias = "Callable[[bytes], None]"

#: The standard input of a command, or what makes it: that is called while the other
#: side starts the shell that is to read it. What it raises abandons the session, which
#: has run nothing then.
Stdin: TypeAlias = "bytes | Callable[[], bytes]"


class StdoutTaker(Record):
    """Takes a session's stdout itself, in place of a sink, which only beats then.

    ``take`` is called with the end of a pipe, which does not block, whenever bytes may
    be there; it returns how many it took, 0 at their end. It raises BlockingIOError if
    there were none; any other exception abandons the session. What it leaves in the
    pipe keeps the other side from sending more.

    ``answer`` is called after each; the first bytes that it returns follow on stdin,
    whose end comes only after them.
    """

    take: Callable[[int], int]
    answer: Callable[[], bytes]


#: How much of a session's stderr is kept; it is for error texts only.
STDERR_BYTES = 8192


class Completed(Record):
    """A session that ended by itself.

    ``exit_status`` is ``None`` where the host told none: the command was killed by a
    signal, or sshd's ChannelTimeout cut it (OpenSSH's client drops ``exit-signal``).
    ``stdout_bytes`` counts the bytes that the sink was given.
    """

    exit_status: int | None
    stderr: bytes
    stdout_bytes: int


class ConnState(Record):
    """The state of a host's connection, known without asking the host."""

    alive: bool
    pid: int | None
    since: float | None
    socket: str


class Transport(Protocol):
    """A way to run one command on a host."""

    #: "openssh", "local" or "fabric".
    name: str

    def run(
        self,
        script: str,
        *,
        stdin: Stdin,
        timeout: float,
        sink: Sink,
        into: StdoutTaker | None = None,
        keep_stdin_open: bool = False,
    ) -> Completed:
        """Run one command line on the host and hand its stdout to ``sink``.

        Args:
            script: A command line for the host's login shell.
            stdin: The standard input; end of file follows it. See :data:`Stdin`.
            timeout: Seconds of silence (no byte out, none taken in) that are borne;
                standard error is for error texts only, and no sign of life.
            sink: See :data:`Sink`.
            into: Takes stdout instead.
            keep_stdin_open: Standard input ends only as we lose interest, so that a
                command that reads it can end at once: sshd keeps a session as long as
                its command.

        Raises:
            SessionRefused: nothing ran; waiting a little and connecting again is right.
            HostUnreachable: there is no connection; nothing ran.
            ConnectionLost: the connection ended; the command may have run.
            CommandTimeout: silence for too long; the command may run still.
        """

    def close(self) -> None:
        """Give back all that this process holds; a shared connection stays."""


class CallerHooks(Record):
    """Functions and a directory that the caller lends for as long as it connects.

    Args:
        rundir: A directory of ours (0700) for sockets, locks and logs.
        before_handshake: Called under the gate right before each handshake; raises
            :class:`~sshjobs.errors.Throttled` while the host is in cooldown.
        count_event: Called with the name of an event and a number: ``handshakes``,
            ``drops``, ``auth_failures``, ``sessions``, ``refusals``.
        on_wait: Called at least every 2 s while waiting or connecting; may raise.
    """

    rundir: str
    before_handshake: Callable[[], None] = lambda: None
    count_event: Callable[[str, int], None] = lambda _name, _count: None
    on_wait: Callable[[], None] = lambda: None
