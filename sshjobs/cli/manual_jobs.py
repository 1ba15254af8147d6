"""The manual of the verbs that a job passes, and of list: each start reads these.

Pure data; ``manual.py`` hands it out.
"""

from __future__ import annotations

from .arguments import (
    COMMAND,
    CONTACT,
    HOSTS,
    JOBS,
    JSON,
    JSON_ERR,
    LOG,
    QUIET,
    QUIET_SUBMIT,
    SELECT,
    SPEC,
    SSH,
    TABLE,
    WAIT_HOST,
    Arg,
    Verb,
)

#: How a job is named on the command line.
JOB_FORMS = """\
JOB is an id, a name, the beginning of an id that no other id shares, a pattern
of names ('sweep-*'), or key:K (K may be a pattern, too); of a job in Slurm also
sj-ID and slurm:NUMBER. The key of a job without a name serves as its name. A flag
given twice means either value; a job must meet all different flags, and JOB. Of a
key the newest attempt counts. If no job is meant, the command does nothing and
ends with 64."""

#: How a host is named.
HOST_FORMS = """\
HOST is a name as you would type it after ssh, ssh://USER@NAME:PORT too, or local
for this machine (ssh:local is the ssh_config alias of that name). Of pool:NAME, a
pool of the config file, it is the host with the most free room."""

#: Of the verbs that take several hosts.
_MANY_HOSTS = """\
Several hosts are served side by side (as many at once as the setting max_hosts
says), each once. A summary on standard error counts them. The command ends with
0, or with the largest of the statuses that it would have for one of them alone."""


_SUBMIT = Verb(
    "submit",
    f"""Start a job on a host and print its id.

The job is in the local record before the host is asked, and runs there exactly
once, even if this command, this machine or the connection dies. However
many processes submit at once, the host sees one connection and a handful of
commands.

{HOST_FORMS}

A shell line is written to a file on the host and run by the login shell (or
--shell), so that ps shows none of it. An argument vector reaches its program
byte for byte, with every login shell.

With --from, every line of FILE is a job: a shell line, or a JSON object with
"command" (text, or a list of words) and any of "name", "key", "once", "env",
"stdin" (the text itself), "cwd", "timeout", "shell", "login", "cleanup",
"max_log_bytes", "group", "priority", "after", "launcher", "launcher_args",
"split", "wait_room"; "env" is an object of names and values. Empty lines and
lines that begin with # are left out. The flags hold for all jobs. If a line
has a mistake, the error names it and nothing is submitted. The ids come out
in the order of the lines, with a - for a job that the host refused.

{_MANY_HOSTS}
Each line has an id and its host. A key counts on each host by itself. --from
takes one host, or a pool.

Ends with 0 when the host has the job, 69 when the host could not be reached
and nothing was or will be run, 75 (with the id printed) when it was sent and
the answer is still out.""",
    (
        *HOSTS,
        COMMAND,
        Arg("--from", "a job a line, - is standard input", "path", "FILE"),
        QUIET_SUBMIT,
        *SPEC,
        *SSH,
        *CONTACT,
    ),
    (
        "sshjobs submit gpu1 -- 'cd run7 && ./train.sh >out.txt'",
        "sshjobs submit gpu1 --key night-2026-05-01 --timeout 6h -- make all",
        "sshjobs submit gpu1 --from jobs.txt --cleanup always",
        "sshjobs submit gpu1 --from jobs.txt --at-most 4 --priority 5",
        "sshjobs submit gpu1 --group io -- ./load.sh",
        "sshjobs submit gpu1 --after build --after key:load:any -- ./test.sh",
        "sshjobs submit gpu1,gpu2 --name update -- ./update.sh",
        "sshjobs submit pool:gpu --from jobs.txt",
        "sshjobs submit cluster --launcher slurm --launcher-args '-p gpu' -- make",
        "DB_PASSWORD=... sshjobs submit gpu1 --env-from DB_PASSWORD -- ./load.sh",
    ),
)

