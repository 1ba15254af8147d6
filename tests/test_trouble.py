"""A host that refuses, and what is left over: the cause is named, nobody insists."""

from __future__ import annotations

import os
import shlex
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from sshjobs import transports
from tests.box import Box, Ended, all_processes, eventually, finish
from tests.faults.relay import Relay
from tests.reach import Reach
from tests.sshd import Sshd

NewBox = Callable[..., Box]


@pytest.fixture
def relay(box: Box) -> Iterator[Relay]:
    """Stands before the server of ``box`` and can shut the door."""
    assert box.sshd is not None
    made = Relay(box.sshd.port)
    key = (box.sshd.folder / "host.pub").read_text()
    box.sshd.known_hosts.write_text(f"box {key}")
    first = f"Host {box.host}\n    Port {made.port}\n"
    box.sshd.write_client_config("HostKeyAlias box", before=first)
    yield made
    box.close()
    made.close()


def crowd(box: Box, count: int, *words: str) -> list[Ended]:
    """Start the same command many times at once; return how each ended."""
    return finish([box.start(*words) for _ in range(count)])


def count_runs(box: Box) -> tuple[str, Callable[[], list[int]]]:
    """Return a command that counts, and what tells how often each job ran."""
    ran = box.base.parent / "ran"
    ran.mkdir(mode=0o777)
    ran.chmod(0o777)

    def runs() -> list[int]:
        return [len(path.read_text().splitlines()) for path in ran.iterdir()]

    return f'echo $$ >>{ran}/"$SSHJOBS_JOB_ID"', runs


def change(box: Box, sql: str, *values: object) -> None:
    """Write something into the store that no verb would."""
    with closing(sqlite3.connect(box.home / "store.db", timeout=30)) as db, db:
        db.execute(sql, values)


def rows(box: Box, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(box.home / "store.db", timeout=30)) as db:
        return db.execute(sql).fetchall()


# -- a narrow door, and one that is shut


def test_a_burst_through_the_narrowest_door(new_box: NewBox) -> None:
    box = new_box(MaxStartups="2:100:2", MaxSessions=1)
    assert box.sshd is not None
    command, runs = count_runs(box)
    ends = crowd(box, 80, "submit", box.host, "--", command)
    assert [end.status for end in ends] == [0] * 80, ends
    box.ok("wait")
    assert runs() == [1] * 80
    assert (box.sshd.connections, box.sshd.drops) == (1, 0)


def test_a_door_that_is_shut_is_knocked_at_rarely(box: Box, relay: Relay) -> None:
    command, runs = count_runs(box)
    relay.shut = True
    opener = threading.Timer(5.0, relay.heal)
    opener.start()
    ends = crowd(box, 40, "submit", box.host, "--", command)
    opener.join()
    assert [end.status for end in ends] == [0] * 40, ends
    box.ok("wait")
    assert runs() == [1] * 40
    ledger = box.hosts()
    assert ledger["handshakes"] == ledger["drops"] + 1 <= 5
    assert relay.accepted == 1


def test_nobody_knocks_during_a_cooldown(box: Box, relay: Relay) -> None:
    relay.shut = True
    assert box("submit", box.host, "--wait-host", "0", "--", "true").status == 69
    now = time.time()
    change(box, "UPDATE hosts SET cooldown_set_at=?, cooldown_until=?", now, now + 300)
    relay.heal()
    ends = crowd(box, 20, "submit", box.host, "--wait-host", "1", "--", "true")
    assert [end.status for end in ends] == [69] * 20, ends
    assert box.hosts()["handshakes"] == 1
    assert relay.accepted == 0
    assert box.ok("list").out == ""
    assert os.listdir(box.home / "specs") == []
    said = ends[0].err
    assert "MaxStartups" in said and "PerSourcePenalties" in said
    assert "raising banner_timeout does not" in said
    assert "tries again for " in said
    table = box.ok("hosts").out
    assert "cooldown for 4m" in table and "MaxStartups" in table
    ledger = box.hosts()
    assert (ledger["drops"], ledger["sessions"], ledger["rounds"]) == (1, 0, 0)
    assert "MaxStartups" in ledger["cause"]
    box.ok("connect", box.host)
    assert box.hosts()["cooldown_until"] == 0
    box.submit("--", "true")


def test_a_cooldown_from_the_future_is_void(box: Box, relay: Relay) -> None:
    relay.shut = True
    assert box("submit", box.host, "--wait-host", "0", "--", "true").status == 69
    relay.heal()
    late = time.time() + 7 * 86400
    change(box, "UPDATE hosts SET cooldown_set_at=?, cooldown_until=?", late, late + 20)
    box.submit("--wait-host", "5", "--", "true")
    change(box, "UPDATE hosts SET cooldown_set_at=?, cooldown_until=?", 0, late)
    box.submit("--wait-host", "5", "--", "true")


