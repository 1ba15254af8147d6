"""Every verb and every flag, with its help: the one table of the command line.

Pure data. The console script (``cli.py``), the Invoke tasks (``tasks.py``) and
``docs/reference/command-line.md`` are all made from :data:`VERBS`, so that the
three cannot drift (docs/decisions/0001-one-manual.md). ``commands.py`` carries
out what they read: it is given the verb's name and a plain dict, in which every
argument of the verb has an entry under :attr:`Arg.dest`.
"""

from __future__ import annotations

from ..errors import SpecError
from ..model import CLEANUP, check_port, seconds
from ..startup.records import TYPE_CHECKING, Record
from ..states import STATES

if TYPE_CHECKING:
    from typing import Any


class Arg(Record):
    """One argument of a verb; a name that begins with ``-`` is a flag.

    ``kind`` says what its value is: ``text``, ``path`` and ``choice`` are ``str``,
    ``count`` and ``port`` are ``int``, ``seconds`` is ``float``; each of them
    ``None`` if not given. ``flag`` is ``bool``. ``list`` (positional, any number)
    and ``rest`` (positional, all that follows) are lists of ``str``, and so is
    whatever may be repeated.
    """

    name: str
    help: str
    kind: str = "text"
    metavar: str = ""
    repeat: bool = False
    required: bool = False
    choices: tuple[str, ...] = ()

    @property
    def dest(self) -> str:
        """The name of its value: ``--older-than`` is ``older_than``."""
        return self.name.lstrip("-").replace("-", "_")

    @property
    def positional(self) -> bool:
        """Tell whether it stands by its place, not behind a flag."""
        return not self.name.startswith("-")

    @property
    def is_letter(self) -> bool:
        """Tell whether it is a flag of one letter, one of ssh's own."""
        return len(self.name) == 2

    @property
    def many(self) -> bool:
        """Tell whether its value is a list."""
        return self.repeat or self.kind in ("list", "rest")

    @property
    def default(self) -> Any:
        """What its value is when the user does not give it."""
        if self.many:
            return []
        return False if self.kind == "flag" else None

    def read(self, text: str) -> Any:
        """Turn one word that the user typed into a value.

        Raises:
            SpecError: the word is not what the argument takes.
        """
        if self.kind == "seconds":
            return seconds(text)
        if self.kind == "count":
            return self._count(text)
        if self.kind == "port":
            return self._port(text)
        return self._choice(text) if self.kind == "choice" else text

    def _count(self, text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) < 19):
            raise SpecError(f"not a count: {text[:40]!r}")
        return int(text)

    def _port(self, text: str) -> int:
        try:
            return check_port(text)
        except ValueError as error:
            raise SpecError(str(error)) from error

    def _choice(self, text: str) -> str:
        for choice in self.choices:
            if text.lower() == choice.lower():
                return choice
        raise SpecError(f"{text!r} is not one of {', '.join(self.choices)}")


class Verb(Record):
    """One verb: the first line of ``help`` says what it does, the rest how."""

    name: str
    help: str
    args: tuple[Arg, ...]
    examples: tuple[str, ...] = ()

    @property
    def brief(self) -> str:
        """The first line of the help."""
        return self.help.partition("\n")[0]


SUMMARY = "Run long jobs on hosts that you reach with ssh, over one connection."

#: What a command ends with; keep in sync with ``exit_status`` in errors.py.
EXIT_STATUSES = (
    (0, "good"),
    (1, "a job ended badly: FAILED, CANCELLED, TIMEOUT or LOST"),
    (64, "wrong usage; nothing was done"),
    (69, "the host is unreachable, or refuses, after the whole budget; nothing ran"),
    (70, "a bug of sshjobs, or a record on this machine that cannot be read"),
    (75, "not yet: accepted and not finished, and worth asking again"),
    (77, "the key or the host key was refused: a person must act"),
    (130, "interrupted (Ctrl-C)"),
)

