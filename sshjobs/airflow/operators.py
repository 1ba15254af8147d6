"""Airflow operators: a task that runs a job on a host over the shared connection.

:class:`SSHJobOperator` takes the parameters of the ssh provider's
``SSHRemoteJobOperator`` (7.0), name for name, so that most DAGs change one
import. It is a BashOperator whose command is ``sshjobs run``: the log streams
into the task's log, the job's status decides the task, killing the task kills
the job. :func:`submit_task` and :class:`SSHJobSensor` do the same in two tasks
that hold no worker slot in between.

A job is named by :data:`KEY`: the same for every try of a task, so that a retry
after a lost worker finds the job that still runs; another after the task was
cleared, since ``max_tries`` grows then and at no other time (Airflow 2.9 to
3.3, ``clear_task_instances``). The run's start date keeps two installations
apart that run the same DAG on the same host.

Wants Airflow 2.9 or newer; no other module of sshjobs imports this one.
"""

from __future__ import annotations

import codecs
import contextlib
import hashlib
import json
import os
import re
import selectors
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Container, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

try:
    from airflow.providers.standard.hooks.subprocess import SubprocessHook
    from airflow.providers.standard.operators.bash import BashOperator
    from airflow.providers.standard.sensors.bash import BashSensor
except ImportError:  # Airflow 2 without the standard provider
    from airflow.hooks.subprocess import SubprocessHook
    from airflow.operators.bash import BashOperator
    from airflow.sensors.bash import BashSensor

try:
    from airflow.sdk import BaseHook
except ImportError:  # Airflow 2
    from airflow.hooks.base import BaseHook

try:
    from airflow.sdk.exceptions import (
        AirflowException,
        AirflowFailException,
        AirflowSkipException,
    )
except ImportError:  # Airflow 2.9 to 3.1
    from airflow.exceptions import (
        AirflowException,
        AirflowFailException,
        AirflowSkipException,
    )

from ..errors import SpecError
from ..model import check_host
from ..settings import BY_NAME
from ..states import ACTIVE

#: What a task's job is called; a Jinja template, which fits a BashOperator too. Keep in
#: sync with _left_over.
KEY = (
    "airflow/{{ ti.dag_id }}/{{ ti.run_id }}/{{ ti.task_id }}/{{ ti.map_index }}"
    "/{{ ti.max_tries }}/{{ dag_run.start_date | ts }}"
)

#: What BashOperator skips on, unless it is told otherwise.
SKIP_EXIT_CODE = 99

#: Seconds that a task which is being ended waits for ``sshjobs run`` to say how the
#: job ended: the setting kill_grace (10 s) and as much for the way there and back.
LINGER = 20.0

#: Lines of the log that stand in the message of a task that failed.
TAIL_LINES = 20

#: A line longer than this (characters) is logged in pieces.
MAX_LINE = 1 << 20

# Not an end of the job: the host cannot be asked now (69), or the answer is out (75).
_ASK_AGAIN = (69, 75)

# How sshjobs ends when the call itself is wrong, and when it cannot know yet whether a
# job was started; a job may end so too.
_WRONG = 64
_NOT_YET = 75

# A line of its own on standard error names the job that there is (model.new_job_id).
_ID = re.compile("[a-z2-7]{16}")

# Parameters that travel as SSHJOBS_<NAME>; keep in sync with settings.py.
_SETTINGS = (
    "remote_base_dir",
    "poll_interval",
    "log_chunk_size",
    "conn_timeout",
    "banner_timeout",
    "conn_retry_attempts",
    "cleanup_retries",
    "command_timeout",
    "max_reconnect_attempts",
    "wait_host",
)


# Variables reach the job through the environment of sshjobs, under names that mean
# nothing to bash, Python and ssh: PYTHONPATH would reach into sshjobs itself, and bash
# has a UID of its own.
_CARRIER = "JOB_VARIABLE_"


