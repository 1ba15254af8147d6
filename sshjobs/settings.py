"""Every tunable: its name, default, unit, meaning and source.

A value comes from, in this order: a flag of the call, ``SSHJOBS_<NAME>`` in the
environment, ``[host."NAME"]`` of the config file, the top level of the config
file, the default. Nothing here reads a file or the environment by itself: the
edge (``verbs.context.Context``) hands both in.
"""

from __future__ import annotations

from .errors import SpecError
from .startup.records import TYPE_CHECKING, Record

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


class Setting(Record):
    """One tunable, as ``docs/reference/settings.md`` prints it."""

    name: str
    kind: str  # seconds, count, bytes, text, words, choice, switch
    default: Any
    doc: str
    source: str = ""
    least: float = 0.0


_AIRFLOW = "Airflow SSHRemoteJobOperator"

SETTINGS = (
    Setting(
        "poll_interval",
        "seconds",
        1.0,
        "how old the last round may be before a waiting command asks the host again; "
        "one session serves all that wait. Where a scheduler has all jobs it is 15 s, "
        "unless it is set",
        _AIRFLOW,
        0.05,
    ),
    Setting(
        "log_chunk_size",
        "bytes",
        65536,
        "size of one piece of a log; while bytes remain the next round follows at once",
        _AIRFLOW,
        1,
    ),
    Setting(
        "cleanup",
        "choice",
        "never",
        "when a job's remote directory goes: never, on_success, always; only after "
        "its log is home",
        _AIRFLOW,
    ),
    Setting(
        "cleanup_retries", "count", 3, "rounds that try to reap an ended job", _AIRFLOW
    ),
    Setting(
        "conn_timeout",
        "seconds",
        10.0,
        "how long the TCP connection may take; ConnectTimeout of ssh_config beats the "
        "default",
        "ssh_config(5) ConnectTimeout",
    ),
    Setting(
        "banner_timeout",
        "seconds",
        30.0,
        "how long the login may take, once the TCP connection is there",
        _AIRFLOW,
        1,
    ),
    Setting(
        "conn_retry_attempts",
        "count",
        5,
        "handshakes that fail before a verb gives up",
        _AIRFLOW,
        1,
    ),
    Setting(
        "command_timeout",
        "seconds",
        30.0,
        "how long a host may be silent in a round before the round is given up",
        _AIRFLOW,
        1,
    ),
    Setting(
        "round_timeout",
        "seconds",
        120.0,
        "how long a round may take in all, with a second more for each 8 KiB that it "
        "sends and asks for; after that the round is given up and run again",
        "",
        1,
    ),
    Setting(
        "max_listed",
        "count",
        40_000,
        "how many directories a host may list for --adopt and --orphans",
        "",
        1,
    ),
    Setting(
        "min_free_bytes",
        "bytes",
        256 << 20,
        "logs are brought home only while so much of this machine's disk is free (a "
        "tenth of a small one); the rest stays on the host until there is room",
    ),
    Setting(
        "max_log_bytes",
        "bytes",
        0,
        "how much of a job's log is brought home, 0 for all: the rest stays on the "
        "host, and so does the job's directory",
    ),
    Setting(
        "max_reconnect_attempts",
        "count",
        5,
        "rounds that fail in a row before a verb gives up; a good one ends the row",
        _AIRFLOW,
        1,
    ),
    Setting(
        "keepalive_interval",
        "seconds",
        15.0,
        "time between probes of a silent connection; three unanswered ones end it. "
        "ServerAliveInterval and ServerAliveCountMax of ssh_config beat the default",
        "ssh_config(5) ServerAliveInterval",
        1,
    ),
    Setting(
        "persist",
        "seconds",
        600.0,
        "how long an idle connection stays open",
        "ssh_config(5) ControlPersist",
        1,
    ),
    Setting(
        "wait_host",
        "seconds",
        60.0,
        "how long a verb goes on with a host that fails, is in cooldown or is silent; "
        "after it no try begins, and a try under way is ended (but each may take "
        "conn_timeout and banner_timeout, and be silent for 10 s)",
    ),
    Setting(
        "refused_retry",
        "seconds",
        600.0,
        "how long no process tries a refused login again by itself; the default is the "
        "longest penalty of sshd. After that one process tries once",
        "sshd_config(5) PerSourcePenalties",
        1,
    ),
    Setting("kill_grace", "seconds", 10.0, "time from TERM to KILL"),
    Setting(
        "start_grace",
        "seconds",
        10.0,
        "how long a prepared job may be without a process before it is started again",
    ),
    Setting(
        "intent_ttl",
        "seconds",
        3600.0,
        "how long a request stays valid after the process that made it has died",
        "",
        1,
    ),
    Setting(
        "key_ttl",
        "seconds",
        30 * 86400.0,
        "how long a host remembers the key of a reaped job",
    ),
    Setting(
        "record_ttl",
        "seconds",
        90 * 86400.0,
        "how long this machine keeps the record and the log of a job that was reaped; "
        "sshjobs reap drops older ones",
        "",
        1,
    ),
    Setting(
        "launcher",
        "choice",
        "process",
        "what starts jobs on a host: process runs them at once; slurm, sge (Grid "
        "Engine), pbs, lsf hand them to that scheduler; systemd makes each a service",
    ),
    Setting(
        "launcher_args",
        "text",
        "",
        "options for the launcher, as a shell would read them; with slurm those of "
        "sbatch, with sge those of qsub, and so on",
    ),
    Setting("max_running", "count", 0, "how many jobs run on a host at once, 0: all"),
    Setting("group_limits", "words", "", "max_running of a group (--group): GROUP=N"),
    Setting(
        "vanish_grace",
        "seconds",
        90.0,
        "how long a job that its scheduler no longer lists may have no record of its "
        "end before it is LOST; on a shared file system files come late",
    ),
    Setting(
        "remote_base_dir", "text", "~/.sshjobs", "where jobs live on a host", _AIRFLOW
    ),
    Setting("ssh_config", "text", "", "the ssh_config to use, as in ssh -F"),
    Setting(
        "shell_startup",
        "choice",
        "ssh",
        "start-up files that the login shell reads before a shell line. ssh: those of "
        "ssh HOST LINE, which is ~/.bashrc in bash; login: those of a login; "
        "none: those of any script",
    ),
    Setting(
        "watch",
        "choice",
        "auto",
        "auto: while a command waits, one more session listens for ends of jobs; off: "
        "the command only polls",
    ),
    Setting(
        "transport", "choice", "auto", "which library connects: auto, openssh or fabric"
    ),
    Setting("mux", "choice", "auto", "how sessions are opened: auto, native or ssh"),
    Setting(
        "master_env",
        "words",
        "",
        "names of further environment variables that the connection may see, beside "
        "those of the agent, of Kerberos, of proxies, and those that ssh_config names",
    ),
    Setting("ssh_options", "words", "", "further ssh options for the connection, k=v"),
    Setting(
        "password_command",
        "text",
        "",
        "a shell line that prints the password of a login (pass, a vault); it runs "
        "once for each login, and its output is kept nowhere",
    ),
    Setting("passphrase_command", "text", "", "the same for a key's passphrase"),
    Setting("askpass_env", "text", "", "an environment variable with either secret"),
    Setting("max_hosts", "count", 100, "hosts a verb works on side by side", "", 1),
    Setting(
        "unbuffered",
        "switch",
        True,
        "set PYTHONUNBUFFERED=1 for jobs, unless their environment has that variable",
        "python(1) PYTHONUNBUFFERED",
    ),
    Setting(
        "notify",
        "text",
        "",
        "a command that this machine runs (sh -c) once it knows that a job has ended; "
        "the command gets the job as JSON",
    ),
)