#: What is read besides the command line, whatever the verb.
ENVIRONMENT = (
    ("SSHJOBS_HOME", "record, logs and sockets (~/.local/state/sshjobs/MACHINE)"),
    ("SSHJOBS_SSH_CONFIG", "an ssh_config in place of your own, as ssh -F takes it"),
    ("SSHJOBS_CONFIG", "the config file, TOML (~/.config/sshjobs/config.toml)"),
    ("SSHJOBS_<NAME>", "any other setting: docs/reference/settings.md"),
)

#: What ``run`` ends with instead, once its job is known to have ended.
RUN_STATUSES = (
    (None, "the job's own exit status, 255 included; 128+N after signal N"),
    (124, "TIMEOUT: the job's time was up"),
    (143, "CANCELLED"),
    (70, "LOST: the host has neither an end nor a process of the job"),
)

_JOB_FORMS = "JOB is an id, the beginning of one that no other id shares, or key:K."
_HOST_FORMS = """\
HOST is what you would type after ssh, ssh://USER@NAME:PORT among it, or local
for this machine (ssh:local is the ssh_config alias of that name)."""

_JSON = Arg(
    "--json", "print one JSON object a line instead of what is for people", "flag"
)
_JSON_ERR = Arg(
    "--json",
    "print the job's record as a JSON object on standard error at the end; standard "
    "output is the log itself",
    "flag",
)
_WAIT_HOST = Arg(
    "--wait-host",
    "how long to wait for a host that cannot be reached now, cooldowns included, "
    "before giving up with 69 (setting wait_host, default 60)",
    "seconds",
    "S",
)
#: Flags of ssh, named as there: they say where HOST is. Keep in sync with
#: ``commands._ssh_words``.
_SSH = (
    Arg("-p", "as of ssh: the port of HOST", "port", "PORT"),
    Arg("-l", "as of ssh: the user to log in as", metavar="USER"),
    Arg(
        "-i",
        "as of ssh: a file with a key; may be a certificate's",
        "path",
        "KEY",
        True,
    ),
    Arg("-J", "as of ssh: the jump hosts on the way", metavar="HOP,..."),
    Arg("-F", "as of ssh: the ssh_config to read", "path", "FILE"),
    Arg(
        "-o",
        "as of ssh: an option of ssh_config; what a job was submitted with is kept "
        "for whatever asks about it later",
        metavar="K=V",
        repeat=True,
    ),
)
_CONTACT = (_WAIT_HOST, _JSON)

_HOST = Arg(
    "host", "where to run: what you would type after ssh, or local", metavar="HOST"
)
_ONLY_HOST = Arg("--host", "only the jobs of this host", metavar="H")
_JOB = Arg("job", "id, unique beginning of one, or key:K", metavar="JOB")
_JOBS = Arg(
    "job", "ids, unique beginnings, or key:K; none: all that are active", "list", "JOB"
)

_COMMAND = Arg(
    "command",
    "one argument is a shell line, several are an argument vector, none: the shell "
    "line is read from standard input; put -- before it",
    "rest",
    "COMMAND",
)