class Target(NamedTuple):
    """Where an Airflow connection leads: a HOST and what ssh must be told.

    ``options`` are words ``Name=value`` for ``ssh -o``, ``settings`` values of
    ``SSHJOBS_<NAME>`` that the connection's extras give, ``notes`` what a person
    should know of it.
    """

    host: str
    options: tuple[str, ...] = ()
    settings: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()

    def environ(self) -> dict[str, str]:
        """Return the variables that tell ``sshjobs`` all this."""
        given = {f"SSHJOBS_{name.upper()}": value for name, value in self.settings}
        words = [_word(option) for option in self.options]
        # ssh takes the first value of an option, so the connection's own come first.
        words.append(os.environ.get("SSHJOBS_SSH_OPTIONS", ""))
        return given | {"SSHJOBS_SSH_OPTIONS": " ".join(words).strip()}

    def connect(self) -> str:
        """Return the shell line that makes the connection of these tasks."""
        given = {name: value for name, value in self.environ().items() if value}
        words = [f"{name}={shlex.quote(value)}" for name, value in given.items()]
        return " ".join([*words, "sshjobs connect", shlex.quote(self.host)])


def target(connection: Any, remote_host: str | None = None) -> Target:
    """Say what an Airflow connection of type ssh means to ``ssh``.

    Args:
        connection: Its host, port, login and extras are used.
        remote_host: Takes the place of the connection's host.

    Raises:
        AirflowFailException: it holds what ``ssh`` cannot be given in a batch
            (a password, a passphrase), or names no host.
    """
    extras = dict(connection.extra_dejson)
    host = remote_host or connection.host
    if not host:
        raise AirflowFailException(f"connection {connection.conn_id!r} names no host")
    options = [f"Port={connection.port}"] if connection.port else []
    if connection.login and host != "local" and "@" not in host:
        if host.startswith("ssh://"):
            options.append(f"User={connection.login}")
        else:
            host = f"{connection.login}@{host}"
    for read in (_key_options, _host_key_options, _algorithm_options, _further_options):
        options += read(extras)
    given = [(name, extras.get(name)) for name in ("ssh_config", "conn_timeout")]
    settings = [(name, str(value)) for name, value in given if value]
    found = Target(_checked(host), tuple(options), tuple(settings))
    return found._replace(notes=_refuse_secrets(connection, extras, found))


def _refuse_secrets(
    connection: Any, extras: Mapping[str, Any], found: Target
) -> tuple[str, ...]:
    has_key = extras.get("key_file") or extras.get("private_key")
    if extras.get("private_key_passphrase"):
        raise AirflowFailException(
            f"connection {connection.conn_id!r} has a private_key with a passphrase, "
            "which ssh would have to ask a person for; give it a key without one, or "
            "load the key into an ssh-agent that the worker sees (SSH_AUTH_SOCK) and "
            "take private_key out of the connection"
        )
    if connection.password and not has_key:
        raise AirflowFailException(
            f"connection {connection.conn_id!r} has a password and no key; ssh takes "
            "passwords from a person only. Give it key_file or private_key; or take "
            "the password out, and log in once at a terminal of the worker, as the "
            f"user that runs the tasks, with: {found.connect()} (the tasks ride on "
            "that connection as long as it stays)"
        )
    return tuple(_remarks(connection.password, extras.get("key_file")))


def _remarks(password: str | None, key_file: Any) -> Iterator[str]:
    """Say what will look like a host that refuses the key."""
    if password:
        yield (
            "the connection's password is not used: it has a key. If that is the "
            "passphrase of the key, load the key into an ssh-agent of the worker"
        )
    if key_file and not os.path.exists(_found(key_file)):
        yield f"key_file: there is no {_found(key_file)} on this worker"


def _key_options(extras: Mapping[str, Any]) -> list[str]:
    path = extras.get("key_file")
    if extras.get("private_key"):
        # OpenSSH refuses a key file whose last line is not ended ("invalid format"), or
        # whose lines end as those of a browser's form ("error in libcrypto", 9.2).
        lines = str(extras["private_key"]).strip().splitlines()
        path = _keep("".join(f"{line.rstrip()}\n" for line in lines), "key")
    if path:
        return [f"IdentityFile={_quoted(_found(path))}", "IdentitiesOnly=yes"]
    # Keys of an agent are used all the same, by ssh as by paramiko.
    return ["IdentityFile=none"] if _is(extras, "look_for_keys", "false") else []