# -- what only a person can mend


def refused(box: Box, count: int) -> None:
    ends = crowd(box, count, "submit", box.host, "--", "true")
    assert [end.status for end in ends] == [77] * count, ends
    assert box.ok("list").out == ""


def test_a_refused_key_is_offered_once(box: Box) -> None:
    assert box.sshd is not None
    keys = box.sshd.folder / "authorized_keys"
    good = keys.read_text()
    keys.write_text("")
    refused(box, 40)
    assert box.sshd.connections == 1
    assert "sshjobs connect" in box.ok("hosts").out
    keys.write_text(good)
    refused(box, 3)
    assert box.sshd.connections == 1
    box.ok("connect", box.host)
    box.submit("--", "true")
    assert box.sshd.connections == 2
    assert "sshjobs connect" not in box.ok("hosts").out


def test_a_changed_host_key_is_looked_at_once(box: Box) -> None:
    sshd = box.sshd
    assert sshd is not None
    sshd.stop()
    sshd.new_host_key()
    sshd.start()
    refused(box, 20)
    assert sshd.connections == 1
    key = (sshd.folder / "host.pub").read_text()
    sshd.known_hosts.write_text(f"[127.0.0.1]:{sshd.port} {key}")
    box.submit("--", "true")
    assert sshd.connections == 2


@contextmanager
def agent(path: Path, key: Path) -> Iterator[dict[str, str]]:
    """Run an ssh-agent that holds one key."""
    one = subprocess.Popen(["ssh-agent", "-D", "-a", path], stdout=subprocess.DEVNULL)
    try:
        eventually(path.exists)
        env = {"SSH_AUTH_SOCK": str(path)}
        subprocess.run(["ssh-add", "-q", key], env=os.environ | env, check=True)
        yield env
    finally:
        one.terminate()
        one.wait()


def test_other_credentials_may_try_once(box: Box, place: Path) -> None:
    sshd = box.sshd
    assert sshd is not None
    text = sshd.write_client_config().read_text()
    sshd.config.write_text(text.replace("IdentitiesOnly yes", "IdentitiesOnly no"))
    other = place / "other"
    subprocess.run(["ssh-keygen", "-qt", "ed25519", "-N", "", "-f", other], check=True)
    good = sshd.folder / "authorized_keys"
    good.write_text("")
    refused(box, 3)
    with agent(place / "agent", other) as env:
        words = ("submit", box.host, "--", "true")
        ends = finish([box.start(*words, env=env) for _ in range(8)])
        assert [end.status for end in ends] == [77] * 8, ends
        assert sshd.connections == 2
        refused(box, 2)
        good.write_text(other.with_suffix(".pub").read_text())
    with agent(place / "agent2", other) as env:
        subprocess.run(
            ["ssh-add", "-q", sshd.key], env=os.environ | env, check=True
        )  # one more key: other credentials
        ends = finish([box.start(*words, env=env) for _ in range(8)])
        assert [end.status for end in ends] == [0] * 8, ends
    assert sshd.connections == 3
    box.submit("--", "true")  # rides on what another's agent has opened
    assert sshd.connections == 3


def test_a_key_that_others_could_read_is_mended_by_chmod(box: Box) -> None:
    assert box.sshd is not None
    box.sshd.key.chmod(0o644)
    refused(box, 3)
    ended = box("submit", box.host, "--", "true")
    assert ended.status == 77 and "bad permissions" in ended.err, ended
    (shown,) = [line for line in box.ok("hosts").lines if "not tried again" in line]
    assert "bad permissions" in shown and f"sshjobs connect {box.host}" in shown
    assert "bad permissions" in box.hosts()["refused"]
    box.sshd.key.chmod(0o600)
    box.submit("--", "true")
    assert box.sshd.connections == 2
    assert box.hosts()["refused"] == ""  # not of the credentials of now
    assert "not tried again" not in box.ok("hosts").out


def test_others_wait_after_a_connect_that_failed(box: Box, relay: Relay) -> None:
    relay.shut = True
    assert box("connect", box.host).status == 69
    assert box.hosts()["handshakes"] == 1
    ended = box("submit", box.host, "--wait-host", "0", "--", "true")
    assert (ended.status, box.hosts()["handshakes"]) == (69, 1), ended
    assert "MaxStartups" in ended.err and "tries again for " in ended.err
    relay.heal()
    box.ok("connect", box.host)
    box.submit("--", "true")


# -- what is left over