_SPEC = (
    Arg("--name", "a name for people, shown in lists", metavar="N"),
    Arg(
        "--key",
        "your own name for this piece of work, claimed on the host: while a job of "
        "this key is active or COMPLETED, that job is returned and nothing runs; "
        "after a bad end there is a new attempt",
        metavar="K",
    ),
    Arg("--once", "with --key: no new attempt after a bad end either", "flag"),
    Arg(
        "--env",
        "set a variable for the job; it stands in the arguments of this command, "
        "where ps on this machine shows it: pass secrets with --env-from",
        metavar="K=V",
        repeat=True,
    ),
    Arg(
        "--env-from",
        "pass a variable of this command's own environment on to the job, as "
        "NAME=VARIABLE under another name; its value stands in no argument, neither "
        "here nor on the host",
        metavar="NAME",
        repeat=True,
    ),
    Arg(
        "--cwd",
        "directory to run in; ~ is the login directory, which is also the default",
        metavar="DIR",
    ),
    Arg(
        "--timeout",
        "end the whole job after this long (90, 15m, 12h, 7d), kept on the host "
        "even when this machine is gone",
        "seconds",
        "S",
    ),
    Arg(
        "--shell",
        "shell that runs the shell line, as SHELL FILE, with flags if you like "
        "('bash -l'); default: the login shell, in which bash reads ~/.bashrc as with "
        "ssh (setting shell_startup)",
        metavar="SH",
    ),
    Arg("--login", "run the shell line in a login shell (-l)", "flag"),
    Arg(
        "--stdin",
        "file that becomes the job's standard input, - for this command's own; "
        "default: /dev/null",
        "path",
        "FILE",
    ),
    Arg(
        "--cleanup",
        "when the job's directory on the host goes, once its log is home (setting "
        "cleanup, default never)",
        "choice",
        "WHEN",
        choices=CLEANUP,
    ),
    Arg(
        "--max-log-bytes",
        "bring home no more of the log than this; the rest stays on the host, and so "
        "does the job's directory (setting max_log_bytes, default all)",
        "count",
        "BYTES",
    ),
)

_SUBMIT = Verb(
    "submit",
    f"""Start a job on a host and print its id.

The job is in the local record before the host is asked, and runs there exactly
once, whatever happens to this command, this machine or the connection. However
many processes submit at once, the host sees one connection and a handful of
commands.

{_HOST_FORMS}

A shell line is written to a file on the host and run by the login shell (or
--shell), so that ps shows none of it. An argument vector reaches its program
byte for byte, whatever the login shell is.

With --from, every line of FILE is a job: a shell line, or a JSON object with
"command" (text, or a list of words) and any of "name", "key", "once", "env",
"stdin" (the text itself), "cwd", "timeout", "shell", "login", "cleanup"; "env"
is an object of names and values. Empty lines and those that begin with # are passed
over. The flags hold for all of them. If a line has a mistake, it is named and
nothing is submitted. The ids come out in the order of the lines, with a - for
one that the host refused.

Ends with 0 when the host has the job, 69 when the host could not be reached
and nothing was or will be run, 75 (with the id printed) when it was sent and
the answer is still out.""",
    (
        _HOST,
        _COMMAND,
        Arg("--from", "a job a line, - is standard input", "path", "FILE"),
        *_SPEC,
        *_SSH,
        *_CONTACT,
    ),
    (
        "sshjobs submit gpu1 -- 'cd run7 && ./train.sh >out.txt'",
        "sshjobs submit gpu1 --key night-2026-05-01 --timeout 6h -- make all",
        "sshjobs submit gpu1 --from jobs.txt --cleanup always",
        "DB_PASSWORD=... sshjobs submit gpu1 --env-from DB_PASSWORD -- ./load.sh",
    ),
)

_RUN = Verb(
    "run",
    f"""Run a job on a host, stream its log, end with its exit status.

Like submit and logs --follow in one: the id goes to standard error first, then
every byte that the job writes comes out on standard output, in order, and
this command ends as the job did.

{_HOST_FORMS}

Ctrl-C and SIGTERM cancel the job (not with --detach-on-signal). SIGHUP and a
standard output that is closed leave it running; sshjobs logs JOB --follow
takes it up again.

Ends with the job's own exit status: 128+N after signal N, 124 after --timeout,
143 when it was cancelled, 70 when it is LOST. A command that cannot go on
asking says so and ends with 69, 75 or 77; the job goes on.""",
    (
        _HOST,
        _COMMAND,
        Arg(
            "--detach-on-signal",
            "on SIGINT and SIGTERM leave the job running instead of cancelling it",
            "flag",
        ),
        *_SPEC,
        *_SSH,
        _WAIT_HOST,
        _JSON_ERR,
    ),
    (
        "sshjobs run gpu1 -- ./train.sh --epochs 3",
        "sshjobs run gpu1 --stdin data.csv --shell bash -- 'sort | uniq -c'",
    ),
)