def _host_key_options(extras: Mapping[str, Any]) -> list[str]:
    """Say the policy of SSHHook (ssh provider 7.0) in ssh's words.

    Its default, refuse what is in no known_hosts file, is ssh's own in a batch.
    Its AutoAddPolicy takes new hosts and refuses changed keys: accept-new.
    """
    key = str(extras.get("host_key") or "").split()
    skip = "no_host_key_check" if "no_host_key_check" in extras else _OLD_SKIP
    if key and _is(extras, skip, "true"):
        raise AirflowFailException("a connection with host_key must check it")
    if key:
        # A key without its type is RSA there (host_key extra, ssh provider).
        words = key[:2] if len(key) > 1 else ["ssh-rsa", *key]
        known = _keep(f"* {' '.join(words)}\n", "host")
        return [f"UserKnownHostsFile={_quoted(known)}", "StrictHostKeyChecking=yes"]
    if _is(extras, "allow_host_key_change", "true"):
        return ["UserKnownHostsFile=/dev/null", "StrictHostKeyChecking=no"]
    return ["StrictHostKeyChecking=accept-new"] if _is(extras, skip, "true") else []


_OLD_SKIP = "ignore_hostkey_verification"

# disabled_algorithms of paramiko -> the option of ssh that takes "-name,name".
# OpenSSH 8.5 renamed PubkeyAcceptedKeyTypes and still knows the old name (10.2).
_ALGORITHMS = {
    "ciphers": "Ciphers",
    "macs": "MACs",
    "kex": "KexAlgorithms",
    "keys": "HostKeyAlgorithms",
    "pubkeys": "PubkeyAcceptedKeyTypes",
}


def _algorithm_options(extras: Mapping[str, Any]) -> list[str]:
    options = []
    if "compress" in extras:
        off = _is(extras, "compress", "false")
        options.append(f"Compression={'no' if off else 'yes'}")
    ciphers = extras.get("ciphers")
    if ciphers:
        options.append(f"Ciphers={_listed(ciphers)}")
    for kind, names in (extras.get("disabled_algorithms") or {}).items():
        if kind not in _ALGORITHMS:
            raise AirflowFailException(f"disabled_algorithms: ssh has no {kind!r}")
        options.append(f"{_ALGORITHMS[kind]}=-{_listed(names)}")
    return options


def _further_options(extras: Mapping[str, Any]) -> list[str]:
    given = extras.get("ssh_options") or {}
    if isinstance(given, str):
        return shlex.split(given)
    if isinstance(given, Mapping):
        return [f"{name}={value}" for name, value in given.items()]
    return [str(word) for word in given]


def _is(extras: Mapping[str, Any], name: str, word: str) -> bool:
    return str(extras.get(name)).lower() == word


def _listed(names: Any) -> str:
    return names if isinstance(names, str) else ",".join(names)


def _word(option: str) -> str:
    """Return an option as a word of ``SSHJOBS_SSH_OPTIONS``."""
    plain = not any(char.isspace() or char in "\"'\\" for char in option)
    return option if plain else shlex.quote(option)


def _found(path: Any) -> str:
    """Return a path as paramiko finds it: from this directory, with this HOME."""
    return os.path.abspath(os.path.expanduser(str(path)))


def _quoted(path: str) -> str:
    """Return a path as a word of ssh_config(5), where ``%`` begins a token."""
    path = path.replace("%", "%%")
    return f'"{path}"' if " " in path else path


def _keep(text: str, kind: str) -> str:
    """Write what ssh reads from files only to one of ours (0600), named by content.

    It stays: any later process of this machine may have to connect again.
    """
    from ..owned import check_dir, check_file, close_to_others, make_private
    from ..store import default_home, make_home

    record = default_home(dict(os.environ))
    make_home(record)  # the store refuses one that is open to others
    home = os.path.join(record, "airflow")
    if not make_private(home):
        check_dir(home)
        close_to_others(home)
    check_dir(home, private=True)
    path = os.path.join(
        home, f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    )
    check_file(path)
    if not os.path.exists(path):
        descriptor, draft = tempfile.mkstemp(dir=home)  # mkstemp makes it 0600
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        os.replace(draft, path)
    return path


