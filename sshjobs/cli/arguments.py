"""An argument of a verb, a verb, and the arguments that several verbs share."""

from __future__ import annotations

from ..errors import SpecError
from ..model import CLEANUP, LAUNCHERS, seconds
from ..startup.records import TYPE_CHECKING, Record
from ..states import STATES

if TYPE_CHECKING:
    from typing import Any


class Arg(Record):
    """One argument of a verb; a name that begins with ``-`` is a flag.

    ``kind`` is the type of its value: ``text``, ``path`` and ``choice`` are ``str``,
    ``count`` and ``port`` are ``int``, ``seconds`` is ``float``; each of them
    ``None`` if not given, and so is ``options``, which may begin with ``-``. ``flag``
    is ``bool``. ``list`` (positional, any number)
    and ``rest`` (positional, all that follows) are lists of ``str``, and so is
    whatever may be repeated; a ``hosts`` and a ``choice`` of these take several values
    with commas between them, too.
    """

    name: str
    help: str
    kind: str = "text"
    metavar: str = ""
    repeat: bool = False
    required: bool = False
    choices: tuple[str, ...] = ()
    short: str = ""  # one letter behind a dash, the same flag

    @property
    def dest(self) -> str:
        """The name of its value: ``--older-than`` is ``older_than``."""
        return self.name.lstrip("-").replace("-", "_")

    @property
    def is_positional(self) -> bool:
        """Tell whether it stands by its place, not behind a flag."""
        return not self.name.startswith("-")

    @property
    def is_letter(self) -> bool:
        """Tell whether it is a flag of one letter, one of ssh's own."""
        return len(self.name) == 2

    @property
    def takes_many(self) -> bool:
        """Tell whether its value is a list."""
        return self.repeat or self.kind in ("list", "rest")

    @property
    def default(self) -> Any:
        """The value when the user does not give it."""
        if self.takes_many:
            return []
        return False if self.kind == "flag" else None

    def read_each(self, text: str) -> list[Any]:
        """Read a word for an argument whose value is a list.

        Raises:
            SpecError: the argument does not take the word.
        """
        if self.repeat and self.kind in ("hosts", "choice"):
            return [self.read(word) for word in text.split(",")]
        return [self.read(text)]

    def read(self, text: str) -> Any:
        """Turn one word that the user typed into a value.

        Raises:
            SpecError: the argument does not take the word.
        """
        if self.kind == "seconds":
            return seconds(text)
        if self.kind == "count":
            if not (text.isascii() and text.isdigit() and len(text) < 19):
                raise SpecError(f"not a count: {text[:40]!r}")
            return int(text)
        if self.kind == "port":
            try:
                from ..host_names import check_port

                return check_port(text)
            except ValueError as error:
                raise SpecError(str(error)) from error
        return self._read_choice(text) if self.kind == "choice" else text

    def _read_choice(self, text: str) -> str:
        for choice in self.choices:
            if text.lower() == choice.lower():
                return choice
        raise SpecError(f"{text!r} is not one of {', '.join(self.choices)}")


class Verb(Record):
    """One verb: the first line of ``help`` says its purpose, the rest how."""

    name: str
    help: str
    args: tuple[Arg, ...]
    examples: tuple[str, ...] = ()

    @property
    def brief(self) -> str:
        """The first line of the help."""
        return self.help.partition("\n")[0]


JSON = Arg(
    "--json",
    "print one JSON object a line instead of the text for people",
    "flag",
    short="-j",
)


#: Flags that each verb has.
EVERYWHERE = (
    Arg(
        "--verbose",
        "tell each step on standard error: processes, connections, files, rounds",
        "flag",
        short="-v",
    ),
)


#: Of submit: a cron line mails what is printed.
QUIET_SUBMIT = Arg(
    "--quiet", "print no ids and no count; errors are printed", "flag", short="-q"
)

QUIET = Arg(
    "--quiet",
    "print no jobs and no remarks; the exit status says how it went",
    "flag",
    short="-q",
)


COLOR = Arg(
    "--color",
    "when to colour; auto: at a terminal, if NO_COLOR is not set and TERM is not dumb",
    "choice",
    "WHEN",
    choices=("auto", "always", "never"),
)


JSON_ERR = Arg(
    "--json",
    "print the job's record as a JSON object on standard error at the end; standard "
    "output is the log itself",
    "flag",
    short="-j",
)


#: The part of a log that is printed, and how.
LOG = (
    Arg("--follow", "go on until the job has ended", "flag", short="-f"),
    Arg("--offset", "begin at this byte, counted from 0", "count", "BYTES"),
    Arg(
        "--tail",
        "begin with the last N lines that are there",
        "count",
        "N",
        short="-n",
    ),
    Arg(
        "--stderr",
        "of a job that was submitted with --split, only its standard error",
        "flag",
    ),
    Arg("--whole", "bring also the bytes past --max-log-bytes", "flag"),
    Arg(
        "--prefix",
        "put the job's name before each line, as always for jobs that are followed "
        "side by side",
        "flag",
    ),
)


WAIT_HOST = Arg(
    "--wait-host",
    "how long to go on with a host that cannot be reached or is silent, cooldowns "
    "included, before the command ends with 69 or 75 (setting wait_host, default 60)",
    "seconds",
    "S",
)


