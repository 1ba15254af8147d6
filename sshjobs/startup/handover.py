"""Hands a submit over to a process of this machine that is about to submit as well.

Theory of operation: where far more wants to run than there are processors, mostly very
many of our processes were started at once (a loop, cron, a scheduler), and most of what
each costs is done by each for itself: imports, settings, the store. So the first of
them listens, before all that, at a name that stands for all that its call and another
must have in common (user, environment, directory, host, code). The others send it their
arguments, and sleep. It writes their jobs down, in the transaction of its own or in
time for its round, and tells each whose job has started: that one prints its id.

In any other case the process that asked sees to its job itself, as usual, under the id
that it had sent. It hangs up first, and looks for that id in the store then; the one
that listens looks, with the write lock of the store in hand, who has hung up. So a job
is written down once, whoever is killed or stopped.

The name is an abstract one, which only Linux has (unix(7)): it goes with its process,
and has no permissions, so that each end asks the kernel whose process the other is. It
is a hash with a key, since every user can see it.
"""

from __future__ import annotations

import os
import sys
import time

from .records import TYPE_CHECKING, Record

if TYPE_CHECKING:
    import signal
    import socket
else:
    # Not those of stdlib.py, which brings sqlite3.
    import _signal as signal
    import _socket as socket

#: Flags that a call may have here, with a value and without: with any other one there
#: is more to do than to write a row.
_VALUED = ("--name", "--cwd", "--timeout", "--shell")
_FLAGS = ("--login", "--quiet", "-q")

#: Variables in which calls may differ.
_OWN_NAMES = (b"PWD", b"OLDPWD", b"SHLVL", b"_")

#: Seconds that a call leaves its job to another process: a person at a terminal hears
#: soon of a wait (FIRST in cli/output.py).
PATIENCE = 10.0
_PATIENCE_AT_TERMINAL = 1.3

#: A message is whole: its bytes are far below what a socket holds (wmem_default).
MOST_BYTES = 60_000
_BACKLOG = 4096

#: The answers: the job has started; or its own process is to look after it.
STARTED, LOOK = b"s", b"l"

_BASE32 = "abcdefghijklmnopqrstuvwxyz234567"


class Handover(Record):
    """The result, for a process that goes on.

    ``listener`` is where others knock, ``job_id`` the id under which this process's
    job was handed over; one of them is there. ``is_interrupted`` says that a person has
    pressed Ctrl-C since.
    """

    listener: socket.socket | None = None
    job_id: str = ""
    is_interrupted: bool = False


def hand_over_submit(words: list[str]) -> Handover | None:
    """Hand the submit of a command line over, and end with 0 once it has started.

    Args:
        words: The verb, and the words after it.

    Returns:
        How to go on; None if this call is none for others to see to.
    """
    if not is_plain_call(words) or os.environ.get("SSHJOBS_DEBUG", "0") not in (
        "",
        "0",
    ):
        return None
    message = b"\0".join(map(os.fsencode, words))
    if len(message) > MOST_BYTES:
        return None
    job_id = "".join([_BASE32[byte & 31] for byte in os.urandom(16)])
    # As main() has it; a process that waits here must end by it, too.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    try:
        place = _name_place(words[1])
        return _knock_or_listen(place, job_id, job_id.encode() + b"\0" + message)
    except KeyboardInterrupt:
        return Handover(None, job_id, True)
    except OSError:  # no such sockets, no descriptor left
        return Handover(None, job_id)


def find_peer(line: socket.socket) -> tuple[int, int]:
    """Return the process and the user at the other end, as the kernel knows them."""
    # struct ucred, unix(7): pid, uid, gid.
    data = line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    numbers = [int.from_bytes(data[at : at + 4], sys.byteorder) for at in (0, 4)]
    return numbers[0], numbers[1]