def _find(ssh_conn_id: str | None, remote_host: str | None) -> Target:
    """Return where a task's job goes."""
    if ssh_conn_id:
        return target(BaseHook.get_connection(ssh_conn_id), remote_host)
    if remote_host:
        return Target(_checked(remote_host))
    raise AirflowFailException("say where to run: ssh_conn_id, remote_host, or both")


def _checked(host: str) -> str:
    """Return a HOST that ssh may be given."""
    try:
        check_host(host)
    except SpecError as error:
        raise AirflowFailException(str(error)) from error
    return host


def _program() -> list[str]:
    """Return how ``sshjobs`` is called: the one beside this interpreter first.

    A worker started as /opt/venv/bin/airflow has no /opt/venv/bin in its PATH.
    """
    beside = os.path.join(os.path.dirname(sys.executable), "sshjobs")
    found = beside if os.access(beside, os.X_OK) else shutil.which("sshjobs")
    return [found] if found else [sys.executable, "-m", "sshjobs"]


class _Lines:
    """Bytes in, whole lines into the task's log; the last ones are remembered."""

    def __init__(self, log: Any, encoding: str) -> None:
        self._log = log
        self._decode = codecs.getincrementaldecoder(encoding)("backslashreplace")
        self._rest = ""
        self.ended = False
        self.job = ""
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)

    def close(self) -> None:
        """Log what came after the last end of a line."""
        if not self.ended:
            self.feed(b"")

    def feed(self, data: bytes) -> bool:
        """Log what is whole by now; ``b""`` is the end, which ends the last line.

        Returns:
            Whether there may be more.
        """
        self.ended = not data
        text = self._rest + self._decode.decode(data, self.ended)
        *lines, self._rest = text.split("\n")
        if self._rest and (self.ended or len(self._rest) > MAX_LINE):
            lines.append(self._rest)
            self._rest = ""
        for line in lines:
            self.tail.append(line.rstrip("\r"))
            self._log.info("%s", self.tail[-1])
            self.job = line if _ID.fullmatch(line) else self.job
        return not self.ended


class _Ended(NamedTuple):
    """How a command of ours ended, its last lines, and the job that it named."""

    status: int
    stdout: list[str]
    stderr: list[str]
    job: str


class _Process(SubprocessHook):
    """SubprocessHook that feeds stdin, parts the streams, and drains when ended."""

    _ending = False
    _told = False

    def follow(
        self,
        line: str,
        env: Mapping[str, str],
        stdin: str = "",
        encoding: str = "utf-8",
    ) -> _Ended:
        """Run a line of bash to its end, its output line by line into the log.

        When an exception unwinds through here (execution_timeout; in Airflow 2 also
        a task that is being ended), the command gets SIGTERM and :data:`LINGER` to
        report, so that a retry does not meet the job that is being cancelled.
        """
        self.log.info("Running command: %s", line)
        process = self.sub_process = _start(line, env, stdin)
        streams = {
            file: _Lines(self.log, encoding)
            for file in (process.stdout, process.stderr)
        }
        try:
            self._pump(process, streams)
            for lines in streams.values():
                lines.close()
        except BaseException:
            self.send_sigterm()
            self._pump(process, streams, time.monotonic() + LINGER)
            raise
        finally:
            for file in streams:
                file.close()
        status = process.wait()
        self.log.info("Command exited with return code %s", status)
        said, told = streams.values()
        return _Ended(status, list(said.tail), list(told.tail), told.job)

    def _pump(
        self, process: Any, streams: Mapping[Any, _Lines], deadline: float | None = None
    ) -> None:
        """Read both streams to their ends, or until the deadline.

        Silence after the process has ended is an end too: what it left behind (a
        master that keeps a descriptor) must not hold the task.
        """
        with selectors.DefaultSelector() as selector:
            for file, lines in streams.items():
                if not lines.ended:
                    selector.register(file, selectors.EVENT_READ, lines)
            while selector.get_map():
                ready = selector.select(1.0)
                self._tell()
                gone = not ready and process.poll() is not None
                if gone or (deadline and time.monotonic() > deadline):
                    return
                for key, _ in ready:
                    if not key.data.feed(os.read(key.fd, 65536)):
                        selector.unregister(key.fileobj)

    def send_sigterm(self) -> None:
        """Tell the command to end; one that has not begun is told when it has."""
        self._ending = True
        self._tell()

    def _tell(self) -> None:
        """Send SIGTERM, once: a second one would make sshjobs give up at once."""
        process = self.sub_process
        if not self._ending or self._told or process is None:
            return
        self._told = True
        if process.poll() is None:
            self.log.info("Sending SIGTERM to sshjobs, which cancels the job")
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)


