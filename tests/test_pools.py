"""Pools: jobs are placed once, on hosts that answer, and never run twice."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

import sshjobs
from sshjobs.errors import SpecError
from sshjobs.model import Spec
from sshjobs.store import Store
from sshjobs.verbs.context import Context
from sshjobs.verbs.pool_hosts import PoolHosts
from sshjobs.verbs.pools import submit_jobs_to_pool
from sshjobs.verbs.submit import JobRequest
from tests.cli import enter_environment, eventually, finish
from tests.pages import read_blocks
from tests.pool_rig import PoolRig
from tests.sshd import Sshd


@pytest.fixture
def new_pool(
    new_sshd: Callable[..., Sshd], place: Path
) -> Iterator[Callable[..., PoolRig]]:
    """Makes a pool of so many servers."""
    made: list[PoolRig] = []

    def make(count: int, prefix: str = "n") -> PoolRig:
        made.append(PoolRig(place, [new_sshd() for _ in range(count)], prefix))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def two(new_pool: Callable[..., PoolRig]) -> PoolRig:
    return new_pool(2)


def test_jobs_of_a_batch_are_shared_out_and_placed_in_one_go(two: PoolRig) -> None:
    lines = b"sleep 60\n" * 5 + b'{"command": ["true"], "env": {"A": "b"}}\n'
    done = two.cli.ok("submit", "pool:p", "--from", "-", stdin=lines)
    assert len(set(done.lines)) == 6 and done.said == ["sshjobs: 6 started"]
    assert two.where() == {"n1": 3, "n2": 3}
    assert [two.count_runs(name) for name in two.names] == [3, 3]
    assert [sshd.connections for sshd in two.sshds.values()] == [1, 1]
    assert len(two.cli.ok("status", "pool:p", "-q").lines) == 6
    two.cli.ok("kill", "--host", "pool:p", "--yes")
    assert {job["state"] for job in two.cli.ok("list", "--json").objects} <= {
        "CANCELLED",
        "COMPLETED",
    }


def test_the_host_with_fewer_jobs_is_taken(two: PoolRig) -> None:
    for _ in range(3):
        two.cli.ok("submit", "n1", "--", "sleep 60")
    for number in range(3):
        two.cli.ok("submit", "pool:p", "--name", f"x{number}", "--", "sleep 60")
    assert two.where("x*") == {"n2": 3}
    shown = two.cli.ok("show", "x0").out
    assert "pool         pool:p" in shown and "host         n2" in shown
    (one,) = two.cli.ok("run", "pool:p", "--", "echo here").lines
    assert one == "here"


def test_submits_at_one_instant_are_shared_out(two: PoolRig) -> None:
    words = ("submit", "pool:p", "--", "sleep 60")
    ends = finish([two.cli.start(*words) for _ in range(8)])
    assert [end.status for end in ends] == [0] * 8, ends
    assert two.where() == {"n1": 4, "n2": 4}
    assert [sshd.connections for sshd in two.sshds.values()] == [1, 1]


def test_a_dead_host_is_passed_over_and_its_jobs_move(two: PoolRig) -> None:
    two.sshds["n1"].stop()
    done = two.cli.ok("submit", "pool:p", "--from", "-", stdin=b"true\n" * 6)
    assert len(done.lines) == 6
    assert "Connection refused" in done.err
    assert "its 3 jobs go to another host of pool:p" in done.err
    assert two.where() == {"n2": 6}
    again = two.cli.ok("submit", "pool:p", "--", "true")
    assert again.said == [], "n1 has failed, and is not tried"
    two.cli.ok("wait", "--host", "pool:p")
    assert two.count_runs("n2") == 7


def test_a_job_that_moves_has_its_command_with_it(two: PoolRig, place: Path) -> None:
    """Of a run, whose job has the same id on each host."""
    two.sshds["n1"].stop()
    line = f"cat > {shlex.quote(str(place / 'told'))}"
    done = two.cli.ok("run", "pool:p", "--notify", line, "--", "echo here")
    assert done.out == "here\n" and "its job goes to another host" in done.err
    eventually(lambda: (place / "told").exists() and (place / "told").read_text())
    assert '"host":"n2"' in (place / "told").read_text().replace(" ", "")


@pytest.mark.parametrize(
    ("callers", "each"), [(2, 6), pytest.param(10, 50, marks=pytest.mark.slow)]
)
def test_five_hosts_of_which_one_is_dead_and_one_throttled(
    new_pool: Callable[..., PoolRig], callers: int, each: int
) -> None:
    """Each job runs once, over one connection to each host that is there."""
    five = new_pool(5)
    five.sshds["n1"].stop()
    five.sshds["n2"].restart(MaxStartups="1:100:1", LoginGraceTime="20")
    lines = b"echo once\n" * each
    with socket.create_connection(("127.0.0.1", five.sshds["n2"].port)):
        five.sshds["n2"].wait_for("Connection from ")  # no other is let in beside it
        words = ("submit", "pool:p", "--from", "-")
        calls = [five.cli.start(*words, stdin=subprocess.PIPE) for _ in range(callers)]
        for call in calls:
            assert call.stdin is not None
            call.stdin.write(lines)
            call.stdin.close()
            call.stdin = None
        ends = finish(calls)
    assert [end.status for end in ends] == [0] * callers, ends
    assert len({line for end in ends for line in end.lines}) == callers * each
    assert "n2" not in five.where(), "it takes no handshake yet"
    # Once it does, and has been left alone for long enough, it has jobs like others.
    five.cli.ok("connect", "n2")
    five.cli.ok("submit", *words[1:], stdin=b"echo once\n" * 10)
    assert five.where()["n2"] > 1
    five.cli.ok("wait", "--host", "pool:p", "--allow-empty")
    jobs = five.cli.ok("list", "--json").objects
    assert len(jobs) == callers * each + 10
    assert {job["state"] for job in jobs} == {"COMPLETED"}
    assert sum(five.count_runs(name) for name in five.names) == len(jobs)
    logins = [sshd.logins for sshd in five.sshds.values()]
    assert logins == [0, 1, 1, 1, 1]


def test_a_pool_of_dead_hosts_runs_nothing(two: PoolRig) -> None:
    for sshd in two.sshds.values():
        sshd.stop()
    done = two.cli("submit", "pool:p", "--wait-host", "1", "--", "true")
    assert (done.status, done.out) == (69, ""), done
    assert "pool:p: none of its hosts takes a job: n" in done.err
    assert done.err.count("Connection refused") >= 2
    assert two.cli.ok("list", "--json").objects == []
    run = two.cli("run", "pool:p", "--wait-host", "1", "--", "true")
    assert run.status == 69


def test_a_key_finds_its_job_where_it_was_placed(two: PoolRig) -> None:
    words = ("submit", "pool:p", "--key", "night", "--")
    first = two.cli.ok(*words, "sleep 60").id
    (name,) = two.where()
    for _ in range(2):
        assert two.cli.ok(*words, "sleep 60").id == first
    differs = two.cli.ok(*words, "sleep 61")
    assert differs.id == first and "holds it, with another command" in differs.err
    two.sshds[name].close()
    down = two.cli("submit", "--wait-host", "1", *words[1:], "sleep 60")
    assert (down.status, down.out) == (69, ""), down
    assert f"key night was placed on {name}, and runs on no other host" in down.err
    assert sum(two.count_runs(each) for each in two.names) == 1
    two.sshds[name].start()
    assert two.cli.ok("submit", "--wait-host", "60", *words[1:], "sleep 60").id == first


def test_a_key_stays_on_a_host_that_has_left_the_pool(two: PoolRig) -> None:
    words = ("submit", "pool:p", "--key", "night", "--", "sleep 60")
    first = two.cli.ok(*words).id
    (name,) = two.where()
    two.write_config(p=[each for each in two.names if each != name])
    assert two.cli.ok(*words).id == first
    two.cli.ok("kill", first)
    second = two.cli.ok(*words).id
    assert second != first
    assert sorted(two.where().values()) == [1, 1], "it has ended, and n2 is the pool"


def test_a_key_that_several_submit_at_once_runs_once(two: PoolRig) -> None:
    words = ("submit", "pool:p", "--key", "one", "--", "sleep 60")
    ends = finish([two.cli.start(*words) for _ in range(6)])
    assert len({end.id for end in ends}) == 1
    assert sum(two.count_runs(name) for name in two.names) == 1
    lines = b'{"command": "sleep 60", "key": "two"}\n' * 3
    done = two.cli.ok("submit", "pool:p", "--from", "-", stdin=lines)
    assert len(set(done.lines)) == 1


def test_a_submit_that_is_killed_leaves_its_placement(two: PoolRig) -> None:
    """Its job starts on the host that the record names, and on no other."""
    for sshd in two.sshds.values():
        os.kill(sshd._process.pid, signal.SIGSTOP)  # type: ignore[union-attr]
    words = ("submit", "pool:p", "--key", "k", "--", "sleep 60")
    first = two.cli.start(*words)
    eventually(lambda: two.cli("list", "-q").lines)
    first.kill()
    finish([first])
    (before,) = two.cli.ok("list", "--json").objects
    for sshd in two.sshds.values():
        os.kill(sshd._process.pid, signal.SIGCONT)  # type: ignore[union-attr]
    two.cli.ok("submit", "--wait-host", "60", *words[1:])
    jobs = two.cli.ok("list", "--json").objects
    assert {job["host"] for job in jobs} == {before["host"]}
    assert sum(two.count_runs(name) for name in two.names) == 1


def test_an_interrupt_before_a_second_choice_tells_of_the_first(
    two: PoolRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in two.cli.env.items():
        monkeypatch.setenv(name, value)
    two.sshds["n1"].stop()
    deal_sites, calls = PoolHosts.deal_sites, [0]

    def deal_once(hosts: PoolHosts, count: int) -> Iterator[str]:
        calls.append(count)
        if len(calls) > 2:
            raise KeyboardInterrupt
        return deal_sites(hosts, count)

    monkeypatch.setattr(PoolHosts, "deal_sites", deal_once)
    with closing(Context()) as ctx:
        with pytest.raises(KeyboardInterrupt):
            submit_jobs_to_pool(ctx, "pool:p", [JobRequest(Spec(b"sleep 60"))] * 2)
        assert two.cli.ok("list", "-q").lines == ctx.sent_ids
    assert two.where() == {"n2": 1}


def test_a_host_with_a_larger_limit_has_more_jobs(two: PoolRig) -> None:
    text = two.config.read_text()
    for name, limit in (("n1", 1), ("n2", 3)):
        table = f'[host."{name}"]\n'
        text = text.replace(table, f"{table}max_running = {limit}\n")
    two.config.write_text(text)
    two.cli.ok("submit", "pool:p", "--from", "-", stdin=b"sleep 60\n" * 4)
    assert two.where() == {"n1": 1, "n2": 3}
    jobs = two.cli.ok("poll", "--json").objects
    assert [job["state"] for job in jobs] == ["RUNNING"] * 4


def test_each_host_has_its_own_settings(two: PoolRig) -> None:
    text = two.config.read_text().replace('"n2"]\n', '"n2"]\ncleanup = "always"\n', 1)
    two.config.write_text(text)
    two.cli.ok("submit", "pool:p", "--from", "-", stdin=b"true\ntrue\n")
    rows = [two.cli.job(i) for i in two.cli.ok("list", "-q").lines]
    assert {row["host"]: row["cleanup"] for row in rows} == {
        "n1": "never",
        "n2": "always",
    }


def test_how_to_use_a_pool(new_pool: Callable[..., PoolRig], place: Path) -> None:
    """As printed."""
    two = new_pool(2, "gpu")
    two.write_config()
    [config] = read_blocks("docs/how-to/pools.md", "toml")
    two.config.write_text(two.config.read_text() + config)
    (place / "jobs.jsonl").write_text('{"command": "true"}\n' * 3)
    done = []
    for line in read_blocks("docs/how-to/pools.md")[0].splitlines():
        _, *words = shlex.split(line, comments=True)
        words = [w.replace("jobs.jsonl", f"{place}/jobs.jsonl") for w in words]
        done.append(two.cli(*words))
    assert [len(end.lines) for end in done[:3]] == [1, 1, 3]
    assert "gpu2" in done[3].out
    *ended, wait, doctor = [end.status for end in done]
    assert ended == [0, 0, 0, 0] and doctor == 0
    assert wait in (0, 1), "no train.sh is there, and the job may have ended before"
    assert sum(two.where().values()) == 5


def test_hosts_doctor_and_completion_know_pools(two: PoolRig) -> None:
    two.cli.ok("submit", "pool:p", "--from", "-", stdin=b"true\ntrue\n")
    assert "pool:p: n1, n2" in two.cli.ok("hosts").lines
    assert all(row["pools"] == ["p"] for row in two.cli.ok("hosts", "--json").objects)
    two.sshds["n2"].close()
    found = two.cli("doctor", "pool:p", "--wait-host", "1")
    assert found.status == 1
    assert found.lines.index("n1") < found.lines.index("n2")
    assert "Connection refused" in found.lines[-1]
    offered = two.cli.ok("__complete", "zsh", "submit", "pool")
    assert "pool:p\tn1, n2" in offered.lines


def test_the_python_api_takes_a_pool(
    two: PoolRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    enter_environment(monkeypatch, two.cli.env)
    host = sshjobs.Host("pool:p")
    jobs = host.submit_all(["echo a", {"command": ["echo", "b"]}])
    assert {job.host for job in jobs} == {"n1", "n2"}
    assert [job.wait().log() for job in jobs] == [b"a\n", b"b\n"]
    assert host.run("exit 3").returncode == 3
    store = Store(str(two.cli.home))
    left = [store.intents.list_open(row.site_id) for row in store.sites.list_sites()]
    assert left == [[], []], "this process goes on, and asks for nothing more"
    assert set(jobs) < set(host.find())
    assert host.submit("echo c", after=jobs).wait().log() == b"c\n"
    with pytest.raises(SpecError, match="is a pool"):
        host.put("/etc/hostname", "x/")
    with pytest.raises(SpecError, match="no such pool: 'pool:q'; .* has pool:p"):
        sshjobs.Host("pool:q")


@pytest.mark.parametrize("verb", ["connect", "disconnect", "ssh"])
def test_a_pool_is_no_host(two: PoolRig, verb: str) -> None:
    refused = two.cli(verb, "pool:p")
    assert refused.status == 64 and "is a pool" in refused.err
    many = two.cli("submit", "n1,pool:p", "--", "true")
    assert many.status == 64 and "is a pool" in many.err


def test_a_pool_that_is_not_there_is_refused(two: PoolRig) -> None:
    for words in (("submit", "pool:q", "--", "true"), ("status", "pool:q")):
        refused = two.cli(*words)
        assert refused.status == 64
        assert "no such pool: 'pool:q'; the config file has pool:p" in refused.err


@pytest.mark.parametrize(
    ("pools", "why"),
    [
        ("x", "pools: not a table"),
        ({"a": 1}, r"\[pools.a\]: not a table"),
        ({"a": {}}, "an array of hosts is wanted"),
        ({"a": {"hosts": "n1"}}, "an array of hosts is wanted"),
        ({"a": {"hosts": [1]}}, "an array of hosts is wanted"),
        ({"a": {"hosts": []}}, "there is none"),
        ({"a": {"hosts": ["n1", "n1"]}}, "stands twice"),
        ({"a": {"hosts": ["-oX"]}}, "not a host name"),
        ({"a": {"hosts": ["pool:b"]}}, "is a pool"),
        ({"a": {"hosts": ["n"], "limit": 1}}, "nothing else, not 'limit'"),
        ({"a b": {"hosts": ["n"]}}, "letters, digits"),
        ({"": {"hosts": ["n"]}}, "letters, digits"),
        ({"-a": {"hosts": ["n"]}}, "letters, digits"),
    ],
)
def test_a_config_file_with_a_wrong_pool_is_refused(
    tmp_path: Path, pools: object, why: str
) -> None:
    with pytest.raises(SpecError, match=why):
        Context({"SSHJOBS_HOME": str(tmp_path)}, {"pools": pools})
