"""One job after another on a real Slurm, which holds it back with no client alive."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli import Cli, eventually
from tests.clusters import make_folder, read_reason
from tests.slurm import Cluster, need_slurm
from tests.test_slurm import login_node


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A Slurm that forgets within seconds, and that the tests of this module share."""
    need_slurm()
    with make_folder("sjafter") as folder:
        made = Cluster(folder)
        made.conf.write_text(made.conf.read_text() + "MinJobAge=2\n")
        try:
            yield made.start()
        finally:
            made.stop()


@pytest.fixture
def box(cluster: Cluster, new_box: Callable[..., Cli]) -> Cli:
    """The login node of it, where slurm is the launcher."""
    return login_node(cluster, new_box)


def has_end(box: Cli, job_id: str) -> bool:
    """Tell whether the end of a job is on record on the host; no client is asked."""
    return (box.directory(job_id) / "exit").exists()


def test_a_batch_goes_on_by_itself_in_its_order(box: Cli) -> None:
    notes = box.base.parent / "notes"
    lines = [
        {"name": "load", "command": f"sleep 2; echo load >>{notes}"},
        {"name": "bad", "command": "sleep 1; exit 3"},
        {"name": "train", "command": f"echo train >>{notes}", "after": "load"},
        {"name": "never", "command": f"echo never >>{notes}", "after": "bad"},
        {"name": "beyond", "command": f"echo beyond >>{notes}", "after": "never"},
        {"command": f"echo report >>{notes}", "after": ["never:any", "train"]},
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines).encode()
    ids = box.ok("submit", box.host, "--from", "-", stdin=text).lines
    assert read_reason(box, ids[2]) == f"PENDING after {ids[0]}"
    box.close()
    eventually(lambda: all(has_end(box, job_id) for job_id in ids), "all end")
    assert notes.read_text().split() == ["load", "train", "report"]
    assert box("wait").status == 1
    states = [box.job(job_id)["state"] for job_id in ids]
    assert states == ["COMPLETED", "FAILED", "COMPLETED"] + ["CANCELLED"] * 2 + [
        "COMPLETED"
    ]
    for job_id, first, word in ((ids[3], ids[1], "FAILED"), (ids[4], ids[3], "CANC")):
        reason = box.job(job_id)["reason"]
        assert f"job {first}" in reason and word in reason, reason
    box.ok("reap")


def test_one_that_can_never_begin_leaves_the_queue_at_the_next_look(
    box: Cli, cluster: Cluster
) -> None:
    """It waits for room as well, so that no runner of it can say so."""
    held = box.submit("--launcher-args", "-H", "--", "true")
    never = box.submit("--after", held, "--launcher-args", "-H", "--", "true")
    beyond = box.submit("--after", never, "--", "true")
    assert read_reason(box, beyond) == f"PENDING after {never}"
    box.ok("kill", held)
    eventually(lambda: "CANCELLED" in read_reason(box, beyond), "the last ends")
    assert box.job(never)["state"] == "CANCELLED"
    assert f"job {held}" in box.job(never)["reason"]
    eventually(lambda: cluster.run("squeue", "-h") == "", "none is left there")


@pytest.mark.slow
def test_what_slurm_and_the_record_have_forgotten_counts_as_it_ended(
    box: Cli, cluster: Cluster
) -> None:
    """Of a job that it has forgotten Slurm says that it ended well."""
    good, bad = box.submit("--", "true"), box.submit("--", "false")
    box("wait", good, bad)
    numbers = [box.job(job_id)["handle"].split(":")[1] for job_id in (good, bad)]
    eventually(
        lambda: "Invalid" in cluster.run("scontrol", "show", "job", numbers[1]),
        "Slurm has forgotten it",
    )
    ran = box.base.parent / "ran"
    first = box.submit("--after", good, "--after", f"{bad}:any", "--", "true")
    never = box.submit("--after", bad, "--", f"echo x >{ran}")
    box.ok("reap", bad)
    reaped = box.submit("--after", bad, "--", f"echo x >{ran}")
    box("wait", first, never, reaped)
    assert box.job(first)["state"] == "COMPLETED"
    for job_id in (never, reaped):
        assert box.job(job_id)["state"] == "CANCELLED"
        assert f"job {bad}" in box.job(job_id)["reason"]
    assert not ran.exists()


