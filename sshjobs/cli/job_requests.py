"""Reading jobs to submit: from a command line, or a job a line from a file."""

from __future__ import annotations

import os
import sys

from ..errors import SpecError
from ..model import POOL, TURN_WORDS, Spec, new_job_id
from ..startup.contexts import nullcontext
from ..startup.records import TYPE_CHECKING
from ..verbs.context import Context
from ..verbs.submit import (
    JobRequest,
    check_job_request,
    choose_launcher,
    choose_shell,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Any

    Values = Mapping[str, Any]


def read_job_requests(ctx: Context, values: Values) -> Iterable[JobRequest]:
    """Return the jobs of a command line, those of ``--from FILE`` one at a time."""
    if values.get("at_most") is not None:
        from ..verbs.turns import name_batch

        values = name_batch(values)
    if values.get("from"):
        if values.get("command"):
            raise SpecError("give a COMMAND or --from FILE, not both")
        if values.get("stdin"):
            raise SpecError('--stdin goes with one COMMAND; a line has its own "stdin"')
        return _read_job_file(ctx, values)
    return [read_one_job_request(ctx, values)]


def read_one_job_request(ctx: Context, values: Values) -> JobRequest:
    """Return the job of one command line; its command may come on standard input."""
    words = _read_words_or_stdin(values)
    return _read_for_target(_build_job_request, ctx, values, *words)


def _read_for_target(
    read: Callable[..., JobRequest], ctx: Context, values: Values, *rest: object
) -> JobRequest:
    """Return what is read; for a pool, its host can have it read anew, as for itself.

    The settings of hosts differ.
    """
    job_request = read(ctx, values, *rest)
    if not values["host"].startswith(POOL):
        return job_request
    return job_request._replace(
        for_host=lambda host: read(ctx, dict(values) | {"host": host}, *rest)
    )


def read_job_request_of_each(
    ctx: Context, values: Values, hosts: Iterable[str]
) -> dict[str, JobRequest]:
    """Return by host the job of one command line, with the settings of that host."""
    command, stdin = _read_words_or_stdin(values)
    return {
        host: check_job_request(
            _build_job_request(ctx, dict(values) | {"host": host}, command, stdin)
        )
        for host in hosts
    }


def _read_words_or_stdin(
    values: Values,
) -> tuple[bytes | tuple[bytes, ...], bytes | None]:
    """Return the command of a command line, and the standard input of its job."""
    path = values.get("stdin")
    stdin = _read_whole_file(path) if path else None
    words = [os.fsencode(word) for word in values.get("command") or ()]
    if words:
        command = words[0] if len(words) == 1 else tuple(words)
        return command, stdin
    if path == "-":
        raise SpecError("standard input cannot be both the command and --stdin -")
    if sys.stdin is None or sys.stdin.isatty():
        raise SpecError("no COMMAND: give one after --, or on standard input")
    return sys.stdin.buffer.read(), stdin


def _read_whole_file(path: str) -> bytes:
    if path == "-":
        return sys.stdin.buffer.read()
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise SpecError(f"{path}: {error.strerror}") from error


def _build_job_request(
    ctx: Context,
    values: Values,
    command: bytes | tuple[bytes, ...],
    stdin: bytes | None,
) -> JobRequest:
    if values.get("key") == "":  # a variable that was not set, not the wish for no key
        raise SpecError("--key is empty")
    login = values.get("login") or False
    if not isinstance(login, bool):
        raise SpecError(f"login is true or false, not {login!r}")
    settings = ctx.settings(values["host"])
    spec = Spec(
        command=command,
        env=read_environment(ctx, values),
        cwd=values.get("cwd") or "",
        timeout=values.get("timeout"),
        shell=choose_shell(values.get("shell") or "", login, settings.shell_startup),
        stdin=stdin,
        kill_grace=settings.kill_grace,
        unbuffered=settings.unbuffered,
        split=values.get("split") or False,
        launcher=choose_launcher(values.get("launcher"), settings),
    )
    if values.get("launcher_args") or settings.launcher_args:
        from ..verbs.turns import split_launcher_args

        args = values.get("launcher"), values.get("launcher_args")
        spec = spec._replace(launcher_args=split_launcher_args(*args, settings))
    if settings.max_running or any(map(values.get, TURN_WORDS)):
        from ..verbs.turns import build_turn, find_before

        words, batch = values.get("after") or (), values.get("batch") or {}
        before = find_before(ctx, values["host"], words, batch)
        spec = build_turn(spec, {**values, "after": before})
    return JobRequest(
        spec,
        name=values.get("name") or "",
        key=values.get("key") or "",
        once=bool(values.get("once")),
        cleanup=values.get("cleanup"),
        max_log_bytes=values.get("max_log_bytes"),
        notify=values.get("notify") or "",
    )


def read_environment(ctx: Context, values: Values) -> tuple[tuple[str, bytes], ...]:
    """Return the variables that ``--env`` and ``--env-from`` of a call give."""
    pairs = {}
    for text in values.get("env") or ():
        name, equals, value = text.partition("=")
        if not equals:
            raise SpecError(f"--env takes K=V, not {text!r}: see --env-from")
        if name in pairs:
            raise SpecError(f"--env: {name} is given twice")
        pairs[name] = os.fsencode(value)
    for text in values.get("env_from") or ():
        name, _, source = text.partition("=")
        if name in pairs:
            raise SpecError(f"--env-from: {name} is given twice")
        if (source or name) not in ctx.environ:
            raise SpecError(f"--env-from: {source or name} is not in the environment")
        pairs[name] = os.fsencode(ctx.environ[source or name])
    return tuple(pairs.items())


def _yield_lines(path: str) -> Iterator[bytes]:
    """Yield the lines of a file, or of standard input."""
    try:
        with nullcontext(sys.stdin.buffer) if path == "-" else open(path, "rb") as file:
            for line in file:
                yield line.removesuffix(b"\n").removesuffix(b"\r")
    except OSError as error:
        raise SpecError(f"{path}: {error.strerror}") from error


def _read_job_file(ctx: Context, values: Values) -> Iterator[JobRequest]:
    """Yield a job a line; of those before it only names are held, for --after."""
    count = 0
    batch: dict[str, str] = {}
    values = dict(values) | {"batch": batch}
    for number, line in enumerate(_yield_lines(values["from"]), 1):
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")  # of some editors
        if not line.strip() or line.lstrip().startswith(b"#"):
            continue
        try:
            job_request = _read_for_target(_parse_line, ctx, values, line)
            check_job_request(job_request)
        except SpecError as error:
            raise SpecError(f"{values['from']}, line {number}: {error}") from error
        count += 1
        if values.get("key") and count > 1:
            raise SpecError('--key names one job; each line may have its own "key"')
        if job_request.name and not job_request.key:  # a key may have another holder
            job_request = job_request._replace(id=new_job_id())
            batch[job_request.name] = job_request.id
        yield job_request


def _parse_line(ctx: Context, values: Values, line: bytes) -> JobRequest:
    from .job_lines import parse_object, read_object

    plain = parse_object(line)
    if plain is None:
        return _build_job_request(ctx, values, line, None)
    merged, command, stdin, own = read_object(plain, values)
    job_request = _build_job_request(ctx, merged, command, stdin)
    env = dict(job_request.spec.env) | own
    return job_request._replace(spec=job_request.spec._replace(env=tuple(env.items())))
