"""Carries out what the command line or an Invoke task has read.

:func:`run` is given a verb's name and a plain dict of its arguments (see
``manual.py``), calls the verb, prints, and returns the exit status. Results go
to standard output, everything for people to standard error.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext

from .. import errors, states
from ..errors import SpecError, SshJobsError
from ..model import Job, Spec, printable
from ..startup.records import TYPE_CHECKING
from ..verbs.context import Context

if TYPE_CHECKING:
    from typing import Any, TextIO

    from ..verbs.fanout import HostResults
    from ..verbs.submit import JobRequest, Submitted

    Values = Mapping[str, Any]

#: What one line of ``--from`` may say of a job.
_FIELDS = frozenset(
    "command name key once env cwd timeout shell login cleanup stdin".split()
)


def run(verb: str, values: Values, *, last: bool = False) -> int:
    """Carry out a verb; return the exit status.

    Every error of sshjobs becomes one message and its status; anything else is a
    bug and keeps its traceback.

    Args:
        last: The process ends right after, and takes the store with it. To close it
            would fold the WAL into the database and wait for the disk, each time.
    """
    _make_sure_of_streams()
    values = _in_utf8(values)
    try:
        ctx = Context(flags=_flags(values))
        ctx.say = _err
        try:
            return _VERBS[verb](ctx, values)
        finally:
            if not last:
                ctx.close()
            sys.stdout.flush()
            if ctx.remark:
                _err(ctx.remark)
    except SshJobsError as error:
        # The standard output of a run is the job's own.
        return _say(error, sys.stderr if verb == "run" else sys.stdout)
    except BrokenPipeError:
        _mute()
        return 141
    except OSError as error:  # most others have crossed the seams
        return _broken(error)
    except KeyboardInterrupt:
        return 130
    except errors.Interrupted as interrupted:
        return 128 + interrupted.signum


#: What is text on the host, or a name that others ask by.
_TEXTS = ("host", "job", "key", "name", "cwd", "shell", "l", "J")


def _in_utf8(values: Values) -> Values:
    """Return the values with the texts of a command line as UTF-8 has them.

    Python reads arguments by the locale. But a directory on a host is bytes, and a key
    must be the same from a login and from cron: so are these what their bytes are in
    UTF-8, whatever the locale. In one that is older, what is no UTF-8 is as it says.
    """
    if sys.getfilesystemencoding() == "utf-8":
        return values
    return dict(values) | {name: _recoded(name, values.get(name)) for name in _TEXTS}


def _recoded(name: str, value: Any) -> Any:
    if isinstance(value, list):
        return [_recoded(name, word) for word in value]
    if not isinstance(value, str):
        return value
    data = os.fsencode(value)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("utf-8", "surrogateescape") if name == "cwd" else value


def _make_sure_of_streams() -> None:
    """Have all three, whatever we were started with, and let no name fail on them."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream = getattr(sys, name)
        if stream is None:
            fd = os.open(os.devnull, os.O_RDWR)
            if fd != number:
                os.dup2(fd, number)
            setattr(sys, name, os.fdopen(number, "r" if number == 0 else "w"))
        elif number and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _flags(values: Values) -> dict[str, Any]:
    names = ("wait_host", "cleanup", "max_log_bytes")
    flags = {name: values[name] for name in names if values.get(name) is not None}
    if values.get("F") == "" or "" in (values.get("i") or ()):
        raise SpecError("arguments -F and -i: a path is empty")
    if values.get("F"):
        flags["ssh_config"] = values["F"]
    words = list(_ssh_words(values))
    if words:
        import shlex

        flags["ssh_options"] = shlex.join(words)
    if (words or "ssh_config" in flags) and not values.get("host"):
        raise SpecError("-p, -l, -i, -J, -F and -o say where a host is: name it")
    return flags


