"""The values that sshjobs speaks of: requests, and records of jobs.

Nothing here does I/O. Values are records: slotted, comparable, and cheap to define in
a process that lives for fifty milliseconds (see ``record.py``).
"""

from __future__ import annotations

import marshal
import os
import zlib

from .errors import SpecError
from .startup.records import TYPE_CHECKING, CheckedRecord, Record

if TYPE_CHECKING:
    from typing import Any

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_SHELL = _LETTERS + "_./+-= "
_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}

_BASE32 = "abcdefghijklmnopqrstuvwxyz234567"

CLEANUP = ("never", "on_success", "always")

#: The second log of a job whose standard error is kept apart; the first one is "".
STDERR = "stderr"

#: What can start a job on a host, see launchers/.
LAUNCHERS = ("process", "slurm", "sge", "systemd", "pbs", "lsf")

#: Before the name of a pool, where a HOST may be one.
POOL = "pool:"

#: The one of jobs that wait their turn; nobody names it, limits and the like do.
LIMIT = "limit"

#: The words of a call that make a job wait its turn, see verbs/turns.py.
TURN_WORDS = ("group", "at_most", "priority", "after", "wait_room")

#: In the place of the digest of a command, where a job has no key: the recorded command
#: is the whole shell line, or all words; and the record has all that a host is told, so
#: that no file has the spec (docs/decisions/0028).
LINE, VECTOR, RECORDED = "line", "vector", "record"

#: Seconds between TERM and KILL where nothing else is said.
USUAL_GRACE = 10.0

#: The largest command, environment or standard input that one job may carry.
#: It travels inside one request, which the host's shell reads into memory.
MAX_JOB_BYTES = 16 * 1024 * 1024

#: One environment string ends at 128 KiB on Linux (execve(2), MAX_ARG_STRLEN).
MAX_ENV_BYTES = 128 * 1024 - 1


def new_job_id() -> str:
    """Return a fresh job id: 80 random bits as 16 characters of base 32."""
    return "".join(_BASE32[byte & 31] for byte in os.urandom(16))


def is_job_id(text: str) -> bool:
    """Tell whether a word is a job id, and so nothing that names another file.

    All that comes from elsewhere (a reply, a directory, a caller) is asked about here
    before it names a row, a word of a program or a path.
    """
    return len(text) == 16 and not text.strip(_BASE32)


class Spec(CheckedRecord):
    """One command for a host, with its environment, limits and input.

    ``command`` is a shell line (``bytes``) or an argument vector (a tuple of
    ``bytes``). ``env`` holds pairs of name and value, and is left out of the
    ``repr``, of the digest and of every record: values may be secrets.
    """

    command: bytes | tuple[bytes, ...]
    env: tuple[tuple[str, bytes], ...] = ()
    cwd: str = ""  # "" is the login directory
    timeout: float | None = None  # seconds, kept on the host
    shell: str = ""  # and its flags; "" is the login shell, as is "-" with flags
    stdin: bytes | None = None  # None is /dev/null
    kill_grace: float = USUAL_GRACE  # seconds between TERM and KILL
    launcher: str = ""  # what starts it there, see launchers/; "" is process
    launcher_args: tuple[bytes, ...] = ()  # words for that, such as options of sbatch
    unbuffered: bool = True  # has PYTHONUNBUFFERED=1 where its environment has none
    split: bool = False  # its standard error has a log of its own

    def check_types(self) -> None:
        """Refuse values of another type."""
        for name, kind, value in zip(self._fields, _SPEC_KINDS, self):
            is_number = kind is not bool and isinstance(
                value, bool
            )  # Python's own view
            if not isinstance(value, kind) or is_number:
                raise SpecError(f"{name} is not {self.__annotations__[name]}")
        vector = self.command if isinstance(self.command, tuple) else ()
        are_bytes = all(isinstance(w, bytes) for w in (*vector, *self.launcher_args))
        if not are_bytes or any(
            not isinstance(pair, tuple) or [*map(type, pair)] != [str, bytes]
            for pair in self.env
        ):
            raise SpecError("a word of command is bytes; env is pairs of str and bytes")

    def __repr__(self) -> str:
        names = ", ".join(name for name, _ in self.env)
        return f"<Spec {self.text()[:60]!r} env=[{names}]>"

    def text(self) -> str:
        """Return the command as a person would type it, for display only."""
        if isinstance(self.command, bytes):
            return self.command.decode(*_FS)
        from .quoting import join_words  # a list of jobs needs none of it

        return join_words(word.decode(*_FS) for word in self.command)

    def size(self) -> int:
        """Return how many bytes of the user's own the spec carries."""
        command = self.command
        words = (command,) if isinstance(command, bytes) else command
        return (
            sum(map(len, words))
            + sum(len(name) + len(value) for name, value in self.env)
            + len(self.stdin or b"")
        )

    def digest(self) -> str:
        """Return 16 hex digits of SHA-256 that tell two commands apart."""
        import hashlib  # 3 ms, of which the loading of libcrypto is most

        vector = not isinstance(self.command, bytes)
        words = [self.command] if isinstance(self.command, bytes) else self.command
        parts = [b"v" if vector else b"l", *words, self.cwd.encode(*_FS)]
        parts += [self.shell.encode(*_FS), self.stdin or b""]
        sizes = b" ".join(b"%d" % len(part) for part in parts)
        return hashlib.sha256(sizes + b":" + b"".join(parts)).hexdigest()[:16]

    def dumps(self) -> bytes:
        """Write the spec down for the store's 0600 files, secrets included."""
        values = self._asdict()
        # An older version at work beside this knows neither.
        for name, usual in (("unbuffered", True), ("split", False)):
            if values[name] is usual:
                del values[name]
        return pack(values)

    @classmethod
    def loads(cls, data: bytes) -> Spec:
        """Read the bytes that :meth:`dumps` wrote.

        Raises:
            ValueError: it is damaged.
        """
        try:
            return cls(**unpack(data))
        except (TypeError, SpecError) as error:
            raise ValueError("not a spec") from error