def _start(line: str, env: Mapping[str, str], stdin: str) -> Any:
    """Start a line of bash in a session of its own, with a text for its stdin."""
    with tempfile.TemporaryFile() as source:
        source.write(stdin.encode("utf-8", "surrogateescape"))
        source.seek(0)
        return subprocess.Popen(
            [shutil.which("bash") or "bash", "-c", line],
            stdin=source,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(env),
            cwd="/",
            start_new_session=True,
        )


def _ask(env: Mapping[str, str], *words: str) -> list[dict[str, Any]]:
    """Return what a verb of sshjobs says of jobs, from the record on this machine."""
    said = subprocess.run(
        [*_program(), words[0], "--json", *words[1:]],
        env=dict(env),
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )
    return [json.loads(line) for line in said.stdout.splitlines()]


def _record(job: str, env: Mapping[str, str]) -> dict[str, Any]:
    """Return what this machine knows of a job; empty if it knows none."""
    return next(iter(_ask(env, "show", "--", job)), {})


def _left_over(ti: Any, key: str, env: Mapping[str, str]) -> list[str]:
    """Return the jobs of a task that run still although the task was cleared.

    Airflow took them for dead (a worker that was lost for good). What runs anew must
    not run beside them. The first try has none.
    """
    if ti.try_number < 2:
        return []
    mine = f"airflow/{ti.dag_id}/{ti.run_id}/{ti.task_id}/{ti.map_index}/"
    return [
        job["id"]
        for state in ACTIVE
        for job in _ask(env, "list", "--state", state)
        if job["key"].startswith(mine) and job["key"] != key
    ]


def _record_of(key: str, ended: _Ended, env: Mapping[str, str]) -> dict[str, Any]:
    """Return what is known of the job that a command was about.

    The key alone may mean the job of an earlier try, or of another run, whose end is
    not how this one ended: where a command names no job it found none. What still
    runs is worth telling all the same.
    """
    if ended.job:
        return _record(ended.job, env)
    earlier = _record(f"key:{key}", env)
    return earlier if earlier.get("state") in ACTIVE else {}


def _is_skip(record: Mapping[str, Any], codes: Container[int]) -> bool:
    """Tell whether the job itself, and not sshjobs, ended with a code that skips."""
    ran_out = record.get("state") in ("COMPLETED", "FAILED")
    return ran_out and record.get("exit_status") in codes


def _complaint(record: Mapping[str, Any], ended: _Ended) -> str:
    """Say how a job ended, or why that is not known, with its last lines."""
    if record.get("finished_at") is None and record.get("state") != "LOST":
        said = "\n".join(ended.stderr) or "it said nothing"
        return f"sshjobs ended with {ended.status}; {_so_far(record, ended)}:\n{said}"
    how = f"job {record['id']} on {record['host']}: {record['state']}"
    if record["signal"] is not None:
        how += f" by signal {record['signal']}"
    elif record["exit_status"] is not None:
        how += f" with exit status {record['exit_status']}"
    if record["reason"]:
        how += f" ({record['reason']})"
    if not ended.stdout:
        return f"{how}; its log is empty"
    return f"{how}; the last lines of its log:\n" + "\n".join(ended.stdout)


def _so_far(record: Mapping[str, Any], ended: _Ended) -> str:
    """Say what is known of a job that has no end."""
    if record:
        return f"job {record['id']} has no end yet"
    if ended.status == _NOT_YET:
        return "whether a job was started is not known yet; the next try finds out"
    return "no job was started"