_POLL = Verb(
    "poll",
    f"""Ask the hosts once, and print one line for each job.

One round per host, shared with all who ask at the same time; hosts are asked
side by side. Without JOB: every job that is active.
{_JOB_FORMS}

A host that cannot be asked changes no state: the job keeps its last one, the
error says why, and the exit status is 69 (75 with --sensor).

With --sensor, for Airflow and cron: 0 when all are COMPLETED, 75 while one is
not final, 1 when one ended badly.""",
    (
        _JOBS,
        _ONLY_HOST,
        Arg("--key", "the job that has this key", metavar="K"),
        Arg("--sensor", "0 completed, 75 not yet, 1 ended badly", "flag"),
        Arg(
            "--adopt",
            "with --host: take up the jobs there that this machine has no record of "
            "(another machine's, or from before the record was lost)",
            "flag",
        ),
        *_SSH,
        *_CONTACT,
    ),
    ("sshjobs poll", "sshjobs poll key:night-2026-05-01 --sensor"),
)

_WAIT = Verb(
    "wait",
    f"""Wait until jobs have ended, and print how.

Without JOB: all that are active. All who wait for a host share one question a
second (setting poll_interval).
{_JOB_FORMS}

Ends with 0 when all are COMPLETED, 1 when one ended badly, 75 when --timeout
came first; the jobs go on then.""",
    (
        _JOBS,
        _ONLY_HOST,
        Arg("--timeout", "how long to wait; the jobs are not touched", "seconds", "S"),
        *_SSH,
        *_CONTACT,
    ),
    ("sshjobs wait", "sshjobs wait k3j5 --timeout 1h"),
)

_LOGS = Verb(
    "logs",
    f"""Print what a job has written, byte for byte.

Standard output and standard error of the job, in the order in which they were
written. What was brought home before is not asked for again, and a log can be
read after the job was reaped.
{_JOB_FORMS}

With --follow it goes on until the job has ended and its last byte is here. A
connection that breaks in between costs no byte and doubles none. It ends with
1 if bytes are missing for good, since another machine has reaped the job.""",
    (
        _JOB,
        Arg("--follow", "go on until the job has ended", "flag"),
        Arg("--offset", "begin at this byte, counted from 0", "count", "BYTES"),
        Arg("--tail", "begin with the last N lines of what is there", "count", "N"),
        Arg("--whole", "bring also what --max-log-bytes has left on the host", "flag"),
        _WAIT_HOST,
        _JSON_ERR,
    ),
    ("sshjobs logs k3j5 --follow", "sshjobs logs key:night-2026-05-01 --tail 20"),
)

_SHOW = Verb(
    "show",
    f"""Print all that is known of a job.

From the record on this machine; no host is asked. Values of the environment
are not in it: they are gone from the record once the job has started.
{_JOB_FORMS}""",
    (_JOB, _JSON),
    ("sshjobs show k3j5 --json",),
)

_KILL = Verb(
    "kill",
    f"""End jobs, with their whole trees.

TERM, then (setting kill_grace, default 10 s) KILL, to every process of the
job's session, its group, their descendants, and those that carry the job's id
in their environment. Returns when the end is known. A job that was not yet
sent is CANCELLED and never sent. One that had ended by itself keeps its end.
{_JOB_FORMS}

A job on another machine of the host (a shared home, a container made anew) is
told to end, and the command names that machine and ends with 75: the next
command that reaches it ends the job. If you know that the machine is gone,
--forget declares the job LOST, and its key is free for a new attempt. It ends
nothing that runs where the host can see it: that is refused. A host that
cannot be asked at all does not hinder it; the job may still run there, and is
ended if the host can be asked again.

Ends with 0 when each has ended, whichever way.""",
    (
        Arg("job", "ids, unique beginnings, or key:K", "list", "JOB", required=True),
        Arg(
            "--forget",
            "end nothing, and declare LOST what you know to be gone",
            "flag",
        ),
        *_CONTACT,
    ),
    ("sshjobs kill k3j5", "sshjobs kill --forget k3j5"),
)