_RUN = Verb(
    "run",
    f"""Run a job on a host, stream its log, end with its exit status.

Like submit and logs --follow in one: the id goes to standard error first, then
every byte that the job writes comes out on standard output, in order, and
this command ends as the job did. With --split the job's standard error comes out
on standard error.

{HOST_FORMS}

{_MANY_HOSTS}
Each line comes whole, behind the name of its host (a line of more than 64 KiB
in pieces), and a host that does not answer holds up no line of another.

Ctrl-C and SIGTERM cancel the job (not with --detach-on-signal), and its log goes
on until the job has ended; a second signal leaves that to the host. After SIGHUP,
or when standard output is closed, the job runs on; sshjobs logs JOB --follow shows
its log again.

Ends with the job's own exit status: 128+N after signal N, 124 after --timeout,
143 when it was cancelled, 70 when it is LOST. If the command cannot ask the host
any longer, it says so and ends with 69, 75 or 77; the job runs on.""",
    (
        *HOSTS,
        COMMAND,
        Arg(
            "--detach-on-signal",
            "on SIGINT and SIGTERM leave the job running instead of cancelling it",
            "flag",
        ),
        *SPEC,
        *SSH,
        WAIT_HOST,
        JSON_ERR,
    ),
    (
        "sshjobs run gpu1 -- ./train.sh --epochs 3",
        "sshjobs run gpu1 --stdin data.csv --shell bash -- 'sort | uniq -c'",
        "sshjobs run gpu1,gpu2 -- uptime",
        "sshjobs run --hosts hosts.txt -- 'df -h /'",
    ),
)

_POLL = Verb(
    "poll",
    f"""Ask the hosts once, and print one line for each job.

All that ask a host at the same time share one round; hosts are asked side by
side. Without JOB, or with --host alone: every job that is active.
{JOB_FORMS}

A host that cannot be asked changes no state: the job keeps its last one, the
error says why, and the exit status is 69 (75 with --sensor).

With --sensor, for Airflow and cron: 0 when all are COMPLETED, 75 while one is
not final, 1 when one ended badly.""",
    (
        JOBS,
        *SELECT,
        QUIET,
        Arg("--sensor", "0 completed, 75 not yet, 1 ended badly", "flag"),
        Arg(
            "--adopt",
            "with --host: take up the jobs there that this machine has no record of "
            "(another machine's, or from before the record was lost)",
            "flag",
        ),
        *SSH,
        *CONTACT,
    ),
    (
        "sshjobs poll",
        "sshjobs poll key:night-2026-05-01 --sensor",
        "sshjobs poll --host gpu1 --allow-empty",
    ),
)

_WAIT = Verb(
    "wait",
    f"""Wait until jobs have ended, and print how.

Without JOB, or with --host alone: all that are active. All commands that wait for
a host share one question a second (setting poll_interval).
{JOB_FORMS}

Ends with 0 when all are COMPLETED, 1 when one ended badly, 75 when --timeout
came first; the jobs go on then.""",
    (
        JOBS,
        *SELECT,
        QUIET,
        Arg("--timeout", "how long to wait; the jobs are not touched", "seconds", "S"),
        *SSH,
        *CONTACT,
    ),
    (
        "sshjobs wait",
        "sshjobs wait k3j5 --timeout 1h",
        "sshjobs wait 'sweep-*' --since today",
    ),
)

_LOGS = Verb(
    "logs",
    f"""Print the output of jobs, byte for byte.

Standard output and standard error of the job, in the order in which they were
written. Of a job that was submitted with --split each comes out on the stream that
it belongs to, as from run, and with --stderr only its standard error, on standard
output. Bytes that are on this machine already are not asked for again, and a log
can be read after the job was reaped. With several jobs, a line before each log
names its job, its state and its exit status; of --split it is the standard output,
or with --stderr the other one.
{JOB_FORMS}

With --follow it goes on until the job has ended and its last byte was printed. A
connection that breaks in between loses no byte and doubles none. Several jobs
are followed side by side: each line comes whole, behind the name of its job
(a line of more than 64 KiB in pieces); up to 500 at once. logs ends with 1 if
bytes are missing for good, since another machine has reaped the job.""",
    (
        JOBS,
        *SELECT,
        *LOG,
        *SSH,
        WAIT_HOST,
        JSON_ERR,
    ),
    (
        "sshjobs logs k3j5 --follow",
        "sshjobs logs key:night-2026-05-01 --tail 20",
        "sshjobs logs --state FAILED --since 1h --tail 5",
        "sshjobs logs 'sweep-*' --follow",
        "sshjobs logs k3j5 --stderr",
    ),
)

