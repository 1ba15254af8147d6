"""Everything that sshjobs raises, one class per distinct reaction.

A caller catches :class:`SshJobsError` for all of it. Facts are attributes, the
text is made from them. An error survives pickling and a trip through the store
(:func:`dump`, :func:`load`), since the process that led a round is often not
the one that must report its own faults.
"""

from __future__ import annotations

from .startup.records import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TypeVar

    E = TypeVar("E", bound="SshJobsError")


class SshJobsError(Exception):
    """The root of the tree."""

    #: The exit status of a command that ends with this error (sysexits.h).
    exit_status = 70


class SpecError(SshJobsError, ValueError):
    """The call is wrong as it stands; no I/O has happened."""

    exit_status = 64


class TransportError(SshJobsError):
    """A host could not be asked. No job has changed because of it.

    Args:
        host: The user's word for it, as ``ssh`` would take it.
        detail: The cause in one sentence.
        hint: The remedy: a setting, a server option, a command.
    """

    exit_status = 69

    def __init__(self, host: str, detail: str, hint: str = "") -> None:
        super().__init__(host, detail, hint)
        self.args = (host, detail, hint)  # an OSError, as CommandTimeout is, keeps two
        self.host = host
        self.detail = detail
        self.hint = hint

    def __str__(self) -> str:
        text = f"{self.host}: {self.detail}"
        return f"{text} ({self.hint})" if self.hint else text


class HostUnreachable(TransportError):
    """Nothing ran: no connection within the budget, or none may be tried now."""


class Throttled(HostUnreachable):
    """The host closed the connection before authentication (MaxStartups, penalty)."""


class SessionRefused(TransportError):
    """The host opens no further session on the connection; nothing ran."""

    exit_status = 75


class AuthenticationError(TransportError):
    """The key or the host key was refused; in most cases a person must mend that."""

    exit_status = 77


class AccountRefused(AuthenticationError):
    """The key was good, and the host lets the account not in now.

    ``is_certain`` is False where the host closed the connection without a word, which
    a network may do as well.
    """

    is_certain = True


class OutcomeUnknown(TransportError):
    """The command may have run. Running the round again is safe."""

    exit_status = 75


class ConnectionLost(OutcomeUnknown):
    """The connection ended in the middle of a session.

    ``is_of_login`` is True where a new connection had opened none yet: what failed then
    is the login, as far as another try goes.
    """

    is_of_login = False


class CommandTimeout(OutcomeUnknown, TimeoutError):
    """The host sent no byte for as long as we were willing to wait."""


class ProtocolError(SshJobsError):
    """The host answered something that is not a reply of ours.

    Args:
        host: What the user typed.
        detail: The fault of the reply.
        reply: The first bytes of it, for the bug report.
    """

    exit_status = 70

    def __init__(self, host: str, detail: str, reply: bytes = b"") -> None:
        super().__init__(host, detail, reply)
        self.host = host
        self.detail = detail
        self.reply = reply

    def __str__(self) -> str:
        text = f"{self.host}: {self.detail}"
        return f"{text}; it said {self.reply[:200]!r}" if self.reply else text


class HostError(SshJobsError):
    """Our program ran on the host and could not do its work there.

    Args:
        host: What the user typed.
        detail: The fault (no space, no permission, no such shell).
        hint: The remedy.
    """

    exit_status = 69

    def __init__(self, host: str, detail: str, hint: str = "") -> None:
        super().__init__(host, detail, hint)
        self.host = host
        self.detail = detail
        self.hint = hint

    def __str__(self) -> str:
        text = f"{self.host}: {self.detail}"
        return f"{text} ({self.hint})" if self.hint else text


class JobError(SshJobsError):
    """Something about one job.

    Args:
        job_id: The id, prefix or ``key:K`` that was asked for.
        detail: Its fault.
    """

    exit_status = 1

    def __init__(self, job_id: str, detail: str) -> None:
        super().__init__(job_id, detail)
        self.job_id = job_id
        self.detail = detail

    def __str__(self) -> str:
        return f"job {self.job_id}: {self.detail}"


class JobNotFound(JobError, LookupError):
    """No job here answers to that id, prefix or key, or several do."""

    exit_status = 64


class NothingSelected(JobNotFound):
    """No job here meets the conditions of a selection; nothing was done.

    Args:
        conditions: The flags, as they may be typed.
    """

    def __init__(self, conditions: str) -> None:
        super().__init__("", f"no job in this machine's record matches {conditions}")
        self.args = (conditions,)

    def __str__(self) -> str:
        return self.detail


class JobFailed(JobError):
    """The job ended, and not well.

    Args:
        job_id: The job's id.
        detail: How it ended.
        returncode: The exit status that ``sshjobs run`` would have ended with.
    """

    def __init__(self, job_id: str, detail: str, returncode: int | str = 1) -> None:
        super().__init__(job_id, detail)
        self.args = (job_id, detail, returncode)
        self.returncode = int(returncode)


class NotYet(SshJobsError):
    """The request is accepted and not finished; asking again is right.

    Args:
        detail: The part that is still open.
        job_ids: The jobs concerned, in the order of a batch; "" stands for one of it
            that is not done and will not be.
    """

    exit_status = 75

    def __init__(self, detail: str, job_ids: tuple[str, ...] = ()) -> None:
        super().__init__(detail, job_ids)
        self.detail = detail
        self.job_ids = job_ids

    def __str__(self) -> str:
        return self.detail