#: The types of its fields, in their order.
_SPEC_KINDS: tuple[Any, ...] = (
    *((bytes, tuple), tuple, str, (float, int, type(None)), str),
    *((bytes, type(None)), (float, int), str, tuple, bool, bool),
)


_FS = ("utf-8", "surrogateescape")

#: The format of :func:`pack`; every Python since 2.5 reads it.
_MARSHAL = 2

#: Before the checksum at the end, which marshal passes over. A damaged length would
#: make marshal ask for any amount of memory. Older versions wrote no checksum.
_SUM = b"\0crc"


def pack(value: Any) -> bytes:
    """Write a plain value down, for another process of this user and machine.

    It takes the values of JSON, and bytes and tuples, and costs nothing to import.
    """
    data = marshal.dumps(value, _MARSHAL)
    return data + _SUM + zlib.crc32(data).to_bytes(4, "big")


def unpack(data: bytes) -> Any:
    """Read the bytes that :func:`pack` wrote.

    Raises:
        ValueError: it is cut or something else.
    """
    try:
        body, mark, number = data[:-8], data[-8:-4], data[-4:]
        if mark == _SUM and zlib.crc32(body).to_bytes(4, "big") != number:
            raise ValueError("a packed value that was damaged")
        return marshal.loads(data)
    except (EOFError, TypeError, MemoryError) as error:
        raise ValueError("not a packed value") from error


class Job(Record):
    """All that this machine knows of a job; one row of the store.

    Instants are seconds since the epoch. ``log_bytes`` counts the bytes known to be
    written on the host, ``log_local_bytes`` those of them that are here; so do
    ``stderr_bytes`` and ``stderr_local_bytes`` of a job whose standard error has a log
    of its own. ``log_final`` says that each log is whole here.
    """

    id: str
    host: str
    site_id: str  # identity of the connection, see transports.Identity.key
    state: str
    key: str = ""
    name: str = ""
    attempt: int = 1
    command: str = ""
    exit_status: int | None = None
    signal: int | None = None
    reason: str = ""
    submitted_at: float = 0.0
    started_at: float | None = None
    finished_at: float | None = None
    log_bytes: int = 0  # the last of those that are shown, see SHOWN_FIELDS
    once: bool = False
    digest: str = ""
    cwd: str = ""
    shell: str = ""
    env_names: str = ""  # separated by spaces
    timeout: float | None = None
    cleanup: str = "never"
    node: str = ""
    pid: int | None = None
    start: str = ""
    log_local_bytes: int = 0
    log_final: bool = False
    reaped_at: float | None = None
    max_log_bytes: int = 0  # so many are brought home, 0: all; the rest stays there
    launcher: str = ""  # what starts it there, see launchers/; "" is process
    handle: str = ""  # its name there, LAUNCHER:ID:QUEUE, once it has one
    pool: str = ""  # the pool that it was submitted to, which placed it on its host
    stderr_bytes: int | None = None  # None: standard error stands in the one log
    stderr_local_bytes: int = 0

    def public(self) -> dict[str, Any]:
        """Return the fields of ``--json``, in their order (design §7)."""
        names = (
            "id key name host state exit_status signal reason attempt "
            "submitted_at started_at finished_at log_bytes"
        )
        return {name: getattr(self, name) for name in names.split()}


