"""Jobs of a real Slurm: handed over, run once, seen, ended."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli import Cli, eventually, finish
from tests.clusters import make_folder, make_login_node, read_reason
from tests.pages import read_blocks
from tests.slurm import Cluster, need_slurm


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A Slurm that the tests of this module share."""
    need_slurm()
    with make_folder("sjslurm") as folder:
        made = Cluster(folder)
        try:
            yield made.start()
        finally:
            made.stop()


def login_node(cluster: Cluster, new_box: Callable[..., Cli], **options: Any) -> Cli:
    """Return the login node of a Slurm, where it is the launcher."""
    options["SetEnv"] = f"SLURM_CONF={cluster.conf}"
    return make_login_node(new_box, "slurm", **options)


@pytest.fixture
def box(cluster: Cluster, new_box: Callable[..., Cli]) -> Cli:
    """The login node of it, where slurm is the launcher."""
    return login_node(cluster, new_box)


def test_the_page_on_slurm(
    cluster: Cluster, new_box: Callable[..., Cli], place: Path
) -> None:
    """As printed, on a cluster that has such a partition."""
    [submit] = read_blocks("docs/how-to/slurm.md")
    [config] = read_blocks("docs/how-to/slurm.md", "toml")
    box = new_box(SetEnv=f"SLURM_CONF={cluster.conf} HOME={place}")
    assert box.sshd
    box.sshd.alias = "cluster"
    box.env["SSHJOBS_SSH_CONFIG"] = str(box.sshd.write_client_config())
    (place / "train.sh").write_text("#!/bin/sh\necho trained\n")
    (place / "train.sh").chmod(0o755)
    with open(place / "config.toml", "w") as file:
        file.write(config)
    for env in ({}, {"SSHJOBS_CONFIG": f"{place}/config.toml"}):
        box.env |= env
        words = shlex.split(submit)[1:]
        if env:
            words = [*words[:2], *words[-2:]]
        job_id = box(*words).id
        assert box("wait", job_id).status == 0
        number = box.job(job_id)["handle"].split(":")[1]
        assert "Partition=gpu" in cluster.run("scontrol", "show", "job", number)
        assert "trained\n" in box.ok("logs", job_id).out
    box.ok("reap")


def test_a_job_runs_on_a_node_and_comes_home(box: Cli) -> None:
    job_id = box.submit("--", 'echo "$SLURM_JOB_NAME"; hostname; exit 3')
    assert box("wait", job_id).status == 1
    job = box.job(job_id)
    assert (job["state"], job["exit_status"]) == ("FAILED", 3), job
    assert box.ok("logs", job_id).lines == [f"sj-{job_id}", job["node"]]
    launcher, number, partition = job["handle"].split(":")
    assert (launcher, partition) == ("slurm", "main")
    for word in (f"sj-{job_id}", f"slurm:{number}"):
        assert box.job(word)["id"] == job_id
    box.ok("reap")


def test_signals_streams_input_and_environment_are_as_with_process(box: Cli) -> None:
    (box.home.parent / "in").write_bytes(b"a\0b\xff")
    words = ("--env", "COLOR=blue", "--cwd", "/tmp", "--stdin", box.home.parent / "in")
    first = box.submit(*words, "--", "cat; pwd; echo $COLOR >&2; set | grep ^sj_; :")
    signalled = box.submit("--", "kill -9 $$")
    vector = box.submit("--", "printf", "%s|", "a b", "*", "'")
    missing = box.submit("--cwd", "/nowhere", "--", "true")
    box("wait")
    assert box.ok("logs", first).raw == b"a\0b\xff/tmp\nblue\n"
    assert box.job(signalled)["signal"] == 9
    assert box.ok("logs", vector).raw == b"a b|*|'|"
    assert "no such directory" in box.job(missing)["reason"]