BY_NAME = {setting.name: setting for setting in SETTINGS}


class Settings:
    """The values in force for one host; attributes are named as in :data:`SETTINGS`.

    They never change; :meth:`replace` makes a copy with other values.

    ``given`` has the names of those that somebody has set; a default of ours does not
    beat the user's ssh_config.
    """

    __slots__ = (*(setting.name for setting in SETTINGS), "given")

    given: frozenset[str]

    poll_interval: float
    log_chunk_size: int
    cleanup: str
    cleanup_retries: int
    conn_timeout: float
    banner_timeout: float
    conn_retry_attempts: int
    command_timeout: float
    round_timeout: float
    max_listed: int
    min_free_bytes: int
    max_log_bytes: int
    max_reconnect_attempts: int
    keepalive_interval: float
    persist: float
    wait_host: float
    refused_retry: float
    kill_grace: float
    start_grace: float
    intent_ttl: float
    key_ttl: float
    record_ttl: float
    launcher: str
    launcher_args: str
    max_running: int
    group_limits: str
    vanish_grace: float
    remote_base_dir: str
    ssh_config: str
    shell_startup: str
    watch: str
    transport: str
    mux: str
    master_env: str
    ssh_options: str
    password_command: str
    passphrase_command: str
    askpass_env: str
    max_hosts: int
    unbuffered: bool
    notify: str

    def __init__(self, **values: Any) -> None:
        given_names = frozenset(n for n, value in values.items() if value is not None)
        if given_names:
            from .setting_values import read_value
        object.__setattr__(self, "given", given_names)
        for setting in SETTINGS:
            given = values.pop(setting.name, None)
            value = setting.default if given is None else read_value(setting, given)
            object.__setattr__(self, setting.name, value)
        if values:
            raise _refuse_unknown(min(values))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"settings do not change: {name}; see replace()")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"settings do not change: {name}; see replace()")

    def replace(self, **values: Any) -> Settings:
        """Return other settings, which differ in these values."""
        old = {name: getattr(self, name) for name in self.given}
        return Settings(**old | values)

    def __repr__(self) -> str:
        pairs = (
            f"{s.name}={getattr(self, s.name)!r}"
            for s in SETTINGS
            if getattr(self, s.name) != s.default
        )
        return f"<Settings {' '.join(pairs)}>"


