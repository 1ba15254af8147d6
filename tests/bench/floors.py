"""How near we are to what the machine allows: short runs, crowds, a long record."""

from __future__ import annotations

import os
import sqlite3
import statistics
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from sshjobs.model import new_job_id
from tests.bench.ground import Ground, end_jobs
from tests.bench.measure import Command, Cost, crowd, median
from tests.bench.report import Results, Row, Target
from tests.cli import Cli

_DAY = 86400.0


def runs(ground: Ground, found: Results) -> None:
    """A short job from its submission to its end, and a submit, in turn."""
    times = 5 if ground.quick else 50
    name = "a short run, on an open connection"
    host = ground.new_box().host
    submit = ground.ours("submit", host, "--", "true")
    run = ground.ours("run", host, "--", "true")
    assert crowd([submit, run]).failed == 0
    ground.settle()
    costs: dict[str, list[Cost]] = {"sshjobs submit": [], "sshjobs run": []}
    for _ in range(times):
        for who, command in zip(costs, (submit, run)):
            costs[who].append(ground.counted(lambda: crowd([command])))
    for who, some in costs.items():
        found.rows.append(Row(name, who, median(some), median(some).wall))
    usual = median(costs["sshjobs submit"]).wall
    ran = costs["sshjobs run"]
    worst = max(cost.wall for cost in ran)
    sessions = statistics.mean(cost.sessions for cost in ran)
    found.targets += [
        Target(f"{name}: run / submit", median(ran).wall / usual, 1.5),
        Target(f"{name}: the worst of {times} / submit", worst / usual, 3.0),
        Target(f"{name}: sessions a run, the mean", sessions, 1.1),
    ]


def crowds(ground: Ground, found: Results) -> None:
    """Many processes that each want one job started, by how many there are."""
    counts = (10, 40) if ground.quick else (100, 120, 300, 1000)
    cpu: dict[int, float] = {}
    shares: list[Row] = []
    for count in counts:
        name = f"{count} submits at once"
        costs = []
        for _ in range(ground.times(3)):
            cli = ground.new_box()
            command = ground.ours("submit", cli.host, "--", "true")
            ground.settle()
            costs.append(ground.counted(lambda: crowd([command] * count)))
        cost = median(costs)
        cpu[count] = cost.cpu / count
        found.rows.append(Row(name, "sshjobs submit", cost, cost.wall))
        each = Row("CPU of each of", f"{count} submits", cost, cpu[count] * 1e3, "ms")
        shares.append(each)
        found.targets += [
            Target(f"{name}: failed", max(cost.failed for cost in costs), 0),
            Target(f"{name}: connections", max(c.connections for c in costs), 1),
        ]
    found.rows += shares
    few, most = counts[-3 if len(counts) > 2 else 0], counts[-1]
    ratio = cpu[most] / cpu[few]
    found.targets.append(Target(f"CPU a process, {most} / {few} at once", ratio, 1.2))


def record(ground: Ground, found: Results) -> None:
    """Verbs on a record of a million jobs that ended, and on one without, in turn."""
    known = 20_000 if ground.quick else 1_000_000
    times = 3 if ground.quick else 25
    boxes = {"none": ground.new_box(), f"{known}": ground.open_other_box("long")}
    try:
        ended = [_fill_box(ground, box) for box in boxes.values()]
        _add_ended_jobs(boxes[f"{known}"].home / "store.db", known)
        for verb in ("status", "list", "wait", "poll", "reap"):
            ground.settle()
            costs: dict[str, list[Cost]] = {who: [] for who in boxes}
            for _ in range(times + 1):  # the first reads the file
                for (who, box), job_id in zip(boxes.items(), ended):
                    words = _build_look(verb, box.host, job_id)
                    command = Command([ground.script, *words], box.env)
                    costs[who].append(crowd([command]))
            walls = []
            for who, some in costs.items():
                cost = median(some[1:])
                walls.append(cost.wall)
                found.rows.append(Row(f"{verb}, others ended", who, cost, cost.wall))
            ratio = walls[1] / walls[0]
            found.targets.append(Target(f"{verb}, {known} ended / none", ratio, 1.1))
    finally:
        for box in boxes.values():
            end_jobs(box.base)
        boxes[f"{known}"].close()


def _fill_box(ground: Ground, box: Cli) -> str:
    """Have a job that runs and one that ended there; return the id of that."""
    ids = ground.folder / "ids"
    for line in ("sleep 3000", "true"):
        words = ("submit", box.host, "--", line)
        command = Command([ground.script, *words], box.env, stdout=ids)
        assert crowd([command]).failed == 0
    (ended,) = ids.read_text().split()
    assert crowd([Command([ground.script, "wait", ended], box.env)]).failed == 0
    return ended


def _build_look(verb: str, host: str, ended: str) -> tuple[str, ...]:
    """Return the words of a verb that means what runs, or a job that has ended."""
    return {
        "status": ("status", host),
        "list": ("list", "--state", "RUNNING"),
        "wait": ("wait", ended),
        "poll": ("poll",),
        "reap": ("reap", "--host", host, "--older-than", "90d"),
    }[verb]


def _add_ended_jobs(path: Path, count: int) -> None:
    """Write jobs into a record that ended weeks ago, and were reaped."""
    with closing(sqlite3.connect(path)) as db:
        found = db.execute("SELECT * FROM jobs WHERE state = 'COMPLETED'")
        names = [column[0] for column in found.description]
        like = dict(zip(names, found.fetchone()))

        def build_rows() -> Iterator[list[object]]:
            began = time.time() - 30 * _DAY
            for number in range(count):
                at = began + number * 1e-3
                times = {"submitted_at": at, "started_at": at, "finished_at": at + 1.0}
                row = like | times | {"id": new_job_id(), "reaped_at": at + 2.0}
                yield [row[name] for name in names]

        marks = ", ".join("?" * len(names))
        with db:
            db.executemany(f"INSERT INTO jobs VALUES ({marks})", build_rows())
    os.sync()