def build_recorded_spec(job: Job) -> Spec:
    """Return the spec of a job whose record has all of it (RECORDED)."""
    command = job.command.encode("utf-8")
    split = job.stderr_bytes is not None
    return Spec(command, (), job.cwd, job.timeout, job.shell, split=split)


#: The first fields of a job: all that a line on it, or its ``--json``, is made of.
SHOWN_FIELDS = Job._fields[: Job._fields.index("log_bytes") + 1]


def name_streams(job: Job) -> tuple[str, ...]:
    """Return the logs of a job: the one of all that it writes, or two."""
    return ("",) if job.stderr_bytes is None else ("", STDERR)


def check_spec(spec: Spec) -> Spec:
    """Return ``spec`` if a host can be asked for it.

    Raises:
        SpecError: an empty command, a NUL byte where POSIX has none, a bad name
            of an environment variable, a value that execve(2) would refuse, or
            more bytes than :data:`MAX_JOB_BYTES`.
    """
    _check_command(spec.command)
    if "\0" in spec.cwd:
        raise SpecError("a NUL byte cannot stand in a directory")
    for name, value in spec.env:
        check_env(name, value)
    if spec.shell.strip(_SHELL) or spec.shell != " ".join(spec.shell.split()):
        raise SpecError(f"not the name of a shell: {spec.shell!r}")
    if any(word[:1] == "-" and word[-1:] == "c" for word in spec.shell.split()[1:]):
        raise SpecError(
            f"{spec.shell!r}: the shell runs a file, not the text after -c: leave c out"
        )
    if spec.timeout is not None and not 0 < spec.timeout < 1e9:
        raise SpecError(f"not a timeout in seconds: {spec.timeout!r}")
    if spec.size() > MAX_JOB_BYTES:
        raise SpecError(
            f"the job carries {spec.size():,} bytes; the most is {MAX_JOB_BYTES:,}: "
            "copy large input to the host first"
        )
    return spec


def _check_command(command: bytes | tuple[bytes, ...]) -> None:
    words = (command,) if isinstance(command, bytes) else command
    if not words or not words[0].strip():
        raise SpecError("the command is empty")
    if any(b"\0" in word for word in words):
        raise SpecError("a NUL byte cannot stand in a command")
    if isinstance(command, tuple) and max(map(len, words)) > MAX_ENV_BYTES:
        raise SpecError(
            "an argument is longer than 131,071 bytes, which no execve(2) "
            "takes; pass it on standard input (--stdin) or as a shell line"
        )


def check_env(name: str, value: bytes) -> None:
    """Refuse a variable that cannot stand in an environment.

    Raises:
        SpecError: the message names the variable and never its value.
    """
    if not (name.isascii() and name.isidentifier()):
        raise SpecError(f"not the name of an environment variable: {name!r}")
    if b"\0" in value:
        raise SpecError(f"the value of {name} has a NUL byte")
    if len(name) + 1 + len(value) > MAX_ENV_BYTES:
        raise SpecError(f"the value of {name} is longer than 128 KiB less its name")


def seconds(text: str) -> float:
    """Read a span of time: ``90``, ``90s``, ``15m``, ``12h``, ``7d``, ``2w``.

    Raises:
        SpecError: anything else.
    """
    number = text.strip().rstrip("smhdw")
    unit = text.strip()[len(number) :]
    whole, dot, part = number.rstrip().partition(".")
    digits = whole + part if part or not dot else ""
    if unit not in _UNITS or not (whole and digits.isascii() and digits.isdigit()):
        raise SpecError(f"not a span of time: {text!r} (say 90, 15m, 12h or 7d)")
    value = float(number) * _UNITS[unit]
    if not value < 1e10:
        raise SpecError(f"not a span of time: {text[:40]!r} is more than 300 years")
    return value


def printable(text: str) -> str:
    """Return ``text`` with control characters and stray bytes escaped.

    All that is shown to people goes through here, raw log bytes apart, so that
    a host cannot drive the terminal of a person who looks at its answer.
    """
    if text.isprintable():  # a space is, too
        return text
    return "".join(
        char if char.isprintable() or char == " " else _escape(char) for char in text
    )


def _escape(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return char.encode("unicode_escape").decode("ascii")
