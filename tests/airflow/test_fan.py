"""Two hundred deferred tasks in sixteen slots, and the ssh provider's beside them."""

from __future__ import annotations

import json
import os
import resource
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.airflow.real import Airflow, connection, login, open_folder, tree
from tests.sshd import Sshd, sshd_path

pytest.importorskip("airflow.sdk")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(not sshd_path(), reason="no sshd"),
]

COUNT = int(os.environ.get("SSHJOBS_TEST_FAN", "200"))
SLOTS = 16

# As a user of the ssh provider has it; the other one differs in the import alone.
FAN = """
from airflow.sdk import DAG
from {module} import SSHRemoteJobOperator

with DAG("{name}", schedule=None, max_active_tasks=1000, max_active_runs=1):
    SSHRemoteJobOperator.partial(
        task_id="job",
        ssh_conn_id="{name}",
        cleanup="always",
        remote_base_dir="{base}",
        do_xcom_push=False,
    ).expand(
        command=[
            f"seq {{n}} 100 {{n}}000; sleep 30; echo 'end' {{n}}"
            for n in range({count})
        ]
    )
"""

MODULES = {
    "ours": "sshjobs.airflow",
    "theirs": "airflow.providers.ssh.operators.ssh_remote_job",
}


class Rig:
    """One Airflow, and a host for each of the two operators."""

    def __init__(self, base: Path, hosts: dict[str, Sshd]) -> None:
        self.hosts = hosts
        self.airflow = made = Airflow(base, hosts["ours"])
        made.env["AIRFLOW__CORE__PARALLELISM"] = str(SLOTS)
        made.env["AIRFLOW__CORE__PLUGINS_FOLDER"] = str(base / "plugins")
        made.env["SSHJOBS_TEST_LOOP_WATCH"] = str(base / "late")
        (base / "plugins").mkdir()
        shutil.copy(Path(__file__).with_name("loop_watch.py"), base / "plugins")
        self.late = base / "late"
        for name, sshd in hosts.items():
            far = base / f"far-{name}"
            far.mkdir()
            shutil.chown(far, sshd.user)
            made.env[f"AIRFLOW_CONN_{name.upper()}"] = connection(sshd)
            given = {"name": name, "module": MODULES[name], "count": COUNT}
            made.dag(name, FAN.format(base=far / "jobs", **given))
        made.migrate(serves=True)
        made.start()

    def run(self, name: str) -> dict[str, Any]:
        """Run one of the DAGs to its end; return what was seen meanwhile."""
        airflow, began = self.airflow, time.monotonic()
        lines, warned = self.read_late(), self.count_warnings()
        cpu = self.measure_triggerer()[0]
        airflow.trigger(name)
        most = {"running": 0, "queued": 0, "deferred": 0, "rss": 0.0}
        while not (states := self.read_ends(name)):
            held = [state for state, _ in airflow.tasks(name).values()]
            for state in ("running", "queued", "deferred"):
                most[state] = max(most[state], held.count(state))
            most["rss"] = max(most["rss"], self.measure_triggerer()[1])
            time.sleep(1)
        sshd = self.hosts[name]
        return most | {
            "states": {state: states.count(state) for state in set(states)},
            "seconds": time.monotonic() - began,
            "triggerer_cpu": self.measure_triggerer()[0] - cpu,
            "connections": sshd.connections,
            "drops": sshd.drops,
            "sessions": sshd.sessions,
            "warnings": self.count_warnings() - warned,
            "late": self.read_late()[len(lines) :],
        }

    def read_ends(self, name: str) -> list[str]:
        """Return the states of all tasks once each has ended."""
        states = [state for state, _ in self.airflow.tasks(name).values()]
        final = ("success", "failed", "skipped", "upstream_failed")
        done = len(states) == COUNT and all(state in final for state in states)
        return states if done else []

    def read_events(self, name: str, index: int) -> list[str]:
        """Return what stands in a task's log: of its triggers, then of its workers."""
        run = f"dag_id={name}/run_id={self.airflow.run_id(name)}"
        place = self.airflow.home / "logs" / run / f"task_id=job/map_index={index}"
        files = sorted(
            place.glob("*.log*"), key=lambda path: "trigger" not in path.name
        )
        lines = [line for path in files for line in path.read_text().splitlines()]
        return [json.loads(line)["event"] for line in lines if line.startswith("{")]

    def read_late(self) -> list[dict[str, Any]]:
        """Return when the loop of the triggers was late, and what it did then."""
        if not self.late.exists():
            return []
        return [json.loads(line) for line in self.late.read_text().splitlines()]

    def count_warnings(self) -> int:
        """Return how often Airflow itself found that it was blocked."""
        return self.airflow.output.read_text().count("async thread was blocked")

    def measure_triggerer(self) -> tuple[float, float]:
        """Return seconds of processor and MiB of all processes of the triggerer."""
        cpu = rss = 0.0
        ticks, page = os.sysconf("SC_CLK_TCK"), resource.getpagesize()
        for pid, _, args in tree():
            if "airflow triggerer" in args or "airflow: triggerer" in args:
                try:
                    text = Path(f"/proc/{pid}/stat").read_text()
                except OSError:
                    continue
                words = text.rpartition(")")[2].split()
                cpu += (int(words[11]) + int(words[12])) / ticks
                rss = max(rss, int(words[21]) * page / 2**20)
        return cpu, rss


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with open_folder() as one, open_folder() as two, open_folder() as base:
        with Sshd(one, login()) as ours, Sshd(two, login()) as theirs:
            made = Rig(base, {"ours": ours, "theirs": theirs})
            yield made
            made.airflow.stop()