#: Flags of ssh, named as there: they say where HOST is. Keep in sync with
#: ``ssh_flags._yield_ssh_options``.
SSH = (
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
        "as of ssh: an option of ssh_config; the options of a submit are kept for all "
        "later questions about the job",
        metavar="K=V",
        repeat=True,
    ),
    Arg(
        "--askpass-env",
        "a variable of this command's environment with the password of a login, or the "
        "passphrase of its key (setting askpass_env; the settings password_command and "
        "passphrase_command name commands that print them)",
        metavar="NAME",
    ),
)


CONTACT = (WAIT_HOST, JSON)


HOST = Arg(
    "host",
    "where to run: a name as you would type it after ssh, or local",
    metavar="HOST",
)


#: Of verbs that take several hosts; see ``host_lists.py``.
HOSTS = (
    Arg(
        "host",
        "where to run: a name as you would type it after ssh, or local; several with "
        "commas between them; or pool:NAME",
        metavar="HOST",
    ),
    Arg(
        "--hosts",
        "also the hosts in FILE, one a line (# begins a comment, - is standard input); "
        "HOST may be missing then, and COMMAND stands behind --",
        "path",
        "FILE",
        True,
    ),
)


ONLY_HOST = Arg(
    "--host",
    "only the jobs of this host, of hosts that match a pattern, or of pool:NAME",
    "hosts",
    "H",
    True,
)


JOBS = Arg(
    "job",
    "ids, unique beginnings of ids, names, patterns of names, key:K",
    "list",
    "JOB",
)


#: Flags that say which jobs are meant, beside JOB. Keep in sync with
#: ``selections.read_criteria_flags``.
SELECT = (
    ONLY_HOST,
    Arg("--name", "only jobs of this name, or pattern of names", "text", "N", True),
    Arg("--key", "only the jobs of this key, or pattern of keys", "text", "K", True),
    Arg(
        "--state",
        "only jobs in this state",
        "choice",
        "S",
        True,
        choices=STATES,
    ),
    Arg(
        "--since",
        "only jobs that were active since then: 2h (a span ago), 10:04, today, "
        "2026-05-01, 2026-05-01T10:04",
        metavar="T",
    ),
    Arg("--allow-empty", "if no job is meant, end with 0 and say nothing", "flag"),
    COLOR,
)


#: How a table of jobs is cut and sorted.
TABLE = (
    Arg(
        "--all",
        "all jobs: older ones, more than fit, those that were reaped",
        "flag",
        short="-a",
    ),
    Arg("--limit", "show the last N jobs", "count", "N", short="-n"),
    Arg("--quiet", "print ids and nothing else", "flag", short="-q"),
    Arg(
        "--sort",
        "the column to sort by; the largest comes last",
        "choice",
        "BY",
        choices=("age", "name", "host", "state", "time", "end"),
    ),
)


COMMAND = Arg(
    "command",
    "one argument is a shell line, several are an argument vector, none: the shell "
    "line is read from standard input; put -- before it",
    "rest",
    "COMMAND",
)


SPEC = (
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
        "end the whole job after this long (90, 15m, 12h, 7d); the host itself ends "
        "it, even when this machine is gone",
        "seconds",
        "S",
    ),
    Arg("--group", "jobs of a group share a limit (setting group_limits)", metavar="G"),
    Arg(
        "--at-most",
        "let so many jobs of the group run on the host at once, 0 for no limit; others "
        "wait there in order. Without --group the jobs of this command are a group",
        "count",
        "N",
    ),
    Arg(
        "--after",
        "begin once that job is COMPLETED, with JOB:any once it has ended anyhow; if "
        "that can never be, the job is CANCELLED. After a job of another host it waits "
        "here: keep a wait or a poll by cron going",
        metavar="JOB",
        repeat=True,
    ),
    Arg(
        "--priority",
        "a number, default 0: of the jobs that wait on the host, the highest begins "
        "first",
        "text",
        "P",
    ),
    Arg(
        "--launcher",
        "what starts the job on the host: process, or a scheduler such as slurm "
        "(setting launcher)",
        "choice",
        "L",
        choices=LAUNCHERS,
    ),
    Arg(
        "--launcher-args",
        "options for the launcher, as a shell would read them, with slurm those of "
        "sbatch: '-p gpu --mem 8G', with sge those of qsub, and so on "
        "(setting launcher_args)",
        "options",
        "ARGS",
    ),
    Arg("--wait-room", "wait where the scheduler takes no more jobs of yours", "flag"),
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
        "--split",
        "keep the job's standard error apart, in a log of its own; run prints it on "
        "its own standard error, and so does logs. The order between the two "
        "logs is lost",
        "flag",
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
        "--notify",
        "a command (sh -c) to run on this machine, once, when a command of sshjobs "
        "learns that the job has ended; it reads the job as JSON (setting notify)",
        metavar="CMD",
    ),
    Arg(
        "--max-log-bytes",
        "bring home no more of a log than this; the rest stays on the host, and so "
        "does the job's directory (setting max_log_bytes, default all)",
        "count",
        "BYTES",
    ),
)