@pytest.mark.slow
def test_a_batch_of_200_is_a_handful_of_sessions_and_each_runs_once(box: Cli) -> None:
    ran = box.base.parent / "ran"
    lines = "".join(f"echo {n} >>{ran}-{n}\n" for n in range(200))
    ids = box.ok("submit", box.host, "--from", "-", stdin=lines.encode()).lines
    assert len(set(ids)) == 200
    assert box.sshd is not None and box.sshd.sessions <= 5
    ended = box("wait", *ids)
    assert ended.status == 0, [one for one in ended.lines if "COMPLETED" not in one]
    counts = [Path(f"{ran}-{n}").read_text() for n in range(200)]
    assert counts == [f"{n}\n" for n in range(200)]
    assert box.sshd is not None and box.sshd.connections == 1


def test_why_a_job_waits_is_said(box: Cli, cluster: Cluster) -> None:
    held = box.submit("--launcher-args", "-H -p small", "--", "echo held")
    huge = box.submit("--launcher-args", "-p small -c 64", "--", "sleep 100")
    eventually(lambda: "RUNNING" in read_reason(box, huge), "the partition is full")
    waits = box.submit("--launcher-args", "-p small -c 64", "--", "echo after")
    eventually(lambda: "JobHeldUser" in read_reason(box, held), "held")
    eventually(lambda: "Resources" in read_reason(box, waits), "no room")
    job = box.job(held)
    assert job["handle"].split(":")[2] == "small"
    cluster.run("scontrol", "release", job["handle"].split(":")[1])
    box.ok("kill", huge)
    box("wait", held, waits)
    assert box.ok("logs", held).raw == b"held\n"
    assert box.ok("logs", waits).raw == b"after\n"


def test_what_sbatch_refuses_is_said_and_nothing_stays(box: Cli) -> None:
    ended = box("submit", box.host, "--launcher-args", "-p nowhere", "--", "true")
    assert ended.status == 69, ended
    assert "artition" in ended.err
    assert not list(box.base.glob("jobs/*"))
    refused = box("submit", box.host, "--launcher-args", "--array=1-9", "--", "true")
    assert refused.status == 64 and "--from" in refused.err


def test_a_job_is_ended_by_its_limit_by_kill_and_by_scancel(
    box: Cli, cluster: Cluster
) -> None:
    late = box.submit("--timeout", "1", "--", "echo on; sleep 100")
    killed = box.submit("--", "trap '' TERM; echo on; while :; do sleep 1; done")
    stopped = box.submit("--", "echo on; sleep 100")
    for job_id in (killed, stopped):
        eventually(lambda: "RUNNING" in read_reason(box, job_id), "it runs")
        eventually(lambda: box("logs", job_id).raw == b"on\n", "it is at work")
    cluster.run("scancel", box.job(stopped)["handle"].split(":")[1])
    box.env["SSHJOBS_KILL_GRACE"] = "1"
    box.ok("kill", killed)
    box("wait", late, stopped)
    ends = {box.job(one)["state"]: box.job(one) for one in (late, killed, stopped)}
    assert ends["TIMEOUT"]["id"] == late
    assert box.job(killed)["state"] == box.job(stopped)["state"] == "CANCELLED"
    assert "scancel" in box.job(stopped)["reason"]
    eventually(lambda: cluster.run("squeue", "-h") == "", "nothing is left there")


def test_a_waiting_job_is_ended_by_kill_and_by_scancel(
    box: Cli, cluster: Cluster
) -> None:
    killed = box.submit("--launcher-args", "-H", "--", "true")
    stopped = box.submit("--launcher-args", "-H", "--", "true")
    eventually(lambda: "JobHeld" in read_reason(box, stopped), "held")
    box.ok("kill", killed)
    assert box.job(killed)["state"] == "CANCELLED"
    cluster.run("scancel", "-n", f"sj-{stopped}")
    eventually(lambda: "CANCELLED" in read_reason(box, stopped), "cancelled there")
    assert "slurm: " in box.job(stopped)["reason"]