def _ssh_words(values: Values) -> Iterator[str]:
    """Yield what the flags of ssh are as its options (``ssh -o``)."""
    for letter, name in (("p", "Port"), ("l", "User"), ("J", "ProxyJump")):
        if values.get(letter) is not None:
            yield f"{name}={values[letter]}"
    for path in values.get("i") or ():
        yield f"IdentityFile={_config_word(_key_path(path))}"
    yield from values.get("o") or ()


def _key_path(path: str) -> str:
    """Return the path of a key from everywhere: who connects may stand elsewhere."""
    if path[0] in "/~%$":
        return path
    try:
        return os.path.abspath(path)
    except FileNotFoundError as error:
        raise SpecError(
            f"argument -i: {path!r} is relative to this directory, which is gone"
        ) from error


def _config_word(text: str) -> str:
    """Return a text as one word of ssh_config(5)."""
    if text and not set(text) & set(" \t\"'\\#"):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _broken(error: OSError) -> int:
    """Say that nothing can be printed any more, or what else this machine refused.

    What is printed has no name; whatever has one is to blame by that.
    """
    import errno

    if error.errno in (errno.EMFILE, errno.ENFILE):
        _err(f"{error.strerror} by this process: ulimit -n")
    elif error.errno in (errno.EAGAIN, errno.ENOMEM, errno.EPERM) or error.filename:
        _err(str(errors.of_system(str(error.filename or "this machine"), error)))
    else:
        _mute()
        _err(f"standard output: {error.strerror}")
    return errors.SshJobsError.exit_status