class WaitTimeout(NotYet, TimeoutError):
    """The time that a caller would wait has passed; no job was touched."""


class SomeNotStarted(SshJobsError):
    """The host has refused some jobs of a batch; the others have started.

    Args:
        host: The host.
        jobs: The jobs in the order of the batch, None for one that was refused.
        refused: The error of each of those, by its place in the batch, from 0 on.
    """

    def __init__(
        self,
        host: str,
        jobs: tuple[object, ...],
        refused: dict[int, SshJobsError],
    ) -> None:
        super().__init__(host, jobs, refused)
        self.host = host
        self.jobs = jobs
        self.refused = refused

    def __str__(self) -> str:
        place, first = min(self.refused.items(), key=lambda item: item[0])
        return (
            f"{self.host}: {len(self.refused)} of {len(self.jobs)} jobs were refused; "
            f"the first, job {place + 1}: {first}"
        )


class CopyFailed(SshJobsError):
    """Files were not copied, or not all of them; a copy of the same goes on from there.

    Args:
        host: The host.
        detail: The cause, in the words of the tool that copied.
    """

    exit_status = 1

    def __init__(self, host: str, detail: str) -> None:
        super().__init__(host, detail)
        self.host = host
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.host}: {self.detail}"


class StoreError(SshJobsError):
    """The record on this machine cannot be read, written or locked."""

    exit_status = 70


def find_hint(*codes: str, **facts: object) -> str:
    """Return the remedies of these codes, joined; "" for a code without one.

    Args:
        codes: Keys of the table in :mod:`sshjobs.hints`.
        facts: The values of the names in braces.
    """
    from .hints import HINTS  # for what goes wrong, and no part of a start

    return _join_hints(*(HINTS.get(code, "").format(**facts) for code in codes))


def _join_hints(*hints: str) -> str:
    joined = ""
    for hint in filter(None, hints):
        # A command to copy stands on a line of its own, and nothing is put behind it.
        joined += ("\n" if "\n" in joined else "; ") * bool(joined) + hint
    return joined


def add_hint(error: E, hint: str) -> E:
    """Return the same error with a further hint, behind those that it has.

    An error without a hint of its own has it in its text; one about a job, or about
    copies, is returned as it is.
    """
    args: tuple[object, ...]
    if isinstance(error, (TransportError, HostError)):
        args = (error.host, error.detail, _join_hints(error.hint, hint))
    elif isinstance(error, ProtocolError):
        args = (error.host, _join_hints(error.detail, hint), error.reply)
    elif isinstance(error, (SpecError, StoreError)):
        args = (_join_hints(str(error), hint),)
    else:
        return error
    more = type(error)(*args)
    # Notes of the error's place on it, as ``is_of_login``.
    vars(more).update({k: v for k, v in vars(error).items() if k not in vars(more)})
    return more


def of_system(what: str, error: OSError) -> StoreError:
    """Return the error for a system call that failed on this machine.

    Args:
        what: The thing it is about, a path in most cases.
    """
    import errno

    code = f"here:{errno.errorcode.get(error.errno or 0)}"
    failed = StoreError(f"{what}: {error.strerror or error}")
    return add_hint(failed, find_hint(code))


class Interrupted(BaseException):
    """A signal that ends a verb; no Exception, so that nothing catches it midway."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum


_BY_NAME: dict[str, type[SshJobsError]] = {
    cls.__name__: cls
    for cls in (
        SpecError,
        HostUnreachable,
        Throttled,
        SessionRefused,
        AuthenticationError,
        AccountRefused,
        OutcomeUnknown,
        ConnectionLost,
        CommandTimeout,
        ProtocolError,
        HostError,
        JobError,
        JobNotFound,
        NothingSelected,
        JobFailed,
        CopyFailed,
        StoreError,
    )
}


def dump(error: SshJobsError) -> str:
    """Write an error down, for another process of this machine to raise."""
    import json  # 1.5 ms, for what goes wrong

    # The bytes of a reply stay where they were read.
    args = ["" if isinstance(arg, bytes) else str(arg) for arg in error.args]
    return json.dumps([type(error).__name__, args])


def load(text: str) -> SshJobsError:
    """Make the error that :func:`dump` wrote down.

    A damaged one becomes a StoreError that shows it.
    """
    import json

    try:
        name, args = json.loads(text)
        return _BY_NAME.get(name, SshJobsError)(*map(str, args))
    except (ValueError, TypeError, RecursionError):
        return StoreError(f"the record of an error cannot be read: {text[:100]!r}")


def load_many(text: str) -> dict[str, object]:
    """Return the errors that were refused credentials; none of a damaged text.

    Each is a dumped error, alone (of an older version) or with two instants.
    """
    import json

    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    known = found.items() if isinstance(found, dict) else ()
    return {key: entry for key, entry in known if _is_entry(entry)}


def _is_entry(entry: object) -> bool:
    if not isinstance(entry, list):
        return isinstance(entry, str)
    kinds = [type(value) for value in entry]
    return len(kinds) == 3 and kinds[0] is str and set(kinds[1:]) <= {int, float}