@pytest.mark.slow
def test_a_controller_that_is_away_ends_nothing(box: Cli, cluster: Cluster) -> None:
    runs = box.submit("--", "sleep 3; echo over")
    eventually(lambda: "RUNNING" in read_reason(box, runs), "it runs")
    cluster.kill_controller()
    try:
        waits = box.submit("--", "echo later")
        assert "does not answer" in read_reason(box, waits)
        assert box.job(waits)["state"] == "PENDING"
        eventually(
            lambda: "COMPLETED" in read_reason(box, runs), "its record is enough"
        )
    finally:
        cluster.start_controller()
        cluster.wait_until_idle()
    assert box("wait", waits).status == 0
    assert box.ok("logs", waits).raw == b"later\n"


def runner_of(box: Cli, job_id: str) -> int:
    """Return the process that holds a job's claim."""
    lines = (box.directory(job_id) / "run").read_text().splitlines()
    return int(next(line[4:] for line in lines if line.startswith("pid=")))


@pytest.mark.slow
def test_a_killed_runner_is_lost_after_the_grace(box: Cli) -> None:
    box.env["SSHJOBS_VANISH_GRACE"] = "3"
    lost = box.submit("--launcher-args", "-w n2", "--", "sleep 1000")
    eventually(lambda: "RUNNING" in read_reason(box, lost), "it runs")
    eventually(lambda: "started_at=" in (box.directory(lost) / "run").read_text())
    for line in Path(f"/proc/{runner_of(box, lost)}/status").read_text().splitlines():
        if line.startswith("PPid:"):
            os.kill(int(line.split()[1]), signal.SIGKILL)
    os.kill(runner_of(box, lost), signal.SIGKILL)
    eventually(lambda: "LOST" in read_reason(box, lost), "lost after the grace")
    assert "no record of its end" in box.job(lost)["reason"]


def test_a_requeued_job_does_not_run_twice(box: Cli, cluster: Cluster) -> None:
    """A site may put a job back whatever the job says (a crash of its controller)."""
    box.env["SSHJOBS_VANISH_GRACE"] = "3"
    ran = box.base.parent / "ran"
    job_id = box.submit("--launcher-args", "-w n3", "--", f"echo x >>{ran}; sleep 1000")
    eventually(ran.exists, "it runs")
    number = box.job(job_id)["handle"].split(":")[1]
    cluster.run("scontrol", "update", f"jobid={number}", "requeue=1")
    cluster.run("scontrol", "requeue", number)
    eventually(lambda: "RUNNING" not in read_reason(box, job_id), "it ended")
    assert box.job(job_id)["state"] in ("CANCELLED", "LOST"), box.job(job_id)
    cluster.run("scancel", number)
    assert ran.read_text() == "x\n"


def test_doctor_tells_of_slurm(box: Cli) -> None:
    said = box("doctor", box.host)
    assert "jobs are handed to slurm" in said.out, said
    assert "partition main* up" in said.out and "no accounting" in said.out


@pytest.mark.slow
def test_200_submits_at_once_are_one_connection(box: Cli) -> None:
    ran = box.base.parent / "ran"
    crowd = [
        box.start("submit", box.host, "--", f"echo {n} >>{ran}-{n}") for n in range(200)
    ]
    ids = [ended.id for ended in finish(crowd)]
    assert box.sshd is not None and box.sshd.sessions <= 20
    ended = box("wait", *ids)
    assert ended.status == 0, [one for one in ended.lines if "COMPLETED" not in one]
    counts = [Path(f"{ran}-{n}").read_text() for n in range(200)]
    assert counts == [f"{n}\n" for n in range(200)]
    assert box.sshd.connections == 1


def count_questions(cluster: Cluster) -> int:
    """Return how often the controller was asked for jobs, by anybody."""
    said = cluster.run("sdiag")
    found = re.findall(r"REQUEST_JOB_\w*INFO\w* .*count:(\d+)", said)
    return sum(map(int, found))


