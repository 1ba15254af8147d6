"""What one triggerer of Airflow pays for a thousand deferred tasks of one host.

Both kinds of trigger run in the same small triggerer, one after the other, on jobs that
all end when they are told to, five minutes after their triggers have begun. Both ask
at the same interval, and find what their operators leave behind. The ssh provider's
trigger logs in once for each task; the server's MaxStartups is raised for its sake,
since a stock one turns most of a thousand away. Its jobs are directories as its
operator makes them, and one process writes all of their ends: to run a thousand of
them is no part of this.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import time
from pathlib import Path
from threading import Timer
from typing import Any

from tests.bench.ground import ROOT, Broken, Ground
from tests.bench.measure import Cost, crowd
from tests.bench.report import Results, Row, Target

_OURS = "sshjobs.airflow.triggers.SSHJobTrigger"
_THEIRS = "airflow.providers.ssh.triggers.ssh_remote_job.SSHRemoteJobTrigger"

#: How often either asks how its jobs are: what the ssh provider does by default.
_INTERVAL = 5

#: A triggerer that takes so many seconds is ended.
_PATIENCE = 1500


def triggers(ground: Ground, found: Results) -> None:
    """1,000 triggers of Airflow in one process, on jobs of five minutes on one host."""
    if not ground.airflow:
        return
    count, seconds = (20, 10) if ground.quick else (1000, 300)
    name = f"{count} deferred tasks, {seconds} s"
    ground.sshd.restart(MaxStartups=f"{2 * count}:30:{2 * count}")
    ours = _wait_for_ours(ground, count, seconds)
    theirs = _wait_for_theirs(ground, count, seconds)
    ground.sshd.options.pop("MaxStartups")
    ground.sshd.restart()
    for who, (cost, said) in {"sshjobs": ours, "ssh provider": theirs}.items():
        found.rows.append(Row(name, f"trigger of {who}", cost, cost.wall))
        ground.note(
            f"{name}, {who}: {said['cpu']:.1f} s of processor in the triggerer; its "
            f"loop was late {said['blocked']} times, by {said['worst']:.2f} s at most"
        )
    ratio = ours[0].cpu / theirs[0].cpu
    if not ground.quick:  # of few triggers, imports and logins are the most
        found.targets.append(Target(f"{name}: CPU, sshjobs / provider", ratio, 0.1))
    found.targets += [
        Target(f"{name}: failed", ours[0].failed, 0),
        Target(f"{name}: connections", ours[0].connections, 1),
    ]


class Gate:
    """A pipe with a name: who opens it to read waits until it is opened to write."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path)
        path.chmod(0o644)

    def open(self) -> None:
        """Let all of them go on."""
        with open(self.path, "wb", buffering=0):
            time.sleep(1)


def _wait_for_ours(
    ground: Ground, count: int, seconds: int
) -> tuple[Cost, dict[str, Any]]:
    cli = ground.new_box()
    gate = Gate(ground.folder / "ours.gate")
    path, ids = ground.folder / "lines", ground.folder / "ids"
    path.write_text(f"echo begin; : <{gate.path}; echo end\n" * count)
    crowd([ground.ours("submit", cli.host, "--from", path, stdout=ids)])
    crowd([ground.ours("disconnect", cli.host)])
    settings = {"SSHJOBS_POLL_INTERVAL": str(_INTERVAL)}
    given = [
        {"job": job, "remote_host": cli.host, "settings": settings}
        for job in ids.read_text().split()
    ]
    _leave_notes(ground, given)
    return _run_triggers(ground, _OURS, given, Timer(seconds, gate.open))


def _leave_notes(ground: Ground, given: list[dict[str, Any]]) -> None:
    """Leave the notes that a worker leaves when it defers its task."""
    program = (
        "import json, sys; from types import SimpleNamespace as Ti; "
        "from sshjobs.airflow import notes, triggers; notes.keep_notes("
        "(triggers.SSHJobTrigger(**one), Ti(dag_id='d', run_id='r', task_id='t', "
        "map_index=number)) for number, one in enumerate(json.load(sys.stdin)))"
    )
    subprocess.run(
        [ground.airflow, "-c", program],
        check=True,
        env=_list_environment(ground),
        input=json.dumps(given).encode(),
        stdout=subprocess.DEVNULL,
    )


def _wait_for_theirs(
    ground: Ground, count: int, seconds: int
) -> tuple[Cost, dict[str, Any]]:
    far, gate = ground.far / "theirs", Gate(ground.folder / "theirs.gate")
    work = (
        f"for n in $(seq {count}); do mkdir -p {far}/$n; echo begin >{far}/$n/log; "
        f"done; touch {far}/made; : <{gate.path}; "
        f"for n in $(seq {count}); do echo end >>{far}/$n/log; echo 0 >{far}/$n/code; "
        "done"
    )
    line = f"nohup sh -c {shlex.quote(work)} </dev/null >/dev/null 2>&1 &"
    crowd([ground.ssh(ground.sshd.alias, line)])
    while not (far / "made").exists():
        time.sleep(0.1)
    given = [
        {
            "ssh_conn_id": "box",
            "remote_host": None,
            "job_id": str(number),
            "job_dir": f"{far}/{number}",
            "log_file": f"{far}/{number}/log",
            "exit_code_file": f"{far}/{number}/code",
            "remote_os": "posix",
            "poll_interval": _INTERVAL,
        }
        for number in range(1, count + 1)
    ]
    return _run_triggers(ground, _THEIRS, given, Timer(seconds, gate.open))


def _run_triggers(
    ground: Ground, kind: str, given: list[dict[str, Any]], ending: Timer
) -> tuple[Cost, dict[str, Any]]:
    """Run triggers to their ends; return what that cost, and what their loop saw."""
    said: dict[str, Any] = {}

    def once() -> Cost:
        said.update(_talk_to_triggerer(ground, kind, given, ending))
        rss = said["rss"] * 1024
        return Cost(said["wall"], said["cpu"], rss, said["failed"])

    return ground.counted(once), said


def _talk_to_triggerer(
    ground: Ground, kind: str, given: list[dict[str, Any]], ending: Timer
) -> dict[str, Any]:
    """Start a triggerer, and the clock of the jobs' end once its triggers begin."""
    errors = ground.folder / "triggerer.err"
    with open(errors, "wb") as stderr:
        process = subprocess.Popen(
            [ground.airflow, "-m", "tests.airflow.small_triggerer"],
            cwd=ROOT,
            env=_list_environment(ground),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
        )
    end = Timer(_PATIENCE, process.kill)
    end.start()
    with process:
        assert process.stdin and process.stdout
        line = json.dumps({"trigger": kind, "kwargs": given})
        process.stdin.write(line.encode() + b"\n")
        process.stdin.flush()
        said: dict[str, Any] = {}
        left = len(given)
        for told in process.stdout:
            said = json.loads(told)
            if "begun" in said:
                ending.start()
            left -= _is_good(said.get("event", {}))
    end.cancel()
    if "cpu" not in said:
        raise Broken(f"{kind}: {errors.read_text()[-500:]}")
    return said | {"failed": left}


def _list_environment(ground: Ground) -> dict[str, str]:
    return dict(ground.cli.env) | {
        "AIRFLOW_CONN_BOX": ground.connection(),
        "AIRFLOW_HOME": str(ground.folder / "airflow"),
        "PYTHONPATH": str(ROOT),
    }


def _is_good(event: dict[str, Any]) -> bool:
    return event.get("state") == "COMPLETED" or event.get("status") == "success"