_REAP = Verb(
    "reap",
    """Bring ended jobs home and delete their directories on the host.

Only what has ended, is a job of ours, and has its record and its whole log on
this machine is deleted; symlinks are never followed. The log stays readable
here for 90 days (setting record_ttl). A key is remembered on the host for 30
days (setting key_ttl), so that its work is not done again because it was
tidied away.

With --orphans also job directories on the host of which this machine has no
record, if they have ended and are older than --older-than.""",
    (
        _ONLY_HOST,
        Arg("--older-than", "only what ended at least this long ago", "seconds", "7d"),
        Arg("--orphans", "also what this machine has no record of", "flag"),
        Arg("--dry-run", "say what would go, delete nothing", "flag"),
        Arg(
            "--cut-logs",
            "also jobs of whose logs --max-log-bytes has left a part on the host: that "
            "part is lost",
            "flag",
        ),
        Arg(
            "--tmpfiles",
            "only print a line for systemd-tmpfiles on the host, which deletes there "
            "what no client comes back for",
            "flag",
        ),
        *_SSH,
        *_CONTACT,
    ),
    ("sshjobs reap --older-than 7d", "sshjobs reap --host gpu1 --orphans --dry-run"),
)

_LIST = Verb(
    "list",
    """List the jobs of this machine's record.

No host is asked: the states are the last ones known. sshjobs poll asks.""",
    (
        _ONLY_HOST,
        Arg("--state", "only jobs in this state", "choice", "S", choices=STATES),
        *_SSH,
        _JSON,
    ),
    ("sshjobs list --state RUNNING",),
)

_CONNECT = Verb(
    "connect",
    """Make the connection to a host, at a terminal if it asks something.

For hosts that want a password or a one-time code: log in once here, and cron,
Airflow and all other processes of yours ride on the connection until it has
been idle for the setting persist (default 600 s) or is ended with disconnect.
It also forgets a refused key or host key that was remembered, and a cooldown.""",
    (_HOST, *_SSH, *_CONTACT),
    ("sshjobs connect cluster", "sshjobs connect -J gateway -p 2222 node7"),
)

_DISCONNECT = Verb(
    "disconnect",
    """End the connection to a host, once its commands have ended.

Jobs are not touched: they do not hang on the connection.""",
    (_HOST, *_SSH, _JSON),
    ("sshjobs disconnect cluster",),
)

_HOSTS = Verb(
    "hosts",
    """List the hosts, their connections and the ledger of each.

Handshakes, drops, sessions, rounds, refusals and bytes since the record
began, so that "one connection" is something that you can check. No host is
asked.""",
    (_JSON,),
    ("sshjobs hosts",),
)

_DOCTOR = Verb(
    "doctor",
    """Look for what stands in the way on a host, and say what to do.

Reads the ssh configuration, makes the connection (or uses the one that is
there), and looks at the host's shell, tools, home directory, free space and
limits. It opens no second connection and never pokes at the port.""",
    (_HOST, *_SSH, *_CONTACT),
    ("sshjobs doctor gpu1",),
)

_DEMO = Verb(
    "demo",
    """Show it all on this machine in half a minute, and leave nothing behind.

Starts an sshd of its own on the loopback address, with keys of its own (where
there is no sshd, the host local is used), submits real jobs from many
processes at once, follows them, shows their states, their logs and what sshd
counted, reaps, and removes all that it made. Your own jobs, record and
~/.ssh are not touched.""",
    (_JSON,),
    ("sshjobs demo",),
)

VERBS = (
    _SUBMIT,
    _RUN,
    _POLL,
    _WAIT,
    _LOGS,
    _SHOW,
    _KILL,
    _REAP,
    _LIST,
    _CONNECT,
    _DISCONNECT,
    _HOSTS,
    _DOCTOR,
    _DEMO,
)

BY_NAME = {verb.name: verb for verb in VERBS}
