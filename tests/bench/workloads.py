"""Who does what: each workload runs every contender that can do it, one by one."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from tests.bench.floors import crowds, record, runs
from tests.bench.ground import Ground, end_jobs
from tests.bench.measure import Command, Cost, crowd, median, repeat, start
from tests.bench.report import Curve, Results, Row, Target
from tests.bench.triggers import triggers
from tests.cli import Cli

#: As many as Airflow's ``parallelism`` allows by default.
_AIRFLOW_SLOTS = 32
_MUX = ("-o", "ControlMaster=auto", "-o", "ControlPersist=60", "-o")


def _lines(ground: Ground, name: str, count: int, line: str) -> Path:
    path = ground.folder / name
    path.write_text(f"{line}\n" * count)
    return path


def _ids(path: Path) -> list[str]:
    return path.read_text().split()


def _mux(ground: Ground) -> list[str]:
    """Return the options of ``ssh -o ControlMaster=auto`` with a socket of its own."""
    number = len(list(ground.folder.glob("auto*")))
    path = ground.folder / f"auto{number}"
    path.with_suffix(".used").touch()
    return [*_MUX, f"ControlPath={path}"]


def _end_mux(ground: Ground, options: list[str]) -> None:
    path = Path(options[-1].partition("=")[2])
    if path.exists():
        ground.hang_up(path)


def _row(workload: str, who: str, costs: list[Cost]) -> Row:
    cost = median(costs)
    return Row(workload, who, cost, cost.wall)


# -- 1: a crowd at the door ----------------------------------------------------------


def burst(ground: Ground, found: Results) -> None:
    """120 processes that each want one job started, at the same time."""
    count = 20 if ground.quick else 120
    name = f"{count} at once"
    rows: dict[str, Row] = {}

    def add(who: str, times: int, once: Callable[[], Cost]) -> None:
        costs = []
        for _ in range(times):
            ground.settle()
            costs.append(once())
        rows[who] = _row(name, who, costs)
        found.rows.append(rows[who])
        print(f"# {name}: {who}: {rows[who].figure:.2f} s", flush=True)

    add("python -c pass", ground.times(), lambda: _python(ground, count))
    add("sshjobs submit", ground.times(), lambda: _submits(ground, count))
    _add_peers(ground, count, add)
    if ground.omnirun:
        _add_omnirun(ground, found)
    ours = rows["sshjobs submit"]
    bare = rows["python -c pass"]
    found.targets.append(
        Target(f"{name}: sshjobs / python -c pass", ours.figure / bare.figure, 2.3)
    )
    if "Airflow operator" in rows:
        ratio = ours.figure / rows["Airflow operator"].figure
        found.targets.append(Target(f"{name}: sshjobs / Airflow", ratio, 0.75))
    found.targets += [
        Target(f"{name}: failed", ours.cost.failed, 0),
        Target(f"{name}: connections", ours.cost.connections, 1),
    ]


def _add_peers(
    ground: Ground, count: int, add: Callable[[str, int, Callable[[], Cost]], None]
) -> None:
    """Have those do the same that are there."""
    if ground.airflow:
        add("Airflow operator", ground.times(), lambda: _airflow_burst(ground, count))
    add("ssh", ground.times(2), lambda: _plain_ssh(ground, count))
    add("ssh ControlMaster=auto", ground.times(), lambda: _auto_ssh(ground, count))
    if ground.parallel:
        add("GNU parallel", ground.times(1), lambda: _parallel(ground, count))
    if ground.peers:
        for library in ("fabric", "parallel-ssh", "asyncssh", *ground.rarer_peers):
            add(library, ground.times(2), lambda: _library(ground, library, count))


def _python(ground: Ground, count: int) -> Cost:
    return crowd([ground.python("-c", "pass")] * count)


def _submits(ground: Ground, count: int) -> Cost:
    """Nothing is there before: no record, no connection, no directory on the host."""
    cli = ground.new_box()
    command = ground.ours("submit", cli.host, "--", "true")
    return ground.counted(lambda: crowd([command] * count))


def _plain_ssh(ground: Ground, count: int) -> Cost:
    command = ground.ssh(ground.sshd.alias, "true")
    return ground.counted(lambda: crowd([command] * count))


def _auto_ssh(ground: Ground, count: int) -> Cost:
    options = _mux(ground)
    command = ground.ssh(*options, ground.sshd.alias, "true")
    cost = ground.counted(lambda: crowd([command] * count))
    _end_mux(ground, options)
    return cost


def _parallel(ground: Ground, count: int) -> Cost:
    """One GNU parallel; its exit status is the number of jobs that failed."""
    ssh = f"ssh -F {ground.sshd.config} -o BatchMode=yes"
    words = ["--will-cite", "--ssh", ssh, f"-j{count}", "-S", ground.sshd.alias]
    env = ground.cli.env | {"PARALLEL_HOME": str(ground.folder / "parallel")}
    numbers = [str(number) for number in range(count)]
    full = [ground.parallel, *words, "true #{}", ":::", *numbers]
    failed = 0

    def once() -> Cost:
        nonlocal failed
        began = time.monotonic()
        process = start(Command(full, env))
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = failed = os.waitstatus_to_exitcode(status)
        cpu = usage.ru_utime + usage.ru_stime
        wall = time.monotonic() - began
        return Cost(wall, cpu, usage.ru_maxrss * 1024, failed)

    return ground.counted(once)


def _add_omnirun(ground: Ground, found: Results) -> None:
    """Measure a crowd that omnirun can bear: each submit places all that wait."""
    count = 5 if ground.quick else 20
    command = ground.omnirun_submit()
    crowd([command])  # the first brings the commit there
    once: dict[str, Callable[[], Cost]] = {
        "sshjobs submit": lambda: _submits(ground, count),
        "omnirun submit": lambda: ground.counted(lambda: crowd([command] * count)),
    }
    for who, measure in once.items():
        ground.settle()
        found.rows.append(_row(f"{count} at once", who, [measure()]))


def _library(ground: Ground, library: str, count: int) -> Cost:
    def once() -> Cost:
        return ground.peer(ground.peers, "peers", library, str(count))[0]

    return ground.counted(once)


def _airflow_burst(ground: Ground, count: int) -> Cost:
    def once() -> Cost:
        return ground.peer(ground.airflow, "airflow_peer", "burst", str(count))[0]

    return ground.counted(once)


# -- 2: the whole life of jobs -------------------------------------------------------


def life(ground: Ground, found: Results) -> None:
    """200 jobs of 9 s: started, watched, their logs brought home, cleaned up."""
    count, seconds = (20, 2) if ground.quick else (200, 9)
    name = f"{count} jobs of {seconds} s"
    line = f"echo begin; sleep {seconds}; echo end"
    whole = ground.times(3)
    one = _times(ground, whole, lambda: _life_batch(ground, count, line))
    many = _times(ground, whole, lambda: _life_processes(ground, count, line))
    found.rows += [
        _row(name, "sshjobs, one batch", one),
        _row(name, f"sshjobs, {count} processes", many),
    ]
    batch, crowd_ = median(one), median(many)
    found.targets += [
        Target(f"{name}, one batch: connections", batch.connections, 1),
        Target(f"{name}, one batch: sessions", batch.sessions, 12),
        Target(f"{name}, {count} processes: connections", crowd_.connections, 1),
        Target(f"{name}, {count} processes: sessions", crowd_.sessions, 40),
    ]
    if ground.airflow:
        theirs = _times(ground, whole, lambda: _life_airflow(ground, count, line))
        found.rows.append(_row(name, "Airflow operator and trigger", theirs))
        cpu = median(theirs).cpu
        found.targets += [
            Target(f"{name}, one batch: CPU / Airflow", batch.cpu / cpu, 1 / 15),
            Target(f"{name}, {count} processes: CPU / Airflow", crowd_.cpu / cpu, 0.5),
        ]
    for who, once in (("ssh", _life_ssh), ("ssh ControlMaster=auto", _life_auto)):
        costs = _times(ground, ground.times(1), lambda: once(ground, count, line))
        found.rows.append(_row(name, who, costs))


def _times(ground: Ground, times: int, once: Callable[[], Cost]) -> list[Cost]:
    costs = []
    for _ in range(times):
        ground.settle()
        costs.append(once())
        print(f"#   {costs[-1]}", flush=True)
    return costs


def _life_batch(ground: Ground, count: int, line: str) -> Cost:
    cli = ground.new_box()
    path = _lines(ground, "lines", count, line)
    submit = ground.ours("submit", cli.host, "--cleanup", "always", "--from", path)

    def once() -> Cost:
        return _after(crowd([submit]), crowd([ground.ours("wait")]))

    return ground.counted(once)


def _life_processes(ground: Ground, count: int, line: str) -> Cost:
    cli = ground.new_box()
    command = ground.ours("run", cli.host, "--cleanup", "always", "--", line)
    return ground.counted(lambda: crowd([command] * count))


def _life_airflow(ground: Ground, count: int, line: str) -> Cost:
    words = ("life", str(count), line, str(_AIRFLOW_SLOTS))

    def once() -> Cost:
        return ground.peer(ground.airflow, "airflow_peer", *words)[0]

    return ground.counted(once)


def _life_ssh(ground: Ground, count: int, line: str) -> Cost:
    command = ground.ssh(ground.sshd.alias, line)
    return ground.counted(lambda: crowd([command] * count))


def _life_auto(ground: Ground, count: int, line: str) -> Cost:
    options = _mux(ground)
    command = ground.ssh(*options, ground.sshd.alias, line)
    cost = ground.counted(lambda: crowd([command] * count))
    _end_mux(ground, options)
    return cost


def _after(first: Cost, second: Cost) -> Cost:
    """Return what two things cost that were done one after the other."""
    return Cost(
        first.wall + second.wall,
        first.cpu + second.cpu,
        max(first.rss_bytes, second.rss_bytes),
        first.failed + second.failed,
    )


def curves(ground: Ground, found: Results) -> None:
    """The same lives, with few jobs and with many: what the picture shows."""
    counts = (5, 10, 20) if ground.quick else (10, 50, 200)
    line = "echo begin; sleep 9; echo end"
    if ground.quick:
        line = "echo begin; sleep 1; echo end"
    contenders: dict[str, Callable[[Ground, int, str], Cost]] = {
        "sshjobs submit --from, wait": _life_batch,
        "sshjobs run, a process a job": _life_processes,
    }
    if ground.airflow:
        contenders["Airflow SSHRemoteJobOperator 7.0.1"] = _life_airflow
    contenders["ssh, a process a job"] = _life_ssh
    contenders["ssh ControlMaster=auto, a process a job"] = _life_auto
    for who, once in contenders.items():
        points = []
        for count in counts:
            ground.settle()
            points.append((count, once(ground, count, line)))
        found.curves.append(Curve(who, points))
        print(f"# curve: {who}: {[(n, c.connections) for n, c in points]}", flush=True)


# -- 3: many jobs in one call --------------------------------------------------------

#: What a person would write who has one connection, a login shell and no sshjobs: for
#: each job a directory, the process detached, and a record of it and of its end.
_PLAIN = """umask 077
mkdir -p {base} && cd {base} || exit
n=0
while [ $n -lt {count} ]; do
    n=$((n + 1))
    mkdir $n
    printf '%s\\n' 'true' >$n/script
    (
        setsid {shell} $n/script </dev/null >$n/log 2>&1 &
        echo $! >$n/pid
        wait $!
        echo $? >$n/exit
    ) &