def _mute() -> None:
    """Keep the interpreter from writing to a closed pipe when it ends."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 1)
    os.close(devnull)


def _say(error: SshJobsError, ids: TextIO) -> int:
    _err(str(error))
    if isinstance(error, errors.NotYet):
        for job_id in error.job_ids:
            _line(job_id, ids)
    return error.exit_status


def _err(text: str) -> None:
    lines = [printable(line) for line in text.splitlines() or [""]]
    _line("sshjobs: " + "\n  ".join(lines), sys.stderr)


def _line(text: str, file: TextIO | None = None) -> None:
    """Print a line in one write, also with PYTHONUNBUFFERED: others write there too."""
    print(f"{text}\n", end="", file=file, flush=file is sys.stderr)


def _json(value: Mapping[str, Any]) -> str:
    import json

    return json.dumps(value)


def _shower(values: Values) -> Callable[[list[Job]], None]:
    """Return what prints jobs while other hosts are still asked."""

    def show(jobs: list[Job]) -> None:
        for job in jobs:
            _show_job(values, job)
        sys.stdout.flush()

    return show


def _show_job(values: Values, job: Job) -> None:
    if values.get("json"):
        _line(_json(job.public()))
    else:
        from .. import display

        _line(display.job_line(job, colour=sys.stdout.isatty()))


def _write(data: bytes | memoryview) -> None:
    """Write all of these bytes to standard output, now."""
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]


# -- reading orders ------------------------------------------------------------------


def _job_requests(ctx: Context, values: Values) -> Iterable[JobRequest]:
    if values.get("from"):
        if values.get("command"):
            raise SpecError("give a COMMAND or --from FILE, not both")
        if values.get("stdin"):
            raise SpecError('--stdin goes with one COMMAND; a line has its own "stdin"')
        return _from_file(ctx, values)
    return [_one_job_request(ctx, values)]


def _one_job_request(ctx: Context, values: Values) -> JobRequest:
    stdin = _stdin(values)
    command = _command(values)
    if command is None and values.get("stdin") == "-":
        raise SpecError("standard input cannot be both the command and --stdin -")
    if command is None:
        command = _command_from_stdin()
    return _job_request(ctx, values, command, stdin)


def _command(values: Values) -> bytes | tuple[bytes, ...] | None:
    words = [os.fsencode(word) for word in values.get("command") or ()]
    if not words:
        return None
    return words[0] if len(words) == 1 else tuple(words)


def _command_from_stdin() -> bytes:
    if sys.stdin is None or sys.stdin.isatty():
        raise SpecError("no COMMAND: give one after --, or on standard input")
    return sys.stdin.buffer.read()


def _stdin(values: Values) -> bytes | None:
    path = values.get("stdin")
    return _read(path) if path else None


def _read(path: str) -> bytes:
    if path == "-":
        return sys.stdin.buffer.read()
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise SpecError(f"{path}: {error.strerror}") from error


def _job_request(
    ctx: Context,
    values: Values,
    command: bytes | tuple[bytes, ...],
    stdin: bytes | None,
) -> JobRequest:
    from ..verbs.submit import JobRequest

    settings = ctx.settings(values["host"])
    spec = Spec(
        command=command,
        env=_environment(ctx, values),
        cwd=values.get("cwd") or "",
        timeout=values.get("timeout"),
        shell=_shell(values, settings.shell_startup),
        stdin=stdin,
        kill_grace=settings.kill_grace,
    )
    return JobRequest(
        spec,
        name=values.get("name") or "",
        key=_key(values),
        once=bool(values.get("once")),
        cleanup=values.get("cleanup"),
    )


def _shell(values: Values, startup: str) -> str:
    """Return which shell is to run a line, with its flags."""
    shell, login = values.get("shell") or "", values.get("login") or False
    if not isinstance(login, bool):
        raise SpecError(f"login is true or false, not {login!r}")
    if login or (startup == "login" and not shell):
        return f"{shell or '-'} -l"
    return shell or ("-" if startup == "none" else "")


def _key(values: Values) -> str:
    """Return the key; an empty one is a variable that was not set, not no key."""
    key = values.get("key")
    if key == "":
        raise SpecError("--key is empty")
    return key or ""


def _environment(ctx: Context, values: Values) -> tuple[tuple[str, bytes], ...]:
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


def _lines(path: str) -> Iterator[bytes]:
    """Yield the lines of a file, or of standard input."""
    try:
        with nullcontext(sys.stdin.buffer) if path == "-" else open(path, "rb") as file:
            for line in file:
                yield line.removesuffix(b"\n").removesuffix(b"\r")
    except OSError as error:
        raise SpecError(f"{path}: {error.strerror}") from error


def _from_file(ctx: Context, values: Values) -> Iterator[JobRequest]:
    """Yield a job a line, and hold no more than that: a batch may be long."""
    from ..verbs.submit import check_job_request

    count = 0
    for number, line in enumerate(_lines(values["from"]), 1):
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")  # of some editors
        if not line.strip() or line.lstrip().startswith(b"#"):
            continue
        try:
            job_request = check_job_request(_job_request_of_line(ctx, values, line))
        except SpecError as error:
            raise SpecError(f"{values['from']}, line {number}: {error}") from error
        count += 1
        if values.get("key") and count > 1:
            raise SpecError('--key names one job; each line may have its own "key"')
        yield job_request


def _job_request_of_line(ctx: Context, values: Values, line: bytes) -> JobRequest:
    plain = _object(line)
    if plain is None:
        return _job_request(ctx, values, line, None)
    once = plain.get("once")
    if once is not None and not isinstance(once, bool):
        raise SpecError(f'"once" is true or false, not {once!r:.60}')
    unknown = sorted(set(plain) - _FIELDS)
    if unknown:
        raise SpecError(f"not fields of a job: {', '.join(map(repr, unknown))}")
    own = {k: v for k, v in plain.items() if k not in _SPECIAL and v is not None}
    merged = dict(values) | own
    for name in ("name", "key", "cwd", "shell", "cleanup"):
        if plain.get(name) is not None:
            _encode(plain[name], name)
    stdin = plain.get("stdin")
    job_request = _job_request(
        ctx,
        merged | {"timeout": _timeout(plain, values)},
        _object_command(plain.get("command")),
        None if stdin is None else _encode(stdin, "stdin"),
    )
    env = dict(job_request.spec.env) | _object_env(plain.get("env"))
    return job_request._replace(spec=job_request.spec._replace(env=tuple(env.items())))


_SPECIAL = ("command", "env", "stdin", "timeout")


def _object(line: bytes) -> dict[str, Any] | None:
    """Return the JSON object that a line is, None if it is a shell line.

    ``{ echo hello; }`` is a shell line, and no JSON.
    """
    text = line.strip()
    if not (text.startswith(b"{") and text[1:].lstrip()[:1] in (b'"', b"}")):
        return None
    import json

    try:
        value = json.loads(
            text.decode("utf-8"),
            object_pairs_hook=_once_each,
            parse_constant=_no_number,
        )
    except SpecError:
        raise
    except RecursionError as error:
        raise SpecError("the JSON object is nested too deeply") from error
    except ValueError as error:
        raise SpecError(f"begins like a JSON object and is none: {error}") from error
    if not isinstance(value, dict):
        raise SpecError("not a JSON object")
    return value


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object of these pairs; JSON leaves open which of two would count."""
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise SpecError(f"{twice!r} stands twice in one object")
    return values


