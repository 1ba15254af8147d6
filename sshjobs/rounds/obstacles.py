"""The obstacles on a host where no sh has run our program."""

from __future__ import annotations

import os

from ..errors import TransportError, find_hint
from ..protocol import Reply
from ..transports import Completed, Transport
from .host_words import words_of_session

#: Signals have numbers up to this one (signal(7); real-time ones among them).
_MOST_SIGNALS = 64


def has_not_run(
    transport: Transport, reply: Reply, ran: Completed, timeout: float
) -> bool:
    """Tell whether nobody can have acted on a request whose reply did not begin.

    A session without a word that ended well is a shell that left (an ``exit`` in its
    start-up files), or one whose output is lost. A second session tells.
    """
    # Ours says the fence first, and ends with 0 or of a signal, of which a shell around
    # it makes 128 + n.
    status = ran.exit_status
    if reply.unread or (status and not 128 < status <= 128 + _MOST_SIGNALS):
        return True
    return not runs_our_programs(transport, timeout)


def runs_our_programs(transport: Transport, timeout: float) -> bool:
    """Tell whether a host runs programs: one that only ends, by a status.

    The status is no constant, which a shell that runs nothing of ours could have, too.
    """
    # Not 0, 1, 2, 126 to 128: shells, and wrappers that run nothing, end with these.
    status = 40 + os.urandom(1)[0] % 80
    ran = transport.run(
        "exec sh",
        stdin=b"{ exit %d; }\n" % status,
        timeout=timeout,
        sink=lambda _data: None,
    )
    return ran.exit_status == status


def _is_windows(said: bytes) -> bool:
    """Tell whether cmd.exe or PowerShell complains of ``exec``, in its own language.

    Source: OpenSSH for Windows 9.5, whose default shell is cmd.exe; each ends a line
    with CR LF, which no shell of POSIX does.
    """
    complaint = next((line for line in said.split(b"\n") if b"exec" in line), b"")
    return complaint.endswith(b"\r") or b"is not recognized as " in said


def build_not_run_error(host: str, reply: Reply, ran: Completed) -> TransportError:
    """Return the error of a session that ended before the fence of its reply."""
    name = reply.obstacle
    if b"fish: " in ran.stderr and not name:  # fish 3.6 parses all of it first
        name = "fish"
    if name == "terminal":
        text = "the session is in a terminal, and not on a pipe"
        return TransportError(host, text, find_hint("shell:terminal"))
    if name:
        text = f"{name} read our program, and not sh"
        return TransportError(host, text, find_hint("shell:exec", name=name))
    hint = find_hint("shell:account")
    if reply.unread:
        return TransportError(host, "our program came back, and was not run", hint)
    if _is_windows(reply.preamble + ran.stderr):
        text = "the host runs Windows, which has no sh"
        return TransportError(host, text, find_hint("shell:Windows"))
    said = words_of_session(reply.preamble, ran)
    text = f"the login shell did not run our program; {said}"
    return TransportError(host, text, hint)