#: Said in the environment, and no settings: places, and what a job is told of itself.
_NO_SETTINGS = frozenset(("HOME", "CONFIG", "DEBUG", "JOB_ID", "KEY", "ATTEMPT"))


def check_environ(environ: Mapping[str, str]) -> None:
    """Refuse ``SSHJOBS_<NAME>`` where there is no such setting.

    ``SSHJOBS_TEST_*`` is left to tests.

    Raises:
        SpecError: the message has the name, and one that may be meant.
    """
    for variable in environ:
        if variable.startswith("SSHJOBS_") and not variable.startswith("SSHJOBS_TEST_"):
            name = variable[8:]
            if name not in _NO_SETTINGS and name.lower() not in BY_NAME:
                raise _refuse_unknown(name.lower(), variable)
            if name not in _NO_SETTINGS and not name.isupper():
                raise SpecError(f"no such setting: {variable}; say {variable.upper()}")


def check_config(config: Mapping[str, Any]) -> None:
    """Refuse a config file with a mistake, for any host.

    Raises:
        SpecError: the message names the setting, and the table.
    """
    if "host" in config or "pools" in config:
        from .setting_values import check_tables

        check_tables(config, Settings)


def _refuse_unknown(name: str, said: str = "") -> SpecError:
    """Return the error of a setting that does not exist, with one that may be meant."""
    from .setting_values import suggest_setting

    return SpecError(f"no such setting: {said or name}{suggest_setting(name, BY_NAME)}")


def resolve(
    host: str,
    config: Mapping[str, Any],
    environ: Mapping[str, str],
    flags: Mapping[str, Any],
) -> Settings:
    """Return the settings in force for ``host``.

    Args:
        host: As the user typed it; names a ``[host."..."]`` table of ``config``.
        config: The config file, parsed; empty if there is none.
        environ: The environment, of which ``SSHJOBS_<NAME>`` is read.
        flags: Values that the call itself gave; ``None`` values count as not said.

    Raises:
        SpecError: a value of the wrong kind, or a setting that does not exist.
    """
    values = {k: config[k] for k in config if k not in ("host", "pools")}
    values |= config.get("host", {}).get(host, {})
    for setting in SETTINGS:
        text = environ.get(f"SSHJOBS_{setting.name.upper()}")
        if text:
            values[setting.name] = text
    said = {name: value for name, value in flags.items() if value is not None}
    if "ssh_options" in said:  # ssh takes what it is told first
        from .setting_values import convert_value

        rest = convert_value(BY_NAME["ssh_options"], values.get("ssh_options") or "")
        said["ssh_options"] = f"{said['ssh_options']} {rest}".strip()
    values |= said
    if values.get("ssh_config") not in (None, "", "none"):
        from .setting_values import find_absolute, read_value

        path = read_value(BY_NAME["ssh_config"], values["ssh_config"])
        values["ssh_config"] = find_absolute(path)
    return Settings(**values)