def _no_number(word: str) -> float:
    raise SpecError(f"{word} is no number of JSON")


def _object_command(command: Any) -> bytes | tuple[bytes, ...]:
    if isinstance(command, str):
        return _encode(command, "command")
    if isinstance(command, list) and command:
        return tuple(_encode(word, "a word of command") for word in command)
    raise SpecError('"command" is a text or a list of words')


def _object_env(env: Any) -> dict[str, bytes]:
    if env is None:
        return {}
    if not isinstance(env, dict):
        raise SpecError('"env" is an object of names and values')
    return {name: _encode(value, f"the value of {name}") for name, value in env.items()}


def _encode(text: Any, what: str) -> bytes:
    if not isinstance(text, str):
        raise SpecError(f"{what} is not a text")
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise SpecError(
            f"{what} has half a surrogate pair, which is no text"
        ) from error


def _timeout(plain: Mapping[str, Any], values: Values) -> float | None:
    from ..model import seconds

    given = plain.get("timeout", values.get("timeout"))
    if isinstance(given, str):
        return seconds(given)
    if given is None or (
        isinstance(given, (int, float)) and not isinstance(given, bool)
    ):
        return given
    raise SpecError(f"timeout is not a span of time: {given!r:.60}")


# -- the verbs -----------------------------------------------------------------------


def _submit(ctx: Context, values: Values) -> int:
    try:
        return _submit_each(ctx, values)
    except errors.NotYet as error:
        _print_unanswered(ctx, values, error)
        raise errors.NotYet(error.detail) from error


def _print_unanswered(ctx: Context, values: Values, error: errors.NotYet) -> None:
    """Print what a batch has come to so far, in step with its input."""
    for job_id in error.job_ids:
        job = ctx.store.job(job_id)
        if job is None:
            _print_failure(values, len(error.job_ids), error)
        else:
            _line(_json(job.public()) if values.get("json") else job_id)


def _submit_each(ctx: Context, values: Values) -> int:
    from ..verbs.submit import submit_each_job

    status = count = 0
    job_requests = _job_requests(ctx, values)

    def counted() -> Iterator[JobRequest]:
        nonlocal count
        for job_request in job_requests:
            count += 1
            yield job_request

    with closing(submit_each_job(ctx, values["host"], counted())) as results:
        for number, done in enumerate(results, 1):
            if done.error is not None:
                which = f"job {number} of {count}: " if count > 1 else ""
                _err(f"{which}{done.error}")
                status = status or done.error.exit_status
                _print_failure(values, count, done.error)
                continue
            assert done.job is not None
            _warn(done)
            _line(_json(done.job.public()) if values.get("json") else done.job.id)
    return status