@pytest.mark.slow
def test_the_queue_is_asked_once_an_interval_however_many_wait(
    box: Cli, cluster: Cluster
) -> None:
    box.env["SSHJOBS_POLL_INTERVAL"] = "2"
    text = b"true\n" * 300
    words = ("submit", box.host, "--launcher-args", "-H", "--from", "-")
    assert len(box.ok(*words, stdin=text).lines) == 300
    began, before = time.monotonic(), count_questions(cluster)
    crowd = [box.start("wait", "--timeout", "12") for _ in range(20)]
    assert {ended.status for ended in finish(crowd)} == {75}
    asked = count_questions(cluster) - before
    assert 1 < asked <= (time.monotonic() - began) / 2 + 2
    cluster.run("scancel", "-u", box.sshd.user if box.sshd else "")


def test_what_one_machine_submitted_another_sees_and_ends(
    box: Cli, place: Path
) -> None:
    other = box.twin(place / "other")
    other.env |= {
        name: box.env[name] for name in box.env if name.startswith("SSHJOBS_P")
    }
    job_id = box.submit("--key", "shared", "--", "echo mine; sleep 1000")
    again = other.ok(
        "submit", box.host, "--launcher", "slurm", "--key", "shared", "--", "x"
    )
    assert again.id == job_id
    eventually(lambda: "RUNNING" in read_reason(other, job_id), "it runs")
    eventually(lambda: other("logs", job_id).raw == b"mine\n", "its log")
    other.ok("kill", job_id)
    assert other.job(job_id)["state"] == "CANCELLED"
    assert box("wait", job_id).status == 1 and box.job(job_id)["state"] == "CANCELLED"
    other.close()


def test_another_machine_adopts_what_is_there_and_sees_to_it_by_id_and_key(
    box: Cli, cluster: Cluster, place: Path
) -> None:
    other = box.twin(place / "other")
    other.env |= {n: box.env[n] for n in box.env if n.startswith("SSHJOBS_P")}
    other.env["SSHJOBS_LAUNCHER"] = "process"  # it knows of no scheduler there
    done = box.submit("--key", "load", "--", "echo done; exit 3")
    assert box("wait", done).status == 1
    runs = box.submit("--name", "train", "--", "echo on; sleep 1000")
    held = box.submit("--launcher-args", "-H -p small", "--", "true")
    eventually(lambda: read_reason(box, runs) == "RUNNING ", "it runs")
    assert other("poll", "--host", other.host, "--adopt").status in (0, 1)
    assert read_reason(other, held) == "PENDING JobHeldUser"
    for name in ("state", "node", "handle", "name"):
        for job_id in (runs, held):
            assert other.job(job_id)[name] == box.job(job_id)[name], (job_id, name)
    assert other.job(f"sj-{runs}")["id"] == runs
    assert other.job("key:load")["exit_status"] == 3
    assert other.ok("logs", "key:load").raw == b"done\n"
    eventually(lambda: other("logs", "train").raw == b"on\n", "its log")
    after = other.submit("--launcher", "slurm", "--after", runs, "--", "true")
    assert read_reason(other, after) == f"PENDING after {runs}"
    other.ok("kill", "--yes", runs, held)
    other("wait", after)
    assert f"job {runs}" in other.job(after)["reason"]
    assert other.job(after)["state"] == "CANCELLED"
    other.ok("reap", "key:load", runs)
    assert not box.directory(done).exists() and not box.directory(runs).exists()
    box("wait", runs, held)
    assert {box.job(job_id)["state"] for job_id in (runs, held)} == {"CANCELLED"}
    assert box.job(done)["state"] == "FAILED"
    eventually(lambda: cluster.run("squeue", "-h") == "", "nothing is left there")
    other.close()