_KILL = Verb(
    "kill",
    f"""End jobs, with their whole trees.

TERM, then (setting kill_grace, default 10 s) KILL, to every process of the
job's session, its group, their descendants, and those that carry the job's id
in their environment. Returns when the end is known. A job that was not yet
sent is CANCELLED and never sent. One that had ended by itself keeps its end.
If anything but ids means more than one active job, those are shown, and at a
terminal you are asked first (not with --yes).
{JOB_FORMS}

A job on another machine of the host (a shared home, a container made anew) is
told to end, and the command names that machine and ends with 75: the next
command that reaches it ends the job. If you know that the machine is gone,
--forget declares the job LOST, and its key is free for a new attempt. For a job
that the host sees running, --forget is refused. It works for a host that cannot
be asked at all: the job may still run there, and is ended once the host can be
asked again.

Ends with 0 when each has ended, whichever way.""",
    (
        JOBS,
        *SELECT,
        Arg("--yes", "end several jobs without a question", "flag", short="-y"),
        QUIET,
        Arg(
            "--forget",
            "end nothing, and declare LOST jobs that you know to be gone",
            "flag",
        ),
        *SSH,
        *CONTACT,
    ),
    (
        "sshjobs kill k3j5",
        "sshjobs kill train",
        "sshjobs kill 'sweep-*'",
        "sshjobs kill --state PENDING --host gpu1 --yes",
        "sshjobs kill --forget k3j5",
    ),
)

_REAP = Verb(
    "reap",
    f"""Bring ended jobs home and delete their directories on the host.

Only a job of ours that has ended, and has its record and its whole log on
this machine, is deleted; symlinks are never followed. The log stays readable
on this machine for 90 days (setting record_ttl). The host remembers a key for 30
days (setting key_ttl), so that reaping a job does not let its work run again.
Without JOB: every job that has ended.
{JOB_FORMS}

With --orphans also job directories on the host of which this machine has no
record, if they have ended and are older than --older-than.""",
    (
        JOBS,
        *SELECT,
        Arg(
            "--older-than",
            "only jobs that ended at least this long ago",
            "seconds",
            "7d",
        ),
        Arg("--orphans", "also jobs of which this machine has no record", "flag"),
        Arg("--dry-run", "name the jobs that would go, delete nothing", "flag"),
        Arg(
            "--cut-logs",
            "also jobs of whose logs --max-log-bytes left a part on the host: that "
            "part is lost",
            "flag",
        ),
        Arg(
            "--tmpfiles",
            "only print a line for systemd-tmpfiles on the host, which deletes there "
            "each job that no client comes back for",
            "flag",
        ),
        *SSH,
        *CONTACT,
    ),
    ("sshjobs reap --older-than 7d", "sshjobs reap --host gpu1 --orphans --dry-run"),
)

_LIST = Verb(
    "list",
    f"""List the jobs of this machine's record.

No host is asked. A state that is older than 10 s is shown with the time when it
was seen, and its clock stands still; sshjobs status asks the hosts. At a terminal
list prints a table of the newest jobs that fit and were not reaped (--all: all of
them); into a pipe it prints all jobs, oldest first, a line each.
{JOB_FORMS}
A list, though, has the older attempts, too.""",
    (
        JOBS,
        *SELECT,
        *TABLE,
        *SSH,
        JSON,
    ),
    ("sshjobs list --state RUNNING", "sshjobs list 'sweep-*' --state FAILED,LOST"),
)

VERBS = (_SUBMIT, _RUN, _POLL, _WAIT, _LOGS, _KILL, _REAP, _LIST)