def test_two_hundred_tasks_are_one_connection(rig: Rig) -> None:
    seen = rig.run("ours")
    late = seen.pop("late")
    mine = [one for one in late if is_ours(one)]
    print(f"ours: {seen}, late: {summarize(late)}", file=sys.stderr)
    assert seen["states"] == {"success": COUNT}
    assert (seen["connections"], seen["drops"]) == (1, 0)
    assert seen["sessions"] <= seen["seconds"] + 40
    assert seen["running"] <= SLOTS
    assert not mine
    for index in range(COUNT):
        events = rig.read_events("ours", index)
        wanted = [str(n) for n in range(index, index * 1000 + 1, 100)]
        wanted.append(f"end {index}")
        assert [one for one in events if one in set(wanted)] == wanted


def test_the_ssh_provider_beside_it(rig: Rig) -> None:
    """It asserts nothing of others: its figures stand beside ours."""
    seen = rig.run("theirs")
    late = seen.pop("late")
    print(f"theirs: {seen}, late: {summarize(late)}", file=sys.stderr)


def is_ours(late: dict[str, Any]) -> bool:
    """Tell whether code of ours held up the loop for most of a time."""
    mine = ["/sshjobs/" in " ".join(look) for look in late["looks"]]
    return sum(mine) * 2 > len(mine)


def summarize(late: list[dict[str, Any]]) -> str:
    """Say how often the loop was late, for how long, and what it did most."""
    frames: dict[str, int] = {}
    for look in (look for one in late for look in one["looks"]):
        named = [frame for frame in look if "/asyncio/" not in frame][:3]
        key = " < ".join(frame.rpartition("site-packages/")[2] for frame in named)
        frames[key] = frames.get(key, 0) + 1
    most = sorted(frames.items(), key=lambda pair: -pair[1])[:8]
    worst = max((one["seconds"] for one in late), default=0.0)
    cpu = sum(one["cpu"] for one in late)
    whole = sum(one["seconds"] for one in late)
    return f"{len(late)} times, {whole:.1f} s, worst {worst:.2f}, cpu {cpu:.1f}, {most}"