@pytest.mark.slow
def test_a_limit_of_slurm_and_a_dead_node_are_said_as_what_they_are(
    box: Cli, cluster: Cluster
) -> None:
    late = box.submit("--launcher-args", "-w n2 --time=1", "--", "sleep 1000")
    alone = box.submit("--launcher-args", "-w n1", "--", "echo on; sleep 50; echo over")
    eventually(lambda: "RUNNING" in read_reason(box, alone), "it runs")
    cluster.signal("n1", signal.SIGKILL)
    eventually(lambda: "NODE_FAIL" in read_reason(box, alone), "its node is gone")
    assert box.job(alone)["state"] == "RUNNING"  # which is no evidence of an end
    eventually(lambda: "COMPLETED" in read_reason(box, alone), "its runner lived on")
    assert box.ok("logs", alone).raw == b"on\nover\n"
    box("wait", late)
    assert box.job(late)["state"] == "TIMEOUT", box.job(late)
    (cluster.folder / "n1.pid").unlink()
    cluster.start_node("n1")
    cluster.wait_until_idle()


@pytest.mark.slow
def test_a_job_over_its_memory_has_failed_and_says_so(
    place: Path, new_box: Callable[..., Cli]
) -> None:
    """Its own shell goes on after the kernel has ended a process of it, and exits 0."""
    need_slurm()
    if not Path("/sys/fs/cgroup/memory/memory.limit_in_bytes").exists():
        pytest.skip("no cgroups of version 1 here that limit memory")
    folder = place / "slurm"
    folder.mkdir(mode=0o755)
    cluster = Cluster(folder, cgroups=True)
    try:
        box = login_node(cluster.start(), new_box)
        words = ("--launcher-args", "--mem=30M", "--")
        greedy = "awk 'BEGIN { s = \"x\"; while (1) s = s s }'; echo on; exit 0"
        job_id = box.submit(*words, greedy)
        assert box("wait", job_id).status == 1
        job = box.job(job_id)
        assert job["state"] == "FAILED" and "out of memory" in job["reason"], job
        left = box.submit(*words, "setsid sleep 1000 & echo on")
        assert box("wait", left).status == 0
        eventually(lambda: cluster.run("squeue", "-h") == "", "it leaves the node")
    finally:
        cluster.stop()


def test_what_a_site_prints_beside_the_number_is_no_number(
    place: Path, cluster: Cluster, new_box: Callable[..., Cli]
) -> None:
    """And an answer without a number is no refusal: the job is looked for."""
    noisy = place / "noisy"
    shutil.copy("/usr/bin/sbatch", place / "sbatch")
    noisy.write_text(
        "#!/bin/sh\necho 'Account x has 120 hours left'\n"
        f'n=$({place}/sbatch "$@")\n'
        f"[ -e {place}/mute ] && echo 7 && exit 1\n"
        'echo "$n"\n'
    )
    noisy.chmod(0o755)
    enter = f'mount --bind {noisy} /usr/bin/sbatch && exec "$@"'
    made = login_node(
        cluster, new_box, prefix=["unshare", "-m", "sh", "-c", enter, "sh"]
    )
    job_id = made.submit("--", "true")
    number = made.job(job_id)["handle"].split(":")[1]
    assert f"{number} sj-{job_id}" in cluster.run("squeue", "-t", "all", "-o", "%i %j")
    (place / "mute").touch()
    mute = made.submit("--", "echo on")
    assert made("wait", job_id, mute).status == 0
    assert made.ok("logs", mute).raw == b"on\n"


def test_what_was_handed_over_three_times_runs_once(box: Cli, cluster: Cluster) -> None:
    """As by an sbatch whose answers were lost; all three are there at one time."""
    ran = box.base.parent / "ran"
    job_id = box.submit("--launcher-args", "-H", "--", f"echo x >>{ran}; sleep 1")
    number = box.job(job_id)["handle"].split(":")[1]
    script = cluster.run("scontrol", "write", "batch_script", number, "-")
    for _ in range(2):
        subprocess.run(
            ["sbatch", "-J", f"sj-{job_id}", "-o", "/dev/null"],
            input=script.encode(),
            cwd=box.base,
            env=cluster.env,
            user=box.sshd.user if box.sshd else None,
            check=True,
            capture_output=True,
        )
    cluster.run("scontrol", "release", number)
    assert box("wait", job_id).status == 0
    eventually(lambda: cluster.run("squeue", "-h") == "", "all three are over")
    assert ran.read_text() == "x\n"