def is_plain_call(words: list[str]) -> bool:
    """Tell whether a call is submit, HOST, some flags, --, and a command."""
    if (
        len(words) < 4
        or words[0] != "submit"
        or "--" not in words
        or words[1].startswith(("-", "pool:"))
        or "," in words[1]
    ):
        return False
    if sys.getfilesystemencoding() != "utf-8":  # arguments are to be read anew
        return False
    flags = iter(words[2 : words.index("--")])
    for word in flags:
        if word in _VALUED:
            next(flags, "")
        elif word not in _FLAGS and not word.startswith(
            tuple(f"{f}=" for f in _VALUED)
        ):
            return False
    return True


def _name_place(host: str) -> bytes:
    """Return the name at which calls meet that have all of this in common."""
    import marshal

    variables = os.environb.items()
    root = os.stat("/")
    common = (
        os.geteuid(),
        os.getcwdb(),
        host,
        __file__,
        (root.st_dev, root.st_ino),
        [os.readlink(f"/proc/self/ns/{name}") for name in ("mnt", "pid", "user")],
        sorted(pair for pair in variables if pair[0] not in _OWN_NAMES),
    )
    # The keyed hash of cached code (PEP 552), since hashlib would be a library to load.
    # Version 2 of marshal says the same of equal values, whatever else refers to them.
    digest: bytes = sys.modules["_imp"].source_hash(
        _read_key(), marshal.dumps(common, 2)
    )
    return f"\0sshjobs-{digest.hex()}".encode()


def _read_key() -> int:
    """Return a secret of this user, made at its first use.

    All users of the machine see the name, and the environment may hold secrets: without
    a key they could be guessed from it.

    Raises:
        OSError: there is none, or others could know it.
    """
    home = os.environ.get("SSHJOBS_HOME")
    folder = home or os.path.expanduser("~/.local/state/sshjobs")
    path = f"{folder}/handover.key"
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        fd = os.open(path, flags)
    except FileNotFoundError:
        _make_key(folder, path)
        fd = os.open(path, flags)
    try:
        found, key = os.fstat(fd), os.read(fd, 9)
    finally:
        os.close(fd)
    if found.st_uid != os.geteuid() or found.st_mode & 0o77 or len(key) != 8:
        raise OSError(path)
    return int.from_bytes(key, "little", signed=True)  # a long long, in C


def _make_key(folder: str, path: str) -> None:
    if not os.path.isabs(folder):
        raise OSError(folder)
    missing = []
    while not os.path.isdir(folder):
        missing.append(folder)
        folder = os.path.dirname(folder)
    for one in reversed(missing):  # each 0700, as make_private() in owned.py has it
        try:
            os.mkdir(one, 0o700)
            os.chmod(one, 0o700)
        except FileExistsError:
            continue
    # Whole before it has its name: link(2) takes no name that is there.
    draft = f"{path}.{os.getpid()}"
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, os.urandom(8))
        os.link(draft, path)
    except FileExistsError:  # another process was faster
        return
    finally:
        os.close(fd)
        os.unlink(draft)


def _knock_or_listen(place: bytes, job_id: str, message: bytes) -> Handover | None:
    patience = _PATIENCE_AT_TERMINAL if os.isatty(2) else PATIENCE
    for _ in range(50):
        line = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        line.settimeout(patience)
        try:
            line.connect(place)
            if find_peer(line)[1] != os.geteuid():
                return None
            line.send(message)
            answer = line.recv(1024)
        except ConnectionRefusedError:
            listener = _listen(place)
            if listener is not None:
                return Handover(listener)
            time.sleep(0.002)  # another process is between bind and listen
            continue
        except (ConnectionResetError, BrokenPipeError):
            continue  # that process has ended before our turn came
        finally:
            line.close()
        return _end_if_started(job_id, answer)
    return Handover(None, job_id)


def _listen(place: bytes) -> socket.socket | None:
    """Return a socket at which others knock, None if another process has that name."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        listener.bind(place)
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        return None
    return listener


def _end_if_started(job_id: str, answer: bytes) -> Handover:
    """End this process as a submit that went well, if the answer says so."""
    if answer[:1] == STARTED:
        try:
            os.write(1, answer[1:])
            os._exit(0)
        except OSError:  # nobody takes the id: to be said as ever
            return Handover(None, job_id)
    return Handover(None, job_id)