def _print_failure(values: Values, job_requests: int, error: SshJobsError) -> None:
    """Keep the lines of a batch's output in step with those of its input."""
    if job_requests > 1:
        _line(_json({"id": None, "error": str(error)}) if values.get("json") else "-")


def _warn(done: Submitted) -> None:
    if done.differs and done.job is not None:
        _err(f"key {done.job.key}: job {done.job.id} holds it, with another command")


def _run(ctx: Context, values: Values) -> int:
    from ..verbs.run import exit_status_of, run_job

    job_request = _one_job_request(ctx, values)
    started: list[Job] = []

    def on_start(done: Submitted) -> None:
        assert done.job is not None
        started.append(done.job)
        _warn(done)
        _line(done.job.id, sys.stderr)

    detach = bool(values.get("detach_on_signal"))
    host = values["host"]
    with _saying_it_goes_on(started, detach):
        job = run_job(ctx, host, job_request, _write, on_start, detach_on_signal=detach)
    _miss_bytes(job)
    if values.get("json"):
        _line(_json(job.public()), sys.stderr)
    elif job.state != states.COMPLETED:
        from .. import display

        _err(display.job_line(job))
    return exit_status_of(job)


@contextmanager
def _saying_it_goes_on(started: list[Job], detach: bool) -> Iterator[None]:
    """Say of a job that was left how it is taken up again."""
    try:
        yield
    except (SshJobsError, errors.Interrupted) as error:
        told = detach if isinstance(error, errors.Interrupted) else True
        for job in started if told and not isinstance(error, errors.JobError) else ():
            _err(f"job {job.id} goes on: sshjobs logs {job.id} --follow")
        raise


def _poll(ctx: Context, values: Values) -> int:
    from ..verbs.poll import poll_jobs

    sensor = bool(values.get("sensor"))
    answer = poll_jobs(
        ctx,
        values.get("job") or (),
        host=values.get("host"),
        key=values.get("key"),
        adopt=bool(values.get("adopt")),
        sensor=sensor,
        show=_shower(values),
    )
    status = _tell(answer)
    if answer.any_bad():
        return 1
    if sensor and status != errors.AuthenticationError.exit_status:
        return 75 if status or answer.any_active() else 0
    return status


def _tell(answer: HostResults) -> int:
    """Print what went wrong; return the status of the first of it."""
    for note in answer.notes:
        _err(note)
    for error in answer.errors:
        _err(str(error))
    return answer.errors[0].exit_status if answer.errors else 0


def _wait(ctx: Context, values: Values) -> int:
    from ..verbs.wait import wait_for_jobs

    answer = wait_for_jobs(
        ctx,
        values.get("job") or (),
        host=values.get("host"),
        timeout=values.get("timeout"),
        show=_shower(values),
    )
    status = _tell(answer)
    if status:
        return status
    if answer.any_active():
        return 75
    return 1 if answer.any_bad() else 0


def _logs(ctx: Context, values: Values) -> int:
    from ..verbs.logs import copy_log
    from ..verbs.selection import find_job

    job = find_job(ctx, values["job"])
    job = copy_log(
        ctx,
        job,
        _write,
        follow=bool(values.get("follow")),
        offset=values.get("offset") or 0,
        tail=values.get("tail"),
        whole=bool(values.get("whole")),
        file=1 if stat.S_ISREG(os.fstat(1).st_mode) else -1,
    )
    if values.get("json"):
        _line(_json(job.public()), sys.stderr)
    return _miss_bytes(job)


def _miss_bytes(job: Job) -> int:
    """Say if bytes of a log are not here; return 1 if they are gone for good."""
    from ..rounds.apply import is_cut

    if is_cut(job):
        _err(
            f"job {job.id}: its log was cut at {job.log_local_bytes} bytes (the "
            f"setting max_log_bytes); the rest stands on {job.host}, in "
            f"jobs/{job.id}/log "
            f"below its base directory: sshjobs logs {job.id} --whole brings it"
        )
        return 0
    if job.log_local_bytes >= job.log_bytes or not (job.log_final or job.reaped_at):
        return 0
    _err(
        f"job {job.id}: {job.log_local_bytes} of the {job.log_bytes} bytes of its log "
        "are here; the rest went with its directory on the host"
    )
    return 1


