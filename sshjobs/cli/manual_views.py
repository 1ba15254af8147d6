"""The manual of the verbs that show jobs, and of the demo.

Pure data; ``manual.py`` reads it when such a verb is meant.
"""

from __future__ import annotations

from .arguments import (
    CONTACT,
    JOBS,
    JSON,
    QUIET_SUBMIT,
    SELECT,
    SPEC,
    SSH,
    TABLE,
    Arg,
    Verb,
)
from .manual_jobs import JOB_FORMS

_STATUS = Verb(
    "status",
    """Ask the hosts, and show the jobs that are active or ended lately.

sshjobs alone is the same. Each host with active jobs, or each HOST, is asked
once, side by side. A host that does not answer within 5 s (--wait-host) hinders
no other; its jobs are shown as they were last seen.

The table has the jobs of the last 24 h that were not reaped, newest last; at a
terminal no more than fit. With --all it has all jobs, with any other condition
the jobs that meet it. Lines below it count the jobs that are active now and those
that ended since midnight, and name hosts that do not answer.

Ends with 0, or 69 when a host could not be asked.""",
    (
        Arg("hosts", "the hosts to ask and to show; none: all", "list", "HOST"),
        *SELECT,
        *TABLE,
        *SSH,
        *CONTACT,
    ),
    ("sshjobs status", "sshjobs status gpu1 gpu2", "sshjobs status --state FAILED"),
)

_SHOW = Verb(
    "show",
    f"""Print all that is known of jobs.

It reads the record on this machine; no host is asked. The record has no values of
environment variables once the job has started.
{JOB_FORMS}""",
    (JOBS, *SELECT, *SSH, JSON),
    ("sshjobs show train", "sshjobs show k3j5 --json"),
)

_DEMO = Verb(
    "demo",
    """Show all of it on this machine in half a minute, and leave nothing behind.

It starts an sshd of its own on the loopback address, with keys of its own (where
there is no sshd, the host local is used), submits real jobs from many
processes at once, follows them, shows their states, their logs and sshd's
counts, reaps, and removes all that it made. Your own jobs, record and
~/.ssh are not touched.""",
    (JSON,),
    ("sshjobs demo",),
)

_REPORT = Verb(
    "report",
    f"""Write a page about jobs: when they ran, how they ended, which were slow.

One file of HTML that needs nothing else, for yourself or a colleague: a timeline
by host, states, how long jobs ran and waited, the slowest, those that ended badly
with the ends of their logs, and the connections of their hosts. It opens in any
browser, light and dark, and prints. It is made from the record on this machine: a
host is asked for nothing but short logs of jobs that ended badly and are not on
this machine yet. Without JOB and flags it has all jobs, up to the newest 5,000. It
holds commands and ends of logs: look at it before you pass it on.
{JOB_FORMS}
A report, though, has older attempts, too.""",
    (
        JOBS,
        *SELECT,
        Arg(
            "--output",
            "the file; one that is there is replaced; - is standard output (default "
            "report.html, report.svg with --svg)",
            "path",
            "FILE",
            short="-o",
        ),
        Arg("--svg", "write the timeline alone, as a picture", "flag"),
        JSON,
    ),
    (
        "sshjobs report -o sweep.html 'sweep-*'",
        "sshjobs report --since today --svg -o today.svg",
    ),
)

_TOP = Verb(
    "top",
    """Show hosts, jobs and a log at a terminal, as they are from second to second.

Above stand the hosts: connection, jobs, sessions, and why one does not answer; then the
jobs that are active or ended in the last day, the newest last; below, the end of the
log of the job that is chosen. Hosts with active jobs are asked by the rounds that wait
shares (setting poll_interval).

Keys: up, down, k, j choose a job, Enter or l follows its log (Ctrl-C comes back), x
ends it after a question, / shows only jobs with a text, s sorts by the next column,
? shows the keys, q leaves. All jobs go on.

Without a terminal top ends with 64: sshjobs status shows the same, once.""",
    (Arg("hosts", "the hosts to show; none: all", "list", "HOST"), *SELECT, *SSH),
    ("sshjobs top", "sshjobs top --name 'sweep-*'"),
)

_RERUN = Verb(
    "rerun",
    f"""Run jobs again that have ended badly, and print the new ids.

Of the jobs that are meant, those that are FAILED, TIMEOUT, LOST or CANCELLED run again,
each on its host: the same command, directory, shell, limit and name. A job that is
active or COMPLETED does not (with --all a COMPLETED one does, unless it has a key of
its own). Given twice, rerun runs a job once: a job and those that ran in its place
share a key, rerun/ID or the job's own, of which the newest attempt counts.
{JOB_FORMS}

The record has no values of variables: give them again with --env-from. It has no
standard input either, nor options of a scheduler: submit such a job again. If one job
cannot be made again, the error names it and nothing is done.

Ends as submit does.""",
    (
        JOBS,
        *SELECT,
        *SSH,
        Arg("--all", "also jobs that are COMPLETED", "flag", short="-a"),
        Arg("--dry-run", "show the jobs that would run again, run nothing", "flag"),
        *(arg for arg in SPEC if arg.name in ("--env", "--env-from")),
        QUIET_SUBMIT,
        *CONTACT,
    ),
    (
        "sshjobs rerun 'sweep-*'",
        "sshjobs rerun --host gpu1 --state LOST --since today",
        "sshjobs rerun k3j5 --env-from DB_PASSWORD",
    ),
)

#: Those whose completion we have a script for.
SHELLS = ("bash", "zsh", "fish")

_COMPLETION = Verb(
    "completion",
    """Print the script with which a shell completes the words of sshjobs.

It offers verbs, flags and their values, hosts of ssh_config and of the record, and
jobs by name, id and key. On each TAB the shell asks sshjobs, which reads files of this
machine; no host is asked. To switch completion on for good:

  bash  echo 'eval "$(sshjobs completion bash)"' >>~/.bashrc
  zsh   echo 'eval "$(sshjobs completion zsh)"' >>~/.zshrc   (below compinit)
  fish  sshjobs completion fish >~/.config/fish/completions/sshjobs.fish""",
    (
        Arg(
            "shell",
            "bash, zsh or fish",
            "choice",
            "SHELL",
            choices=SHELLS,
        ),
    ),
    ("sshjobs completion bash",),
)

VERBS = (_STATUS, _TOP, _SHOW, _RERUN, _REPORT, _COMPLETION, _DEMO)