def _unknown(job: str, ended: _Ended) -> str:
    """Say what may have become of a job that a sensor cannot find."""
    said = "\n".join(ended.stderr)
    return (
        f"job {job} is neither in this worker's record nor, below remote_base_dir, on "
        "the host; where another worker submitted it with cleanup, that one has "
        f"brought it home and deleted it (see docs/how-to/airflow.md):\n{said}"
    )


def _at_least(name: str, value: Any) -> Any:
    """Return a setting that is not below what it can be; 0 tries are 1, as there."""
    least = BY_NAME[name].least
    return max(value, least) if isinstance(value, (int, float)) else value


def _codes(given: int | Container[int] | None) -> Container[int]:
    if given is None:
        return ()
    return given if isinstance(given, Container) else (given,)


class SSHJobOperator(BashOperator):
    """Run a command on a host as a job, and end as the job ends.

    The parameters down to ``max_reconnect_attempts`` are those of
    ``SSHRemoteJobOperator``; one that is not given has the default of sshjobs
    (docs/reference/settings.md), which the worker's environment and config file may
    change. docs/how-to/migrate-from-airflow-ssh.md says what differs.

    Args:
        ssh_conn_id: An Airflow connection of type ssh. Without it ``remote_host`` is
            given to ``ssh`` as it is, and ssh_config says the rest.
        command: A shell line, run by the login shell of the host (or ``shell``).
        remote_host: Takes the place of the connection's host; ``local`` is the worker.
        environment: Variables for the job; no value stands in an argument or a log.
        timeout: Seconds after which the job is ended, on the host.
        cleanup: ``never``, ``on_success`` or ``always``; only after the log is home.
        remote_os: ``auto`` or ``posix``.
        skip_on_exit_code: Exit status, or several, that skip the task; ``None``: none.
        key: The job's key, by default :data:`KEY`.
        once: No new attempt when the job of this key has ended badly.
        shell: Runs the command, as SHELL FILE.
        cwd: Directory on the host.
        wait_host: Seconds to wait for a host that cannot be reached.
    """

    template_fields: Sequence[str] = (
        "command",
        "environment",
        "remote_host",
        "remote_base_dir",
        "ssh_conn_id",
        "key",
        "cwd",
    )
    template_ext: Sequence[str] = (".sh", ".bash")
    template_fields_renderers = {"command": "bash", "environment": "python"}
    ui_color = "#e4f0e8"

    def __init__(
        self,
        *,
        ssh_conn_id: str | None = None,
        command: str,
        remote_host: str | None = None,
        environment: dict[str, str] | None = None,
        remote_base_dir: str | None = None,
        poll_interval: float | None = None,
        log_chunk_size: int | None = None,
        timeout: float | None = None,
        cleanup: str | None = None,
        remote_os: str = "auto",
        skip_on_exit_code: int | Container[int] | None = SKIP_EXIT_CODE,
        conn_timeout: float | None = None,
        banner_timeout: float | None = None,
        conn_retry_attempts: int | None = None,
        cleanup_retries: int | None = None,
        command_timeout: float | None = None,
        max_reconnect_attempts: int | None = None,
        key: str = KEY,
        once: bool = False,
        shell: str | None = None,
        cwd: str | None = None,
        wait_host: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(bash_command="", **kwargs)
        if remote_os not in ("auto", "posix"):
            raise ValueError(
                f"remote_os={remote_os!r}: sshjobs runs jobs on hosts that have a "
                "POSIX sh; for Windows keep SSHRemoteJobOperator"
            )
        self.ssh_conn_id = ssh_conn_id
        self.command = command
        self.remote_host = remote_host
        self.environment = environment
        self.remote_base_dir = remote_base_dir
        self.poll_interval = poll_interval
        self.log_chunk_size = log_chunk_size
        self.timeout = timeout or None  # 0 is none, as there
        self.cleanup = cleanup
        self.remote_os = remote_os
        self.skip_on_exit_code = _codes(skip_on_exit_code)
        self.conn_timeout = conn_timeout
        self.banner_timeout = banner_timeout
        self.conn_retry_attempts = conn_retry_attempts
        self.cleanup_retries = cleanup_retries
        self.command_timeout = command_timeout
        self.max_reconnect_attempts = max_reconnect_attempts
        self.key = key
        self.once = once
        self.shell = shell
        self.cwd = cwd  # BashOperator's own is the worker's; it is not used here
        self.wait_host = wait_host

    #: The verb of sshjobs that the task runs.
    verb = "run"

    @cached_property
    def subprocess_hook(self) -> _Process:
        """What runs ``sshjobs``; BashOperator's ``on_kill`` sends it SIGTERM."""
        return _Process()

    def execute(self, context: Any) -> Any:
        """Run the job to its end.

        Returns:
            The last line that the job wrote (an XCom, as of BashOperator).

        Raises:
            AirflowSkipException: the job ended with a code of ``skip_on_exit_code``.
            AirflowException: it ended badly otherwise, or could not be run.
        """
        # A DAG that renders to native objects makes a number of what looks like one.
        self.command, self.key = str(self.command or ""), str(self.key)
        if not self.command.strip():
            raise AirflowFailException("the command is empty")
        where = self._where()
        env = self.get_env(context) | self._settings(where)
        env |= {_CARRIER + name: text for name, text in self._variables().items()}
        self.bash_command = f"exec {shlex.join(self._words(where, context))}"
        left = _left_over(context["ti"], self.key, env)
        if left:
            kill = shlex.join([*_program(), "kill", *left])
            self.bash_command = f"{kill} >&2 && {self.bash_command}"
        # The command is read from stdin: an argument would show in ps on the worker,
        # and ends at 128 KiB (execve(2), MAX_ARG_STRLEN).
        ended = self.subprocess_hook.follow(
            self.bash_command, env, self.command, self.output_encoding
        )
        if ended.status or (self.verb == "run" and 0 in self.skip_on_exit_code):
            self._fail(ended, env)
        return ended.stdout[-1] if ended.stdout else None

    def _where(self) -> Target:
        where = _find(self.ssh_conn_id, self.remote_host)
        for note in where.notes:
            self.log.warning("%s", note)
        if where.options:
            self.log.info("ssh options: %s", shlex.join(where.options))
        return where

    def _settings(self, where: Target) -> dict[str, str]:
        """Return the variables that carry the parameters to ``sshjobs``."""
        given = {name: getattr(self, name) for name in _SETTINGS}
        return where.environ() | {
            f"SSHJOBS_{name.upper()}": str(_at_least(name, value))
            for name, value in given.items()
            if value is not None
        }

    def _variables(self) -> dict[str, str]:
        return {name: str(value) for name, value in (self.environment or {}).items()}

    def _words(self, where: Target, context: Any) -> list[str]:
        ti = context["ti"]
        mapped = f"[{ti.map_index}]" if ti.map_index >= 0 else ""
        words = [*_program(), self.verb, where.host]
        words += ["--name", f"{ti.dag_id}.{ti.task_id}{mapped}", "--key", self.key]
        words += ["--once"] if self.once else []
        for flag in ("timeout", "cleanup", "shell", "cwd"):
            value = getattr(self, flag)
            words += [] if value is None else [f"--{flag}", str(value)]
        for name in self._variables():
            words += ["--env-from", f"{name}={_CARRIER}{name}"]
        return words

    def _fail(self, ended: _Ended, env: Mapping[str, str]) -> None:
        record = _record_of(self.key, ended, env)
        if _is_skip(record, self.skip_on_exit_code):
            raise AirflowSkipException(
                f"job {record['id']} ended with {ended.status}: skipping"
            )
        # A call that is wrong (64) is as wrong the next time.
        wrong = ended.status == _WRONG and not record
        bad = AirflowFailException if wrong else AirflowException
        raise bad(_complaint(record, ended))


class SSHSubmitOperator(SSHJobOperator):
    """Start a job on a host, and end as soon as the host has it.

    The parameters are those of :class:`SSHJobOperator`. The job's id is the XCom
    that :class:`SSHJobSensor` takes: ``SSHJobSensor(job=submit.output, ...)``.
    A retry finds the job that an earlier try started. Ending this task does not
    end the job.
    """

    verb = "submit"


def submit_task(task_id: str, command: str, **kwargs: Any) -> SSHSubmitOperator:
    """Return a task that starts a job; an :class:`SSHJobSensor` waits for it."""
    return SSHSubmitOperator(task_id=task_id, command=command, **kwargs)


class SSHJobSensor(BashSensor):
    """Wait for a job without holding a worker slot, and end as it ends.

    Each poke is one ``sshjobs poll --sensor``. A host that cannot be asked is no
    end: the sensor goes on, until its own ``timeout``. When the job has ended, its
    log is brought home into the task's log, and a bad end fails the sensor without
    a retry, since a final state stays.

    Args:
        job: The XCom of the task that submitted it, an id, or ``key:K``.
        ssh_conn_id: As of the task that submitted it.
        remote_host: Likewise.
        remote_base_dir: Likewise; wanted where another worker may have submitted it.
        skip_on_exit_code: As of :class:`SSHJobOperator`.
        mode: ``reschedule`` frees the slot between two pokes.
    """

    template_fields: Sequence[str] = (
        "job",
        "ssh_conn_id",
        "remote_host",
        "remote_base_dir",
    )
    ui_color = "#e4f0e8"

    def __init__(
        self,
        *,
        job: str,
        ssh_conn_id: str | None = None,
        remote_host: str | None = None,
        remote_base_dir: str | None = None,
        skip_on_exit_code: int | Container[int] | None = SKIP_EXIT_CODE,
        mode: str = "reschedule",
        **kwargs: Any,
    ) -> None:
        super().__init__(bash_command="", retry_exit_code=75, mode=mode, **kwargs)
        self.job = job
        self.ssh_conn_id = ssh_conn_id
        self.remote_host = remote_host
        self.remote_base_dir = remote_base_dir
        self.skip_on_exit_code = _codes(skip_on_exit_code)

    def poke(self, context: Any) -> bool:
        """Ask once whether the job has ended well.

        Raises:
            AirflowSkipException: it ended with a code of ``skip_on_exit_code``.
            AirflowFailException: it ended badly otherwise, or is not known here.
        """
        if self.job in (None, "", "None"):
            raise AirflowFailException(
                "job is empty: it is the XCom of the task that submitted (its "
                "do_xcom_push must be on), an id, or key:K"
            )
        if str(self.job).startswith("-"):
            raise AirflowFailException(f"not an id of a job, nor key:K: {self.job!r}")
        where = _find(self.ssh_conn_id, self.remote_host)
        env = dict(self.env or os.environ) | where.environ()
        if self.remote_base_dir:
            env["SSHJOBS_REMOTE_BASE_DIR"] = self.remote_base_dir
        self.bash_command = self._line(where.host)
        ended = _Process().follow(self.bash_command, env, "", self.output_encoding)
        if ended.status in _ASK_AGAIN:
            return False
        if ended.status or 0 in self.skip_on_exit_code:
            self._fail(ended, env)
        return True

    def _line(self, host: str) -> str:
        """Return the line of bash: poll; once there is an end, bring the log.

        A job that another worker of this installation submitted is in that one's
        record: it is taken up from the host (64: no such job here), along with all
        that this one does not know there (1: some of them ended badly). A log that is
        not to be had any more (1) is no reason to ask again.
        """
        sshjobs, job = shlex.join(_program()), shlex.quote(str(self.job))
        poll = f"{sshjobs} poll --sensor -- {job} >&2"
        adopt = f"{sshjobs} poll --host {shlex.quote(host)} --adopt >/dev/null"
        logs = f"{sshjobs} logs -- {job} || [ $? = 1 ] || s=75"
        return (
            f"{poll}; s=$?; "
            f"if [ $s = 64 ]; then {adopt}; s=$?; "
            f"case $s in 0|1) {poll}; s=$?;; esac; fi; "
            f"case $s in 0|1) {logs};; esac; exit $s"
        )

    def _fail(self, ended: _Ended, env: Mapping[str, str]) -> None:
        record = _record(self.job, env)
        if not record:
            raise AirflowFailException(_unknown(self.job, ended))
        if _is_skip(record, self.skip_on_exit_code):
            raise AirflowSkipException(f"job {record['id']}: skipping")
        raise AirflowFailException(_complaint(record, ended))
