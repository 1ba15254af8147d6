"""Reads the arguments of the Python API into the requests of the verbs.

Each wrong type is a :class:`~sshjobs.errors.SpecError` that names the right one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, TypedDict, Union

from ..errors import SpecError
from ..model import TURN_WORDS, Spec, seconds
from ..quoting import join_words
from ..scheduling.pools import is_pool
from ..settings import Settings
from ..verbs.submit import (
    JobRequest,
    check_job_request,
    choose_launcher,
    choose_shell,
)

#: One word of a command.
Word = Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]"]

#: A shell line (str or bytes), a program (a path), or an argument vector.
Command = Union[Word, Sequence[Word]]


class JobOptions(TypedDict, total=False):
    """The arguments of ``Host.submit`` beside the command, by their names."""

    name: str | None
    key: str | None
    once: bool
    env: Mapping[str, Word] | None
    cwd: Word | None
    timeout: float | str | timedelta | None
    shell: str | None
    login: bool
    stdin: Word | None
    cleanup: str | None
    max_log_bytes: int | None
    launcher: str | None
    launcher_args: str | list[str] | None
    group: str | None
    priority: int | None
    split: bool
    wait_room: bool
    after: Iterable[object] | None


_OPTIONS = frozenset(JobOptions.__annotations__)


def build_job_request(
    settings: Settings, command: Command, options: Mapping[str, Any]
) -> JobRequest:
    """Return the checked request of a job.

    Raises:
        SpecError: a value is of another type, or one that no host can be asked for.
    """
    shell, login = options.get("shell"), options.get("login", False)
    cwd, stdin = options.get("cwd"), options.get("stdin")
    if not isinstance(login, bool):
        raise SpecError(f"login is True or False, {_but(login)}")
    if not isinstance(shell, (str, type(None))):
        raise SpecError(f"shell is a str, {_but(shell)}")
    if options.get("key") == "":
        raise SpecError("key is empty: None is the wish for no key")
    spec = Spec(
        command=_read_command(command),
        env=_read_env(options.get("env") or {}),
        cwd="" if cwd is None else _encode_word(cwd, "cwd").decode(*_STRAY),
        timeout=_convert_timeout(options.get("timeout")),
        shell=choose_shell(shell or "", login, settings.shell_startup),
        stdin=None if stdin is None else _read_stdin(stdin),
        kill_grace=settings.kill_grace,
        unbuffered=settings.unbuffered,
        split=options.get("split", False),
        launcher=choose_launcher(options.get("launcher"), settings),
    )
    args = _join_launcher_args(options.get("launcher_args"))
    if args or settings.launcher_args:
        from ..verbs.turns import split_launcher_args

        words = split_launcher_args(options.get("launcher"), args, settings)
        spec = spec._replace(launcher_args=words)
    if settings.max_running or any(map(options.get, TURN_WORDS)):
        spec = _build_turn(spec, options)
    request = JobRequest(
        spec,
        name="" if (name := options.get("name")) is None else name,
        key="" if (key := options.get("key")) is None else key,
        once=options.get("once", False),
        cleanup=options.get("cleanup"),
        max_log_bytes=options.get("max_log_bytes"),
    )
    return check_job_request(request)


def _build_turn(spec: Spec, options: Mapping[str, Any]) -> Spec:
    """Return the spec of a job that waits its turn on its host."""
    from ..verbs.turns import build_turn, split_condition

    given = options.get("after") or ()
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        raise SpecError(f"after is a list of jobs, {_but(given)}")
    texts = [getattr(job, "id", job) for job in given]
    before = [":".join(split_condition(str(text))) for text in texts]
    return build_turn(spec, {**options, "after": before})


def read_for_target(
    find_settings: Callable[[str], Settings],
    target: str,
    read: Callable[..., JobRequest],
    *item: object,
) -> JobRequest:
    """Return the request that a function makes of settings and an item.

    For a pool, the host that it chooses can have it made anew, with its own settings.
    """
    request = read(find_settings(target), *item)
    if not is_pool(target):
        return request
    return request._replace(for_host=lambda host: read(find_settings(host), *item))


def read_items(
    find_settings: Callable[[str], Settings],
    target: str,
    items: Iterable[Command | Mapping[str, Any]],
) -> Iterator[JobRequest]:
    """Yield the request of each item of a batch.

    Raises:
        SpecError: an item is wrong; the message has its number.
    """
    for number, item in enumerate(items, 1):
        try:
            yield read_for_target(find_settings, target, _read_item, item)
        except SpecError as error:
            raise SpecError(f"job {number}: {error}") from error


def _read_item(settings: Settings, item: Command | Mapping[str, Any]) -> JobRequest:
    """Return the request of one item: a command, or a mapping."""
    if not isinstance(item, Mapping):
        return build_job_request(settings, item, {})
    options = dict(item)
    command = options.pop("command", None)
    unknown = sorted(map(repr, options.keys() - _OPTIONS))
    if unknown:
        raise SpecError(f"not arguments of submit: {', '.join(unknown)}")
    return build_job_request(settings, command, options)


def read_paths(files: Word | Sequence[Word]) -> list[str]:
    """Return paths as texts; one path is a list of one."""
    if isinstance(files, (str, bytes, os.PathLike)):
        files = [files]
    if not isinstance(files, Sequence):
        raise SpecError(f"files are a path or a list of them, {_but(files)}")
    return [os.fsdecode(_encode_word(file, "a file")) for file in files]


_STRAY = ("utf-8", "surrogateescape")


def _read_env(env: object) -> tuple[tuple[str, bytes], ...]:
    """Return pairs of a name and a value, of a mapping.

    Raises:
        SpecError: it is none, or a value is no word.
    """
    if not isinstance(env, Mapping):
        raise SpecError(f"env is a mapping of names and values, {_but(env)}")
    pairs = ((name, _encode_word(env[name], f"env[{name!r}]")) for name in env)
    return tuple(pairs)


def _but(value: object) -> str:
    """Say which type was given; a value may be a secret."""
    return f"not a {type(value).__name__}"


def _read_command(command: object) -> bytes | tuple[bytes, ...]:
    if isinstance(command, (str, bytes)):
        return _encode_word(command, "command")
    if isinstance(command, os.PathLike):
        return (_encode_program(command),)
    if not isinstance(command, Sequence) or isinstance(command, (bytearray, range)):
        raise SpecError(
            f"command is a shell line (str, bytes), a path or a list, {_but(command)}"
        )
    words = [_encode_word(word, "a word of command") for word in command]
    if command and isinstance(command[0], os.PathLike):
        words[0] = _encode_program(command[0])
    return tuple(words)


def _encode_program(path: os.PathLike[Any]) -> bytes:
    """Return the path of a program; ``Path("./a")`` is ``a``, and not one of PATH."""
    word = _encode_word(path, "command")
    return word if b"/" in word or not word else b"./" + word


def _encode_word(word: object, what: str) -> bytes:
    if isinstance(word, os.PathLike):
        word = os.fspath(word)
    if isinstance(word, bytes):
        return word
    if not isinstance(word, str):
        raise SpecError(f"{what} is str, bytes or a path, {_but(word)}")
    try:
        return word.encode(*_STRAY)
    except UnicodeEncodeError as error:
        text = f"{what} has half a surrogate pair, which is no text"
        raise SpecError(text) from error


def _convert_timeout(timeout: object) -> float | None:
    if isinstance(timeout, timedelta):
        return timeout.total_seconds()
    if isinstance(timeout, str):
        return seconds(timeout)
    if isinstance(timeout, bool) or not isinstance(timeout, (float, int, type(None))):
        raise SpecError(
            f"timeout is seconds, a text such as '6h' or a timedelta, {_but(timeout)}"
        )
    return timeout


def _join_launcher_args(given: object) -> str | None:
    """Return options as one text, of a text or a list of words."""
    if isinstance(given, (list, tuple)):
        words = [_encode_word(word, "a word of launcher_args") for word in given]
        return join_words(word.decode(*_STRAY) for word in words)
    if not isinstance(given, (str, type(None))):
        raise SpecError(f"launcher_args is a str or a list, {_but(given)}")
    return given


def _read_stdin(stdin: object) -> bytes:
    """Return the bytes of a standard input; a path means the file's contents."""
    if not isinstance(stdin, os.PathLike):
        return _encode_word(stdin, "stdin")
    try:
        with open(stdin, "rb") as file:
            return file.read()
    except OSError as error:
        raise SpecError(f"stdin: {os.fspath(stdin)!r}: {error.strerror}") from error