done
exit
"""

#: The same without any record: nobody could tell how such a job does.
_BARE = """umask 077
mkdir -p {base} && cd {base} || exit
n=0
while [ $n -lt {count} ]; do
    n=$((n + 1))
    printf '%s\\n' 'true' >$n.sh
    setsid {shell} $n.sh </dev/null >$n.log 2>&1 &
done
exit
"""


def batch(ground: Ground, found: Results) -> None:
    """1,000 jobs in one call, on a connection that is open."""
    count = 100 if ground.quick else 1000
    name = f"{count} jobs in one call"
    ground.new_box()
    assert crowd([ground.ours("submit", ground.cli.host, "--", "true")]).failed == 0
    path = _lines(ground, "lines", count, "true")
    plain, bare, ours, ended = [], [], [], []
    for number in range(ground.times()):
        ground.settle()
        plain.append(_plain_batch(ground, _PLAIN, count, f"plain{number}"))
        ground.settle()
        bare.append(_plain_batch(ground, _BARE, count, f"bare{number}"))
        ground.settle()
        command = ground.ours("submit", ground.cli.host, "--from", path)
        began = time.monotonic()
        ours.append(ground.counted(lambda: crowd([command])))
        crowd([ground.ours("wait")])
        ended.append(ours[-1]._replace(wall=time.monotonic() - began))
    rows = (
        ("sh program, ssh -S", plain),
        ("sh program without records", bare),
        ("sshjobs submit --from", ours),
        ("sshjobs submit --from, wait", ended),
    )
    for who, costs in rows:
        cost = median(costs)
        found.rows.append(Row(name, who, cost, count / cost.wall, "jobs/s"))
    ratio = median(plain).wall / median(ours).wall
    found.targets.append(Target(f"{name}: rate / plain sh program", ratio, least=0.95))
    found.targets.append(_memory(f"submit --from with {count} lines", ours))
    if ground.peers:
        words = ("asyncssh-batch", str(count))
        once = ground.counted(lambda: ground.peer(ground.peers, "peers", *words)[0])
        who = "asyncssh, 6 sessions at once"
        found.rows.append(Row(name, who, once, count / once.wall, "jobs/s"))


def _plain_batch(ground: Ground, program: str, count: int, name: str) -> Cost:
    text = program.format(base=ground.far / name, count=count, shell=ground.shell)
    path = ground.folder / "plain.sh"
    path.write_text(text)
    command = ground.ssh(
        "-S", ground.socket(), ground.sshd.alias, "exec sh", stdin=path
    )
    return ground.counted(lambda: crowd([command]))


def _memory(what: str, costs: list[Cost]) -> Target:
    most = max(cost.rss_bytes for cost in costs) / 1e6
    return Target(f"{what}: RSS in MB", most, 60)


# -- 4: how jobs do ------------------------------------------------------------------


def polls(ground: Ground, found: Results) -> None:
    """A poll of one running job beside many that have ended; of many that run.

    Each is measured in turn with a poll from another home, which knows one job alone.
    """
    steps = (10, 100) if ground.quick else (10, 1000, 10000)
    _one_running(ground)
    with closing(ground.open_other_box("alone")) as alone:
        assert crowd([_submit_long(ground, alone)]).failed == 0
        _poll(ground, found, alone, "one job, no other known")
        known = 0
        ratio = 1.0
        for step in steps:
            path = _lines(ground, "lines", step - known, "true")
            ids = ground.folder / "ids"
            command = ground.ours("submit", ground.cli.host, "--from", path, stdout=ids)
            assert crowd([command]).failed == 0
            crowd([ground.ours("wait", *_ids(ids))])
            known = step
            ratio = _poll(ground, found, alone, f"one job, {step} others known")
        found.targets.append(Target(f"poll: with {known} known / none", ratio, 1.1))
        _end_all(ground)
        _one_running(ground)
        count = 50 if ground.quick else 2000
        path = _lines(ground, "lines", count, "sleep 1000")
        command = ground.ours("submit", ground.cli.host, "--from", path)
        assert crowd([command]).failed == 0
        end = time.monotonic() + 300
        while len(list(ground.cli.base.glob("jobs/*/log"))) < count:
            assert time.monotonic() < end, "the last have not begun"
            time.sleep(0.5)
        ratio = _poll(ground, found, alone, f"{count} running")
        found.targets.append(Target(f"poll: with {count} running / none", ratio, 1.8))
        _end_all(ground)
        end_jobs(alone.base)


def _one_running(ground: Ground) -> None:
    cli = ground.new_box()
    assert crowd([_submit_long(ground, cli)]).failed == 0


def _submit_long(ground: Ground, cli: Cli) -> Command:
    words = ("submit", cli.host, "--", "sleep 3000")
    return ground.ours(*words)._replace(env=cli.env)


def _poll(ground: Ground, found: Results, alone: Cli, who: str) -> float:
    """Measure a poll; return its ratio to one from the other home, in turn."""
    ground.settle()
    polls = [ground.ours("poll"), ground.ours("poll")._replace(env=alone.env)]
    costs = []
    for _ in range(ground.times()):
        costs.append([ground.counted(lambda: crowd([one])) for one in polls])
    ours, others = zip(*costs)
    found.rows.append(_row("poll", who, list(ours)))
    found.targets.append(_memory(f"poll, {who}", list(ours)))
    return median(ours).wall / median(others).wall


def _end_all(ground: Ground) -> None:
    """End the jobs of this home that still run."""
    end_jobs(ground.cli.base)
    ground.settle()


# -- 5: the end of a job -------------------------------------------------------------


def ends(ground: Ground, found: Results) -> None:
    """From the moment that a job ends until the one that waits for it knows."""
    name = "end of a job to its being known"
    ground.new_box()
    times = 3 if ground.quick else 50
    stamp = ground.far / "stamp"
    line = f"(sleep 1.3; date +%s.%N >{stamp})"  # Airflow 7.0.1 adds a redirection
    late = [_end_of_wait(ground, line, stamp) for _ in range(times)]
    _add_ends(found, name, "sshjobs wait", late)
    found.targets.append(Target(f"{name}, wait: median in s", _middle(late), 0.03))
    late = [_end_of_run(ground, line, stamp) for _ in range(times)]
    _add_ends(found, name, "sshjobs run", late)
    if ground.airflow:
        late = [_end_in_airflow(ground, line, stamp) for _ in range(ground.times())]
        _add_ends(found, name, "Airflow trigger", late)


def _middle(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


def _add_ends(found: Results, name: str, who: str, late: list[float]) -> None:
    found.rows.append(Row(name, who, Cost(), _middle(late)))


def _end_of_wait(ground: Ground, line: str, stamp: Path) -> float:
    crowd([ground.ours("submit", ground.cli.host, "--", line)])
    crowd([ground.ours("wait")])
    return time.time() - float(stamp.read_text())


def _end_of_run(ground: Ground, line: str, stamp: Path) -> float:
    crowd([ground.ours("run", ground.cli.host, "--", line)])
    return time.time() - float(stamp.read_text())


def _end_in_airflow(ground: Ground, line: str, stamp: Path) -> float:
    _, said = ground.peer(ground.airflow, "airflow_peer", "life", "1", line, "1")
    return float(said["known"][0]) - float(stamp.read_text())


# -- 6: a long log -------------------------------------------------------------------


def log(ground: Ground, found: Results) -> None:
    """100 MB of log, into a regular file."""
    size = 20_000_000 if ground.quick else 100_000_000
    name = f"{size // 1_000_000} MB of log"
    cli = ground.new_box()
    text = "0123456789 the quick brown fox jumps over the lazy dog"
    line = f"yes '{text}' | head -c {size}"
    ids = ground.folder / "ids"
    ours, plain = [], []
    for _ in range(ground.times()):
        assert (
            crowd([ground.ours("submit", cli.host, "--", line, stdout=ids)]).failed == 0
        )
        (job_id,) = _ids(ids)
        crowd([ground.ours("wait", job_id)])
        there, sink = cli.directory(job_id) / "log", ground.folder / "sink"
        ground.settle()
        plain.append(_cat(ground, there))
        sink.unlink()
        ground.settle()
        command = ground.ours("logs", job_id, stdout=sink)
        ours.append(ground.counted(lambda: crowd([command])))
        assert sink.stat().st_size == size, sink.stat()
        # The next pair is not to wait for a disk that is busy with what this one wrote.
        for written in (sink, there, cli.home / "logs" / job_id):
            written.unlink()
    for who, costs in (("ssh -S cat", plain), ("sshjobs logs", ours)):
        cost = median(costs)
        found.rows.append(Row(name, who, cost, size / 1e6 / cost.wall, "MB/s"))
    ratio = median(plain).wall / median(ours).wall
    found.targets.append(Target(f"{name}: rate / ssh -S cat", ratio, least=0.9))
    found.targets.append(_memory(f"logs of {name}", ours))


def _cat(ground: Ground, path: Path) -> Cost:
    sink = ground.folder / "sink"
    sink.unlink(missing_ok=True)
    command = ground.ssh("-S", ground.socket(), ground.sshd.alias, f"cat {path}")
    return ground.counted(lambda: crowd([command._replace(stdout=sink)]))


# -- 7: one of everything ------------------------------------------------------------


def verbs(ground: Ground, found: Results) -> None:
    """Each verb, cold, of one job, on a connection that is open."""
    cli = ground.new_box()
    ids = ground.folder / "ids"
    crowd([ground.ours("submit", cli.host, "--", "echo hello", stdout=ids)])
    (ended,) = _ids(ids)
    crowd([ground.ours("wait", ended)])
    crowd([ground.ours("submit", cli.host, "--", "sleep 3000", stdout=ids)])
    (running,) = _ids(ids)
    cases: dict[str, tuple[str, ...]] = {
        "--version": ("--version",),
        "submit": ("submit", cli.host, "--", "true"),
        "poll": ("poll", running),
        "list": ("list",),
        "show": ("show", running),
        "logs": ("logs", ended),
        "wait": ("wait", ended),
        "run": ("run", cli.host, "--", "true"),
        "hosts": ("hosts",),
        "reap": ("reap", "--host", cli.host),
        "doctor": ("doctor", cli.host),
    }
    commands = {"python -c pass": ground.python("-c", "pass")}
    commands |= {f"sshjobs {v}": ground.ours(*words) for v, words in cases.items()}
    ground.settle()
    costs = _in_turn(commands, 3 if ground.quick else 25)
    for who, command in commands.items():
        sessions = ground.counted(lambda: crowd([command])).sessions
        cost = median(costs[who])._replace(sessions=sessions)
        found.rows.append(Row(_COLD, who, cost, cost.wall))
    if ground.omnirun:
        command = ground.omnirun_submit()
        crowd([command])  # the first pushes the commit
        once = repeat(ground.times(), lambda: ground.counted(lambda: crowd([command])))
        found.rows.append(_row(_COLD, "omnirun submit", once))
    wall = {row.who: row.cost.wall for row in found.rows if row.workload == _COLD}
    for verb, most in (("submit", 3.7), ("poll", 3.2)):
        ratio = wall[f"sshjobs {verb}"] / wall["python -c pass"]
        found.targets.append(Target(f"{verb} of one job / python -c pass", ratio, most))
    ours = [row for row in found.rows if row.workload == _COLD and "sshjobs" in row.who]
    rss = max(row.cost.rss_bytes for row in ours) / 1e6
    found.targets.append(Target("every verb, one job: RSS in MB", rss, 60))
    _end_all(ground)


_COLD = "cold start of one verb"


def _in_turn(commands: dict[str, Command], times: int) -> dict[str, list[Cost]]:
    """Run each, and all of them again, so that what disturbs one disturbs all."""
    costs: dict[str, list[Cost]] = {who: [] for who in commands}
    for _ in range(times):
        for who, command in commands.items():
            costs[who].append(crowd([command]))
    return costs


# -- 8: one round --------------------------------------------------------------------


def rounds(ground: Ground, found: Results) -> None:
    """One session, one whole round: spoken natively, or through ``ssh -S``."""
    ground.new_box()
    crowd([ground.ours("submit", ground.cli.host, "--", "sleep 3000")])
    ground.settle()
    times = 20 if ground.quick else 100
    costs = {}
    for kind in ("session", "round"):
        for mux in ("ssh", "native"):
            words = ("-m", "tests.bench.one_round", kind, mux, str(times))
            costs[mux] = _one_kind(ground, words)
            row = Row(f"one {kind}", f"mux={mux}", costs[mux], costs[mux].wall * 1e3)
            found.rows.append(row._replace(unit="ms"))
        wall = costs["native"].wall / costs["ssh"].wall
        cpu = costs["native"].cpu / costs["ssh"].cpu
        found.targets += [
            Target(f"one {kind}: wall, native / ssh -S", wall, 0.5),
            Target(f"one {kind}: client CPU, native / ssh -S", cpu, 0.1),
        ]
    _end_all(ground)


def _one_kind(ground: Ground, words: tuple[str, ...]) -> Cost:
    command = ground.python(*words)
    done = subprocess.run(
        [str(word) for word in command.words],
        env=dict(command.env) | {"BENCH_HOST": ground.cli.host},
        stdout=subprocess.PIPE,
        check=True,
    )
    wall, cpu = json.loads(done.stdout)
    return Cost(wall, cpu)


WORKLOADS: dict[str, Callable[[Ground, Results], None]] = {
    "burst": burst,
    "life": life,
    "curves": curves,
    "batch": batch,
    "polls": polls,
    "ends": ends,
    "log": log,
    "verbs": verbs,
    "rounds": rounds,
    "triggers": triggers,
    "runs": runs,
    "crowds": crowds,
    "record": record,
}