def left(box: Box) -> list[str]:
    """Return what a connection might leave: sockets, locks, directories, processes."""
    rundir = Path(transports.rundir(str(box.home)))
    found = [str(path) for path in rundir.iterdir()]
    for name in ("round.*", "watch.*"):
        found += [str(path) for path in (box.home / "locks").glob(name)]
    return found + [" ".join(line) for line in ours(box)]


def ours(box: Box) -> list[list[str]]:
    """Return the arguments of every ssh that was started with the configuration."""
    assert box.sshd is not None
    lines = []
    for _, line in all_processes("cmdline"):
        words = line.decode(errors="replace").split("\0")
        if words[0].endswith("ssh") and str(box.sshd.config) in words:
            lines.append(words)
    return lines


def test_a_disconnect_leaves_nothing(box: Box) -> None:
    crowd(box, 10, "submit", box.host, "--", "sleep 1")
    box.ok("wait")
    assert len(ours(box)) == 1
    box.ok("disconnect", box.host)
    assert left(box) == []


def test_a_crash_leaves_nothing_after_the_next_disconnect(
    box: Box, relay: Relay
) -> None:
    """Processes are killed in a handshake, while they wait, and while they watch."""
    relay.hole = True
    knocking = [box.start("submit", box.host, "--", "true") for _ in range(4)]
    eventually(lambda: ours(box), "somebody connects")
    _kill_all(knocking)
    relay.heal()
    job = box.submit("--", "sleep 1000")
    waiting = [box.start("wait") for _ in range(4)]
    eventually(lambda: box.hosts()["watched_at"], "somebody watches")
    _kill_all(waiting)
    box.ok("kill", job)
    box.ok("disconnect", box.host)
    assert left(box) == []
    box.submit("--", "true")


def _kill_all(processes: list[subprocess.Popen[bytes]]) -> None:
    for one in processes:
        one.send_signal(signal.SIGKILL)
    finish(processes)


def test_a_refusal_leaves_nothing(box: Box, relay: Relay) -> None:
    relay.shut = True
    box("submit", box.host, "--wait-host", "0", "--", "true")
    box.ok("disconnect", box.host)
    assert left(box) == []


# -- a record that is lost, and a clock that jumps


def test_a_lost_record_is_brought_back(box: Box) -> None:
    key = box.submit("--key", "night", "--", "echo done; exit 3")
    runs = box.submit("--", "sleep 1000")
    box("wait", key)
    path = box.home / "store.db"
    box.ok("list")
    path.write_bytes(b"\xa5" * path.stat().st_size)
    for verb in (("list",), ("poll",), ("submit", box.host, "--", "true")):
        ended = box(*verb)
        assert ended.status == 70, ended
        assert "--adopt" in ended.err and "Traceback" not in ended.err
    path.rename(path.with_suffix(".bad"))
    ended = box("poll", "--host", box.host, "--adopt")
    assert {line.split()[0] for line in ended.lines} == {key, runs}, ended
    assert (box.state(key), box.state(runs)) == ("FAILED", "RUNNING")
    assert box.ok("logs", key).out == "done\n"
    assert box.job(key)["key"] == "night"
    box.ok("kill", runs)
    box.ok("reap")
    assert list((box.base / "jobs").iterdir()) == []


def test_a_clock_that_was_set_back_holds_nobody_up(box: Box) -> None:
    job = box.submit("--", "sleep 2")
    late = time.time() + 7 * 86400
    names = "round_started_at round_ended_at watched_at stirred_at unwatched_until"
    names += " cooldown_until cooldown_set_at"
    sets = ", ".join(f"{name} = {late}" for name in names.split())
    change(box, f"UPDATE hosts SET {sets}, failures = 3, bad_rounds = 3")
    one = box.start("poll", job)
    assert finish([one])[0].status == 0
    change(box, f"UPDATE hosts SET {sets}")
    box.ok("wait", job, "--timeout", "60")
    change(box, f"UPDATE hosts SET {sets}")
    assert box.ok("run", box.host, "--", "echo x").out == "x\n"


# -- budgets


def test_conn_retry_attempts_bounds_the_handshakes(box: Box) -> None:
    assert box.sshd is not None
    box.sshd.stop()
    box.env["SSHJOBS_CONN_RETRY_ATTEMPTS"] = "2"
    ended = box("submit", box.host, "--", "true")
    assert (ended.status, box.hosts()["handshakes"]) == (69, 2), ended
    assert "Connection refused" in ended.err
    assert "handshake 2: the setting is conn_retry_attempts" in ended.err
    crowd(box, 10, "submit", box.host, "--", "true")
    assert box.hosts()["handshakes"] < 12  # ten who each tried by themselves: 22
    assert box.ok("list").out == ""