@pytest.mark.slow
def test_a_job_of_the_login_node_and_one_without_a_number_are_waited_for(
    box: Cli, cluster: Cluster
) -> None:
    here = box.submit("--launcher", "process", "--", "sleep 2")
    after = box.submit("--after", here, "--", "true")
    assert read_reason(box, after) == f"PENDING after {here}"
    cluster.signal("slurmctld", signal.SIGSTOP)
    try:
        unsent = box.submit("--", "sleep 1")
        last = box.submit("--after", unsent, "--", "true")
        assert "does not answer" in box.job(last)["reason"]
        assert "sent_at=" not in (box.directory(last) / "handle").read_text()
    finally:
        cluster.signal("slurmctld", signal.SIGCONT)
    assert box("wait", after, last).status == 0


@pytest.mark.slow
def test_one_handed_over_twice_keeps_the_next_waiting(
    box: Cli, cluster: Cluster
) -> None:
    """The number that Slurm knows of the first may be that of the one that left."""
    assert box.sshd
    ran = box.base.parent / "ran"
    first = box.submit("--launcher-args", "-H", "--", f"sleep 4; echo first >>{ran}")
    number = box.job(first)["handle"].split(":")[1]
    handle = box.directory(first) / "handle"
    script = cluster.run("scontrol", "write", "batch_script", number, "-")
    (box.base.parent / "script").write_text(script)
    twin = cluster.run(
        *("sbatch", "--parsable", "-J", f"sj-{first}", f"--uid={box.sshd.user}"),
        *("-o", "/dev/null", "-D", str(box.base), str(box.base.parent / "script")),
    ).strip()
    eventually(lambda: (box.directory(first) / "run").exists(), f"{twin} runs")
    lines = [line for line in handle.read_text().splitlines() if "handle=" not in line]
    handle.write_text("\n".join([*lines, f"handle={number}", ""]))
    last = box.submit("--after", first, "--", f"echo last >>{ran}")
    cluster.run("scontrol", "release", number)
    assert box("wait", first, last).status == 0
    assert ran.read_text() == "first\nlast\n"


def test_with_wait_room_a_batch_goes_through_a_queue_that_takes_two(
    place: Path, cluster: Cluster, new_box: Callable[..., Cli]
) -> None:
    """Its sbatch says what one says where an association has MaxSubmitJobs=2."""
    narrow = place / "narrow"
    shutil.copy("/usr/bin/sbatch", place / "sbatch")
    narrow.write_text(
        f"#!/bin/sh\nexec 9>>{place}/lock\nflock 9\n"
        '[ "$(squeue -h --me | wc -l)" -lt 2 ] || {\n'
        "echo 'sbatch: error: AssocMaxSubmitJobLimit' >&2\n"
        "echo 'sbatch: error: Batch job submission failed: Job violates' \\\n"
        "    'accounting/QOS policy (job submit limit, user and size limits)' >&2\n"
        f'exit 1\n}}\n{place}/sbatch "$@"\n'
    )
    narrow.chmod(0o755)
    (place / "lock").touch()
    (place / "lock").chmod(0o666)
    enter = f'mount --bind {narrow} /usr/bin/sbatch && exec "$@"'
    prefix = ["unshare", "-m", "sh", "-c", enter, "sh"]
    box = login_node(cluster, new_box, prefix=prefix)
    words = ("submit", box.host, "--from", "-")
    lines = b"sleep 1\n" * 5
    full = box(*words, stdin=lines)
    assert full.lines.count("-") == 3 and "--wait-room" in full.err, full
    assert box("wait").status == 0
    ids = box.ok(*words, "--wait-room", stdin=lines).lines
    reasons = [box.job(job_id)["reason"] for job_id in ids]
    assert sum("AssocMaxSubmitJobLimit" in reason for reason in reasons) == 3
    killed = next(one for one in ids if "no room" in box.job(one)["reason"])
    box.ok("kill", killed)
    ids.remove(killed)
    assert box("wait", *ids).status == 0
    assert box.job(killed)["state"] == "CANCELLED"
    refused = box(
        *("submit", box.host, "--launcher", "process", "--wait-room", "--", "true")
    )
    assert refused.status == 64 and "--at-most" in refused.err


def test_what_goes_with_after_and_what_does_not(box: Cli, place: Path) -> None:
    first = box.submit("--launcher-args", "-H", "--", "true")
    for words, said in (
        (("--launcher-args", "-d singleton"), "does not go with --after"),
        (("--launcher-args", "--dep=singleton"), "does not go with --after"),
        (("--group", "io"), "queue of its own"),
    ):
        refused = box("submit", box.host, "--after", first, *words, "--", "true")
        assert refused.status == 64 and said in refused.err, refused
    box.ok("kill", first)
