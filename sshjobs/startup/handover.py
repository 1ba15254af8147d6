"""Hands a submit over to a process of this machine that is about to submit as well.

Theory of operation: where far more wants to run than there are processors, mostly very
many of our processes were started at once (a loop, cron, a scheduler), and most of what
each costs is done by each for itself: imports, settings, the store. So the first of
them listens, before all that, at a name that stands for all that its call and another
must have in common (user, environment, directory, host, code). The others send it their
arguments, and sleep. It writes their jobs down until its own stands in a request, and
tells each whose job has started: that one prints its id.

In any other case the process that asked sees to its job itself, as usual, under the id
that it had sent. It hangs up first, and looks for that id in the store then; the one
that listens looks, with the write lock of the store in hand, who has hung up. So a job
is written down once, whoever is killed or stopped.

The name is an abstract one, which only Linux has (unix(7)): it goes with its process,
and has no permissions, and it reaches beyond containers that share a network. So each
end asks the kernel for the user of the other, and both prove that they know a key which
is in a file of that user. The name itself is a hash with that key, since all see it.
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

#: The answers: the job has started, signed; or its own process is to look after it.
STARTED, LOOK = b"s", b"l"

#: Before a message, when it is signed.
ASK = b"ask"

#: The characters of a signature.
SIGNATURE = 16

#: Where the key of this user is, see :func:`_read_key`.
KEY_FOLDER, KEY_NAME = f"/tmp/sshjobs-{os.geteuid()}", "handover.key"

_BASE32 = "abcdefghijklmnopqrstuvwxyz234567"


class Handover(Record):
    """The result, for a process that goes on.

    ``listener`` is where others knock, ``job_id`` the id under which this process's
    job was handed over; one of them is there. ``is_interrupted`` says that a person has
    pressed Ctrl-C since, ``key`` is the secret with which others sign.
    """

    listener: socket.socket | None = None
    job_id: str = ""
    is_interrupted: bool = False
    key: bytes = b""


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
        key = _read_key()
        place = _name_place(words[1], key)
        return _knock_or_listen(place, key, job_id, job_id.encode() + b"\0" + message)
    except KeyboardInterrupt:
        return Handover(None, job_id, True)
    except OSError:  # no such sockets, no descriptor left
        return Handover(None, job_id)


def sign(key: bytes, message: bytes) -> bytes:
    """Return 16 characters that only one who knows the key can tell of a message."""
    # The keyed hash of cached code (PEP 552), since hashlib would be a library to load.
    # Its number is a C long, of 32 bits maybe: the whole key stands before the message.
    number = int.from_bytes(key[:3], "little")
    digest: bytes = sys.modules["_imp"].source_hash(number, key + message)
    return digest.hex().encode()


def find_peer(line: socket.socket) -> tuple[int, int]:
    """Return the process and the user at the other end, as the kernel knows them."""
    # struct ucred, unix(7): pid, uid, gid.
    data = line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    numbers = [int.from_bytes(data[at : at + 4], sys.byteorder) for at in (0, 4)]
    return numbers[0], numbers[1]


def is_stopped(pid: int) -> bool:
    """Tell whether a process is stopped (Ctrl-Z), as proc_pid_stat(5) has it."""
    with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
        return file.read(4096).rpartition(b") ")[2][:1] in b"Tt"


def is_plain_call(words: list[str]) -> bool:
    """Tell whether a call is submit, HOST, some flags, --, and a shell line."""
    if words[0] != "submit" or words[-2:-1] != ["--"] or "--" in words[:-2]:
        return False
    if words[1].startswith(("-", "pool:")) or "," in words[1]:
        return False
    if sys.getfilesystemencoding() != "utf-8":  # arguments are to be read anew
        return False
    flags = iter(words[2:-2])
    for word in flags:
        name, equals, _ = word.partition("=")
        if name in _VALUED:
            if not equals and next(flags, "-").startswith("-"):
                return False
        elif word not in _FLAGS:
            return False
    return True


def _name_place(host: str, key: bytes) -> bytes:
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
        _look_at_config(),
    )
    # Version 2 of marshal says the same of equal values, whatever else refers to them.
    return b"\0sshjobs-" + sign(key, b"name" + marshal.dumps(common, 2))


def _look_at_config() -> tuple[int, ...]:
    """Return which config file is in force; see read_config() in verbs/config.py."""
    path = os.environ.get("SSHJOBS_CONFIG", "")
    if not path:
        import pwd

        try:
            path = f"{pwd.getpwuid(os.geteuid()).pw_dir}/.config/sshjobs/config.toml"
        except KeyError:
            return ()
    try:
        found = os.stat(path)
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size


def _read_key() -> bytes:
    """Return a secret of this user, made at its first use.

    It is beside the sockets that are too long for a home, see ``choose_rundir()``.

    Raises:
        OSError: there is none, or others could know it.
    """
    try:
        os.mkdir(KEY_FOLDER, 0o700)
    except FileExistsError:
        found = os.lstat(KEY_FOLDER)
        if found.st_uid != os.geteuid() or found.st_mode & 0o170077 != 0o040000:
            raise OSError(KEY_FOLDER) from None
    else:
        os.chmod(KEY_FOLDER, 0o700)  # whatever the umask says
    path = f"{KEY_FOLDER}/{KEY_NAME}"
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        fd = os.open(path, flags)
    except FileNotFoundError:
        _make_key(path)
        fd = os.open(path, flags)
    try:
        found, key = os.fstat(fd), os.read(fd, 33)
    finally:
        os.close(fd)
    if found.st_uid != os.geteuid() or found.st_mode & 0o77 or len(key) != 32:
        raise OSError(path)
    return key


def _make_key(path: str) -> None:
    # Whole before it has its name: link(2) takes no name that is there.
    draft = f"{path}.{os.getpid()}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(draft, flags, 0o600)
    try:
        os.fchmod(fd, 0o600)
        os.write(fd, os.urandom(32))
        os.link(draft, path)
    except FileExistsError:  # another process was faster
        return
    finally:
        os.close(fd)
        os.unlink(draft)


def _knock_or_listen(
    place: bytes, key: bytes, job_id: str, message: bytes
) -> Handover | None:
    patience = _PATIENCE_AT_TERMINAL if os.isatty(2) else PATIENCE
    end = time.monotonic() + patience
    message = sign(key, ASK + message) + message
    while (left := end - time.monotonic()) > 0.0:
        line = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        line.settimeout(left)
        try:
            line.connect(place)
            pid, uid = find_peer(line)
            if uid != os.geteuid() or is_stopped(pid):
                return None
            line.send(message)
            answer = line.recv(1024)
        except ConnectionRefusedError:
            listener = _listen(place)
            if listener is not None:
                return Handover(listener, key=key)
            time.sleep(0.002)  # another process is between bind and listen
            continue
        except (ConnectionResetError, BrokenPipeError):
            continue  # that process has ended before our turn came
        finally:
            line.close()
        _end_if_started(key, job_id, answer)
        break
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


def _end_if_started(key: bytes, job_id: str, answer: bytes) -> None:
    """Print the text of an answer and end well, if it says that the job has started."""
    proof = STARTED + sign(key, STARTED + job_id.encode())
    if not answer.startswith(proof):
        return
    text = answer[len(proof) :]
    try:
        while text:
            text = text[os.write(1, text) :]
        os._exit(0)
    except OSError:  # nobody takes it: to be said as ever
        return