@contextmanager
def forced(sshd: Sshd, command: str) -> Iterator[None]:
    """Have the server run another command than the one that is asked for."""
    keys = sshd.folder / "authorized_keys"
    good = keys.read_text()
    keys.write_text(f'command="{command}" {good}')
    yield
    keys.write_text(good)


@pytest.mark.parametrize("command", ["/bin/false", "echo no shell here; exit 3"])
def test_an_account_without_a_shell_keeps_no_job(box: Box, command: str) -> None:
    assert box.sshd
    line, runs = count_runs(box)
    with forced(box.sshd, command):
        ended = box("submit", box.host, "--", line)
        assert (ended.status, ended.out) == (69, ""), ended
        assert "did not run our program" in ended.err
        assert box.ok("list", "--json").objects == []
    box.ok("disconnect", box.host)
    box.ok("poll", "--host", box.host)
    assert runs() == []


def test_max_reconnect_attempts_bounds_the_rounds_that_fail(box: Box) -> None:
    """Each is given up after command_timeout; a whole one begins the count anew."""
    assert box.sshd is not None
    box.env["SSHJOBS_COMMAND_TIMEOUT"] = "1"
    box.env["SSHJOBS_MAX_RECONNECT_ATTEMPTS"] = "3"
    with forced(box.sshd, "sleep 6"):
        ended = box("submit", box.host, "--", "true")
        assert ended.status == 75, ended
        (job,) = ended.lines
        assert "command_timeout" in ended.err
        assert box.hosts()["sessions"] == 3
        assert box.hosts()["bad_rounds"] == 3
    box("disconnect", box.host)
    box.env["SSHJOBS_COMMAND_TIMEOUT"] = "30"
    box.ok("wait", job)
    assert box.hosts()["bad_rounds"] == 0
    assert box.sshd.connections == 2


def test_a_wait_that_ends_says_why_the_host_was_not_asked(box: Box) -> None:
    assert box.sshd is not None
    job = box.submit("--", "sleep 1000")
    box.ok("disconnect", box.host)
    box.sshd.stop()
    ended = box("wait", job, "--timeout", "2")
    assert (ended.status, "RUNNING" in ended.out) == (75, True), ended
    assert "Connection refused" in ended.err
    box.sshd.start()
    ended = box("wait", job, "--timeout", "6")
    assert (ended.status, ended.err) == (75, ""), ended
    box.ok("kill", job)


def test_too_few_descriptors_are_no_fault_of_the_host(box: Box) -> None:
    """Whatever cannot be opened: it is said at once, and nobody else waits for it."""
    lines = []
    for count in range(6, 16):
        words = [sys.executable, "-m", "sshjobs", "submit", box.host, "--", "true"]
        line = f"ulimit -n {count}; exec {shlex.join(words)}"
        ended = subprocess.run(
            ["sh", "-c", line], env=box.env, capture_output=True, text=True, timeout=60
        )
        lines.append((count, ended.returncode, ended.stderr[-300:]))
        assert "Traceback" not in ended.stderr or count < 9, lines
        assert "standard output" not in ended.stderr, lines
        rows_ = rows(box, "SELECT cause FROM hosts") if count > 9 else []
        assert all(cause == "" for (cause,) in rows_), lines
    assert any("ulimit" in text for _, _, text in lines), lines
    box.submit("--", "true")


def test_cleanup_retries_bounds_the_rounds_of_a_reap(box: Box) -> None:
    job = box.submit("--", "echo x")
    box.ok("wait", job)
    change(box, "UPDATE jobs SET log_final = 0, log_home = 0, log_bytes = 999")
    (box.directory(job) / "log").unlink()
    box.env["SSHJOBS_CLEANUP_RETRIES"] = "2"
    before = box.hosts()["rounds"]
    ended = box("reap")
    assert ended.status == 1 and "could not be brought home" in ended.err, ended
    assert box.hosts()["rounds"] - before <= 5
    assert box.directory(job).is_dir()


def test_wait_host_bounds_the_wait_for_a_session(new_box: NewBox) -> None:
    box = new_box(MaxSessions=1)
    sshd = box.sshd
    assert sshd is not None
    box.ok("connect", box.host)
    go = box.base.parent / "go"
    rundir = Path(transports.rundir(str(box.home)))
    holder = Reach(rundir, sshd).process(
        f"echo; until test -e {go}; do sleep 0.1; done"
    )
    eventually(lambda: sshd.sessions == 1)
    ended = box("submit", box.host, "--wait-host", "1", "--", "true")
    assert ended.status == 75, ended
    assert "MaxSessions" in ended.err and "nothing ran" in ended.err
    assert box.ok("list").out == ""
    assert box.hosts()["refusals"] >= 1
    go.touch()
    holder.communicate(timeout=60)
    box.submit("--", "true")
    assert sshd.connections == 1
