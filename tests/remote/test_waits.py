"""What keeps a job from being handed over: a full scheduler, other jobs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sshjobs import protocol
from sshjobs.protocol import Check, Request, Start
from tests.clusters import make_tools
from tests.remote.host import Host, an_order, end_all, of

#: It takes so many jobs as ``most`` says, and then says what a real one does.
_SBATCH = """#!/bin/sh
cat >/dev/null
exec 9>{folder}/lock
flock 9
echo "$*" >>{folder}/sent
[ $(wc -l <{folder}/queue) -lt $(cat {folder}/most) ] || {
    echo "sbatch: error: $(cat {folder}/limit)" >&2
    echo 'sbatch: error: Batch job submission failed: Job violates accounting/QOS' \\
        "policy (job submit limit, user's size and/or time limits)" >&2
    exit 1
}
while [ "$1" != -J ]; do shift; done
echo "$$ $2" >>{folder}/queue
echo $$
"""

_SQUEUE = """#!/bin/sh
while read -r number name; do
    echo "$number|$name|PENDING|main||$(cat {folder}/reason)|"
done <{folder}/queue
"""

_SCANCEL = """#!/bin/sh
sed -i "/$4/d" {folder}/queue
"""


@pytest.fixture(params=["gawk", "mawk", "original-awk", "busybox"])
def login_node(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Host]:
    """A login node of each awk, with a Slurm in which nothing begins."""
    fakes = {"sbatch": _SBATCH, "squeue": _SQUEUE, "scancel": _SCANCEL}
    tools = make_tools(tmp_path, request.param, fakes)
    (tools / "queue").touch()
    (tools / "most").write_text("3")
    (tools / "reason").write_text("Priority")
    (tools / "limit").write_text("AssocMaxSubmitJobLimit")
    (tmp_path / "home").mkdir()
    host = Host(tmp_path / "home", f"{tools}:/usr/bin:/bin")
    yield host
    end_all(host)


def tools_of(host: Host) -> Path:
    """Return where the fake keeps its files."""
    return Path(host.path.partition(":")[0])


def submit(host: Host, *starts: Start) -> list[protocol.Event]:
    """Hand jobs over."""
    return host.run(Request(starts=starts, launchers=("slurm",)))


def poll(host: Host, *starts: Start) -> dict[str, str]:
    """Ask about jobs, and return the last reason of each that waits."""
    checks = tuple(Check(start.job_id, None, "") for start in starts)
    said = host.run(Request(checks=checks, launchers=("slurm",)))
    return {one.job_id: one.reason for one in of(protocol.Queued, said)}


def an_order_of(*words: str) -> Start:
    """Return a job of Slurm with such words."""
    args = tuple(word.encode() for word in words)
    return an_order(b"true", launcher="slurm", launcher_args=args)


def count_sent(host: Host) -> int:
    """Return how often sbatch was called."""
    return (tools_of(host) / "sent").read_text().count("\n")


def test_a_full_scheduler_is_told_of_each_job_that_does_not_wait(
    login_node: Host,
) -> None:
    jobs = [an_order_of() for _ in range(5)]
    said = submit(login_node, *jobs)
    refused = of(protocol.Refused, said)
    assert len(refused) == 2 and len(of(protocol.Queued, said)) >= 3
    assert all(one.code == "ELIMIT" for one in refused)
    assert all("AssocMaxSubmitJobLimit" in one.text for one in refused)
    (tools_of(login_node) / "limit").write_text("QOSMaxCpuPerUserLimit")
    [too_large] = of(protocol.Refused, submit(login_node, an_order_of("room=wait")))
    assert too_large.code == "ELAUNCH"


def test_a_job_that_waits_for_room_is_tried_again_once_a_look(login_node: Host) -> None:
    jobs = [an_order_of("room=wait") for _ in range(20)]
    assert not of(protocol.Refused, submit(login_node, *jobs))
    assert count_sent(login_node) < 20, "the rest is not tried"
    reasons = poll(login_node, *jobs)
    waiting = [one for one in reasons.values() if one.startswith("no room: ")]
    assert len(waiting) == 17 and "AssocMaxSubmitJobLimit" in waiting[0]
    queue = tools_of(login_node) / "queue"
    for room in (6, 9, 20):
        (tools_of(login_node) / "most").write_text(str(room))
        before = count_sent(login_node)
        poll(login_node, *jobs)
        assert len(queue.read_text().splitlines()) == room
        assert count_sent(login_node) <= before + (room if room == 20 else 3 + 8)
    names = [line.split()[1] for line in queue.read_text().splitlines()]
    assert sorted(names) == sorted(f"sj-{job.job_id}" for job in jobs)
    before = count_sent(login_node)
    assert set(poll(login_node, *jobs).values()) == {"Priority"}
    assert count_sent(login_node) == before


def test_who_asks_often_does_not_ask_a_full_scheduler_often(login_node: Host) -> None:
    jobs = [an_order_of("room=wait") for _ in range(4)]
    submit(login_node, *jobs)
    checks = tuple(Check(job.job_id, None, "") for job in jobs)
    request = Request(checks=checks, launchers=("slurm",), queue_age=60.0)
    counts = []
    for _ in range(4):
        login_node.run(request)
        counts.append(count_sent(login_node))
    assert counts[0] == counts[-1], counts


def test_a_job_waits_for_others_and_goes_when_it_can_never_begin(
    login_node: Host,
) -> None:
    tools = tools_of(login_node)
    (tools / "most").write_text("99")
    (tools / "reason").write_text("Dependency")
    first, other = an_order_of(), an_order(b"false")
    words = f"after={first.job_id}:ok", f"after={other.job_id}:any"
    last = an_order_of(*words)
    submit(login_node, first)
    submit(login_node, last)
    unknown = login_node.end(last.job_id)
    assert unknown.cause == "cancelled" and other.job_id in unknown.reason
    assert f"sj-{last.job_id}" not in (tools / "queue").read_text()
    login_node.run(Request(starts=(other,)))
    login_node.end(other.job_id)
    last = an_order_of(*words)
    beyond = an_order_of(f"after={last.job_id}:any", "room=wait")
    submit(login_node, last, beyond)
    numbers = {
        name[3:]: number
        for number, name in map(str.split, (tools / "queue").read_text().splitlines())
    }
    sent = (tools / "sent").read_text()
    for before in (first, last):
        assert f"--dependency=afterany:{numbers[before.job_id]}" in sent
    reasons = poll(login_node, first, last, beyond)
    assert reasons[last.job_id] == f"after {first.job_id}, {other.job_id}:any"
    assert reasons[beyond.job_id] == f"after {last.job_id}:any"
    login_node.run(Request(kills=(first.job_id,), launchers=("slurm",)))
    login_node.end(first.job_id)
    poll(login_node, last, beyond)
    end = login_node.end(last.job_id)
    assert end.cause == "cancelled" and f"job {first.job_id}" in end.reason
    assert "is CANCELLED" in end.reason
    assert f"sj-{last.job_id}" not in (tools / "queue").read_text()
    assert f"sj-{beyond.job_id}" in (tools / "queue").read_text()