def _show(ctx: Context, values: Values) -> int:
    from ..verbs.selection import find_job

    job = find_job(ctx, values["job"])
    if values.get("json"):
        print(_json(job._asdict()))
    else:
        from .. import display

        print("\n".join(display.record(job)))
    return 0


def _kill(ctx: Context, values: Values) -> int:
    from ..verbs.kill import kill_jobs

    forget = bool(values.get("forget"))
    answer = kill_jobs(ctx, values["job"], show=_shower(values), forget=forget)
    return _tell(answer)


def _reap(ctx: Context, values: Values) -> int:
    from ..verbs.reap import reap_jobs

    if values.get("tmpfiles"):
        print(_tmpfiles(ctx, values))
        return 0
    answer = reap_jobs(
        ctx,
        host=values.get("host"),
        older_than=values.get("older_than") or 0.0,
        orphans=bool(values.get("orphans")),
        dry_run=bool(values.get("dry_run")),
        cut_logs=bool(values.get("cut_logs")),
        show=_shower(values),
    )
    return _tell(answer)


def _tmpfiles(ctx: Context, values: Values) -> str:
    """Return a line for systemd-tmpfiles on the host, tmpfiles.d(5)."""
    base = ctx.settings(values.get("host") or "").remote_base_dir
    base = "%h" + base[1:] if base.startswith("~") else base
    days = max(1, round((values.get("older_than") or 30 * 86400.0) / 86400.0))
    return f"e {base}/jobs - - - {days}d"


def _list(ctx: Context, values: Values) -> int:
    from ..verbs.selection import select_recorded_jobs

    for job in select_recorded_jobs(
        ctx, host=values.get("host"), state=values.get("state")
    ):
        _show_job(values, job)
    return 0


def _connect(ctx: Context, values: Values) -> int:
    from ..verbs.connect import connect_host

    state = connect_host(ctx, values["host"])
    if values.get("json"):
        print(_json({"host": values["host"]} | state._asdict()))
    else:
        _err(f"{values['host']}: connected")
    return 0


def _disconnect(ctx: Context, values: Values) -> int:
    from ..verbs.disconnect import disconnect_host

    was = disconnect_host(ctx, values["host"])
    if values.get("json"):
        print(_json({"host": values["host"], "was_connected": was}))
    else:
        _err(f"{values['host']}: {'disconnected' if was else 'was not connected'}")
    return 0


def _hosts(ctx: Context, values: Values) -> int:
    import time

    from .. import display
    from ..verbs.hosts import list_hosts

    hosts = list_hosts(ctx)
    if values.get("json"):
        for host in hosts:
            print(_json(display.host_public(host)))
    else:
        print("\n".join(display.host_lines(hosts, time.time())))
    return 0


def _doctor(ctx: Context, values: Values) -> int:
    from ..verbs.doctor import examine_host

    findings = examine_host(ctx, values["host"])
    for finding in findings:
        if values.get("json"):
            print(_json(finding._asdict()))
        else:
            advice = f"  ({finding.advice})" if finding.advice else ""
            print(f"{finding.level:<4}  {printable(finding.what + advice)}")
    return 1 if any(finding.level == "bad" for finding in findings) else 0


_VERBS: dict[str, Callable[[Context, Values], int]] = {
    "submit": _submit,
    "run": _run,
    "poll": _poll,
    "wait": _wait,
    "logs": _logs,
    "show": _show,
    "kill": _kill,
    "reap": _reap,
    "list": _list,
    "connect": _connect,
    "disconnect": _disconnect,
    "hosts": _hosts,
    "doctor": _doctor,
}
