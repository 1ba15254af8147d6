#!/usr/bin/python3 -S
"""The commands of PBS and of LSF, as their manuals print what they say: a fake.

Each looks at its own name. What they are told lies in files of a spool directory, which
``tests/batch_fakes.py`` reads: N.job (a line of JSON), N.held, N.delete; its answers
are N.run and N.end. Source: qsub(1B), qstat(1B), qselect(1B), qdel(1B) of OpenPBS 23;
bsub(1), bjobs(1), bkill(1) of IBM Spectrum LSF 10.1.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any, NoReturn

SPOOL = "@SPOOL@"
QUEUES = ("workq", "normal", "long")


def load(number: int, kind: str) -> Any:
    """Return what a file of a job says, or None."""
    try:
        with open(f"{SPOOL}/{number}.{kind}") as file:
            return json.load(file)
    except FileNotFoundError:
        return None


def list_numbers() -> list[int]:
    """Return the numbers of all jobs."""
    names = (name.partition(".") for name in os.listdir(SPOOL))
    return sorted(int(n) for n, _, kind in names if kind == "job")


def add_job(values: dict[str, Any]) -> int:
    """Write a job of a new number, and return that."""
    number = 1
    while True:
        try:
            os.close(os.open(f"{SPOOL}/{number}.number", os.O_CREAT | os.O_EXCL))
            break
        except FileExistsError:
            number += 1
    values |= {"uid": os.getuid(), "cwd": os.getcwd(), "script": sys.stdin.read()}
    if values.pop("held", False):
        open(f"{SPOOL}/{number}.held", "w").close()
    with open(f"{SPOOL}/{number}.new", "w") as file:
        json.dump(values, file)
    os.rename(f"{SPOOL}/{number}.new", f"{SPOOL}/{number}.job")
    return number


def read_options(words: list[str], flags: tuple[str, ...]) -> dict[str, str]:
    """Return the options of a command by name, each with its last value."""
    found: dict[str, str] = {}
    words = list(words)
    while words:
        name = words.pop(0)
        found[name] = "" if name in flags else words.pop(0)
    return found


def fail(text: str, status: int) -> NoReturn:
    """End with a message."""
    print(text, file=sys.stderr)
    sys.exit(status)


def read_before(text: str) -> list[int]:
    """Return the numbers in a word on jobs that come before one."""
    numbers = [int(n) for n in "".join(c if c.isdigit() else " " for c in text).split()]
    for number in numbers:
        if load(number, "job") is None:
            name = os.path.basename(sys.argv[0])
            fail(f"{name}: Unknown Job Id {number}. Job not submitted.", 153)
    return numbers


def qsub(words: list[str]) -> None:
    """Hand a job to PBS."""
    given = read_options(words, ("-h",))
    queue = given.get("-q", "workq")
    if queue not in QUEUES:
        fail("qsub: Unknown queue", 170)
    if len(given["-N"]) > 15:
        fail("qsub: illegal -N value", 2)
    limit = given.get("-l", "").partition("walltime=")[2]
    job: dict[str, Any] = {"name": given["-N"], "variables": given["-v"]}
    job["queue"] = queue
    before = given.get("-W", "")
    assert before.startswith("depend=afterany:") or not before, words
    job |= {"limit": int(limit or 0), "held": "-h" in given}
    job["before"] = read_before(before)
    print(f"{add_job(job)}.fakepbs")


def qselect(words: list[str]) -> None:
    """List the ids of jobs that are not over."""
    name = read_options(words, ()).get("-N")
    for number in list_numbers():
        if not load(number, "end") and name in (None, load(number, "job")["name"]):
            print(f"{number}.fakepbs")


def qstat(words: list[str]) -> None:
    """Tell of jobs, in paragraphs."""
    if words == ["--version"]:
        print("pbs_version = 23.06.06")
    elif words in (["-B"], ["-Q"]):
        heads = "Max Tot Ena Str Que Run Hld Wat Trn Ext Type".split()
        values = "0 0 yes yes 0 0 0 0 0 0 Exec".split()
        for first, rest in (
            ("Queue", heads),
            ("-" * 16, ["-----"] * 11),
            ("workq", values),
        ):
            print(f"{first:16}", *(f"{word:>5}" for word in rest))
    history = "-x" in words
    status = 0
    for word in words:
        if word.startswith("-"):
            continue
        number = int(word.partition(".")[0])
        end = load(number, "end")
        if load(number, "job") is None or (end and not history):
            print(f"qstat: Unknown Job Id {word}", file=sys.stderr)
            status = 153
        else:
            show_job(number, end)
    sys.exit(status)


def show_job(number: int, end: Any) -> None:
    """Print a paragraph on a job; a long line goes on behind a tab."""
    job, run = load(number, "job"), load(number, "run")
    held = os.path.exists(f"{SPOOL}/{number}.held") or (
        not run and any(load(one, "end") is None for one in job["before"])
    )
    lines = [f"Job_Name = {job['name']}", "Job_Owner = tester@login"]
    state = "F" if end else "R" if run else "H" if held else "Q"
    lines += [f"job_state = {state}", f"queue = {job['queue']}"]
    if run:
        lines += ["exec_host = n1/0*2+n2/0", "exec_vnode = (n1:ncpus=2)+(n2:ncpus=1)"]
    elif not held:
        lines.append("comment = Not Running: Insufficient amount of resource: ncpus")
    walltime = time.strftime("%H:%M:%S", time.gmtime(job["limit"] or 86399))
    lines.append(f"Resource_List.walltime = {walltime}")
    lines.append(
        "Variable_List = PBS_O_HOME=/home/t,PBS_O_LANG=C,PBS_O_WORKDIR=" + job["cwd"]
    )
    lines[-1] += "," + job["variables"] + ",PBS_O_QUEUE=" + job["queue"]
    if end:
        lines.append(f"Exit_status = {end['status']}")
    print(f"Job Id: {number}.fakepbs")
    for line in lines:
        print("    " + line[:74])
        for at in range(74, len(line), 70):
            print("\t" + line[at : at + 70])
    print()


def qdel(words: list[str]) -> None:
    """Have jobs ended."""
    for word in words:
        number = int(word.partition(".")[0])
        if load(number, "job") is None or load(number, "end"):
            fail(f"qdel: Unknown Job Id {word}", 153)
        open(f"{SPOOL}/{number}.delete", "w").close()


def bsub(words: list[str]) -> None:
    """Hand a job to LSF."""
    if words == ["-V"]:
        fail("IBM Spectrum LSF Standard 10.1.0.0, Jul 08 2016", 0)
    given = read_options(words, ("-rn", "-H"))
    queue = given.get("-q", "normal")
    if queue not in QUEUES:
        fail(f"{queue}: No such queue. Job not submitted.", 255)
    limit = float(given.get("-W", 0)) * 60
    job = {"name": given["-J"], "queue": queue, "limit": limit, "held": "-H" in given}
    before = given.get("-w", "")
    each = [one for one in before.split(" && ") if one]
    assert all(one[:6] == "ended(" and one[-1] == ")" for one in each), words
    job["before"] = read_before(before)
    kind = "queue" if "-q" in given else "default queue"
    print(f"Job <{add_job(job)}> is submitted to {kind} <{queue}>.")


def bjobs(words: list[str]) -> None:
    """Tell of jobs, a line each."""
    assert words[:3] == ["-noheader", "-a", "-u"], words
    assert words[5] == (
        "jobid job_name stat queue exec_host exit_reason delimiter='|'"
    ), words
    if not list_numbers():
        fail("No job found", 255)
    for number in list_numbers():
        job, run, end = (load(number, kind) for kind in ("job", "run", "end"))
        held = os.path.exists(f"{SPOOL}/{number}.held")
        stat = "RUN" if run else "PSUSP" if held else "PEND"
        why = "-"
        if end:
            stat = "EXIT" if end["status"] else "DONE"
            why = end["why"] or "-"
        where = "2*n1:n2" if run else "-"
        print("|".join([str(number), job["name"], stat, job["queue"], where, why]))


def bkill(words: list[str]) -> None:
    """Have jobs of a name ended."""
    assert words[0] == "-J" and words[2] == "0", words
    for number in list_numbers():
        if load(number, "job")["name"] == words[1] and not load(number, "end"):
            open(f"{SPOOL}/{number}.delete", "w").close()
            print(f"Job <{number}> is being terminated")


def bqueues(words: list[str]) -> None:
    """Tell of queues."""
    assert not words
    heads = "PRIO STATUS MAX JL/U JL/P JL/H NJOBS PEND RUN SUSP".split()
    values = "30 Open:Active - - - - 0 0 0 0".split()
    for first, rest in (("QUEUE_NAME", heads), ("normal", values)):
        print(f"{first:15}", *(f"{word:>5}" for word in rest))


def main() -> None:
    """Do what the command of this name does."""
    name = os.path.basename(sys.argv[0])
    if os.path.exists(f"{SPOOL}/down"):
        if name.startswith("b"):
            print("LSF is down. Please wait ...", file=sys.stderr, flush=True)
            time.sleep(60)
        print("Connection refused", file=sys.stderr)
        fail(f"{name}: cannot connect to server fakepbs (errno=111)", 111)
    globals()[name](sys.argv[1:])


if __name__ == "__main__":
    main()
