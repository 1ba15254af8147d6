"""A host that refuses, and what is left over: the cause is named, nobody insists."""

from __future__ import annotations

import os
import shlex
import shutil
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
from tests.cli import Cli, Ended, all_processes, eventually, finish
from tests.faults.relay import Relay
from tests.masters import add_key
from tests.sshd import Sshd
from tests.transport_caller import TransportCaller

NewBox = Callable[..., Cli]


@pytest.fixture
def relay(cli: Cli) -> Iterator[Relay]:
    """Stands before the server of ``box`` and can shut the door."""
    assert cli.sshd is not None
    made = Relay(cli.sshd.port)
    key = (cli.sshd.folder / "host.pub").read_text()
    cli.sshd.known_hosts.write_text(f"box {key}")
    first = f"Host {cli.host}\n    Port {made.port}\n"
    cli.sshd.write_client_config("HostKeyAlias box", before=first)
    yield made
    cli.close()
    made.close()


def crowd(cli: Cli, count: int, *words: str) -> list[Ended]:
    """Start the same command many times at once; return how each ended."""
    return finish([cli.start(*words) for _ in range(count)])


def count_runs(cli: Cli) -> tuple[str, Callable[[], list[int]]]:
    """Return a command that counts, and what tells how often each job ran."""
    ran = cli.base.parent / "ran"
    ran.mkdir(mode=0o777)
    ran.chmod(0o777)

    def runs() -> list[int]:
        return [len(path.read_text().splitlines()) for path in ran.iterdir()]

    return f'echo $$ >>{ran}/"$SSHJOBS_JOB_ID"', runs


def change(cli: Cli, sql: str, *values: object) -> None:
    """Write something into the store that no verb would."""
    with closing(sqlite3.connect(cli.home / "store.db", timeout=30)) as db, db:
        db.execute(sql, values)


def rows(cli: Cli, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(cli.home / "store.db", timeout=30)) as db:
        return db.execute(sql).fetchall()


# -- a narrow door, and one that is shut


def test_a_burst_through_the_narrowest_door(new_box: NewBox) -> None:
    cli = new_box(MaxStartups="2:100:2", MaxSessions=1)
    assert cli.sshd is not None
    command, runs = count_runs(cli)
    ends = crowd(cli, 80, "submit", cli.host, "--", command)
    assert [end.status for end in ends] == [0] * 80, ends
    cli.ok("wait")
    assert runs() == [1] * 80
    assert (cli.sshd.connections, cli.sshd.drops) == (1, 0)


def test_a_door_that_is_shut_is_knocked_at_rarely(cli: Cli, relay: Relay) -> None:
    command, runs = count_runs(cli)
    relay.shut = True
    opener = threading.Timer(5.0, relay.heal)
    opener.start()
    ends = crowd(cli, 40, "submit", cli.host, "--", command)
    opener.join()
    assert [end.status for end in ends] == [0] * 40, ends
    cli.ok("wait")
    assert runs() == [1] * 40
    ledger = cli.hosts()
    assert ledger["handshakes"] == ledger["drops"] + 1 <= 5
    assert relay.accepted == 1


def test_nobody_knocks_during_a_cooldown(cli: Cli, relay: Relay) -> None:
    relay.shut = True
    assert cli("submit", cli.host, "--wait-host", "0", "--", "true").status == 69
    now = time.time()
    change(cli, "UPDATE sites SET cooldown_set_at=?, cooldown_until=?", now, now + 300)
    relay.heal()
    ends = crowd(cli, 20, "submit", cli.host, "--wait-host", "1", "--", "true")
    assert [end.status for end in ends] == [69] * 20, ends
    assert cli.hosts()["handshakes"] == 1
    assert relay.accepted == 0
    assert cli.ok("list").out == ""
    assert os.listdir(cli.home / "specs") == []
    said = ends[0].err
    assert "MaxStartups" in said and "PerSourcePenalties" in said
    assert "raising banner_timeout does not" in said
    assert "tries again for " in said
    table = cli.ok("hosts").out
    assert "cooldown for 4m" in table and "MaxStartups" in table
    ledger = cli.hosts()
    assert (ledger["drops"], ledger["sessions"], ledger["rounds"]) == (1, 0, 0)
    assert "MaxStartups" in ledger["cause"]
    cli.ok("connect", cli.host)
    assert cli.hosts()["cooldown_until"] == 0
    cli.submit("--", "true")


def test_a_cooldown_from_the_future_is_void(cli: Cli, relay: Relay) -> None:
    relay.shut = True
    assert cli("submit", cli.host, "--wait-host", "0", "--", "true").status == 69
    relay.heal()
    late = time.time() + 7 * 86400
    change(cli, "UPDATE sites SET cooldown_set_at=?, cooldown_until=?", late, late + 20)
    cli.submit("--wait-host", "5", "--", "true")
    change(cli, "UPDATE sites SET cooldown_set_at=?, cooldown_until=?", 0, late)
    cli.submit("--wait-host", "5", "--", "true")


# -- what only a person can mend


def refused(cli: Cli, count: int) -> None:
    ends = crowd(cli, count, "submit", cli.host, "--", "true")
    assert [end.status for end in ends] == [77] * count, ends
    assert cli.ok("list").out == ""


def test_a_refused_key_is_offered_once(cli: Cli) -> None:
    assert cli.sshd is not None
    keys = cli.sshd.folder / "authorized_keys"
    good = keys.read_text()
    keys.write_text("")
    refused(cli, 40)
    assert cli.sshd.connections == 1
    assert "sshjobs connect" in cli.ok("hosts").out
    keys.write_text(good)
    refused(cli, 3)
    assert cli.sshd.connections == 1
    cli.ok("connect", cli.host)
    cli.submit("--", "true")
    assert cli.sshd.connections == 2
    assert "sshjobs connect" not in cli.ok("hosts").out


def test_a_changed_host_key_is_looked_at_once(cli: Cli) -> None:
    sshd = cli.sshd
    assert sshd is not None
    sshd.stop()
    sshd.new_host_key()
    sshd.start()
    refused(cli, 20)
    assert sshd.connections == 1
    key = (sshd.folder / "host.pub").read_text()
    sshd.known_hosts.write_text(f"[127.0.0.1]:{sshd.port} {key}")
    cli.submit("--", "true")
    assert sshd.connections == 2


@contextmanager
def agent(path: Path, key: Path) -> Iterator[dict[str, str]]:
    """Run an ssh-agent that holds one key."""
    one = subprocess.Popen(["ssh-agent", "-D", "-a", path], stdout=subprocess.DEVNULL)
    try:
        add_key(path, key)
        yield {"SSH_AUTH_SOCK": str(path)}
    finally:
        one.terminate()
        one.wait()


def test_other_credentials_may_try_once(cli: Cli, place: Path) -> None:
    sshd = cli.sshd
    assert sshd is not None
    text = sshd.write_client_config().read_text()
    sshd.config.write_text(text.replace("IdentitiesOnly yes", "IdentitiesOnly no"))
    other = place / "other"
    subprocess.run(["ssh-keygen", "-qt", "ed25519", "-N", "", "-f", other], check=True)
    good = sshd.folder / "authorized_keys"
    good.write_text("")
    refused(cli, 3)
    with agent(place / "agent", other) as env:
        words = ("submit", cli.host, "--", "true")
        ends = finish([cli.start(*words, env=env) for _ in range(8)])
        assert [end.status for end in ends] == [77] * 8, ends
        assert sshd.connections == 2
        refused(cli, 2)
        good.write_text(other.with_suffix(".pub").read_text())
    with agent(place / "agent2", other) as env:
        subprocess.run(
            ["ssh-add", "-q", sshd.key], env=os.environ | env, check=True
        )  # one more key: other credentials
        ends = finish([cli.start(*words, env=env) for _ in range(8)])
        assert [end.status for end in ends] == [0] * 8, ends
    assert sshd.connections == 3
    cli.submit("--", "true")  # rides on what another's agent has opened
    assert sshd.connections == 3


def test_a_key_that_others_could_read_is_mended_by_chmod(cli: Cli) -> None:
    assert cli.sshd is not None
    cli.sshd.key.chmod(0o644)
    refused(cli, 3)
    ended = cli("submit", cli.host, "--", "true")
    assert ended.status == 77 and "bad permissions" in ended.err, ended
    (shown,) = [line for line in cli.ok("hosts").lines if "not tried again" in line]
    assert "bad permissions" in shown and f"sshjobs connect {cli.host}" in shown
    assert "bad permissions" in cli.hosts()["refused"]
    cli.sshd.key.chmod(0o600)
    cli.submit("--", "true")
    assert cli.sshd.connections == 2
    assert cli.hosts()["refused"] == ""  # not of the credentials of now
    assert "not tried again" not in cli.ok("hosts").out


def test_others_wait_after_a_connect_that_failed(cli: Cli, relay: Relay) -> None:
    relay.shut = True
    assert cli("connect", cli.host).status == 69
    assert cli.hosts()["handshakes"] == 1
    ended = cli("submit", cli.host, "--wait-host", "0", "--", "true")
    assert (ended.status, cli.hosts()["handshakes"]) == (69, 1), ended
    assert "MaxStartups" in ended.err and "tries again for " in ended.err
    relay.heal()
    cli.ok("connect", cli.host)
    cli.submit("--", "true")


# -- what is left over


def left(cli: Cli) -> list[str]:
    """Return what a connection might leave: sockets, locks, directories, processes."""
    rundir = Path(transports.choose_rundir(str(cli.home)))
    found = [str(path) for path in rundir.iterdir()]
    for name in ("round.*", "watch.*"):
        found += [str(path) for path in (cli.home / "locks").glob(name)]
    return found + [" ".join(line) for line in ours(cli)]


def ours(cli: Cli) -> list[list[str]]:
    """Return the arguments of every ssh that was started with the configuration."""
    assert cli.sshd is not None
    lines = []
    for _, line in all_processes("cmdline"):
        words = line.decode(errors="replace").split("\0")
        if words[0].endswith("ssh") and str(cli.sshd.config) in words:
            lines.append(words)
    return lines


def test_a_disconnect_leaves_nothing(cli: Cli) -> None:
    crowd(cli, 10, "submit", cli.host, "--", "sleep 1")
    cli.ok("wait")
    assert len(ours(cli)) == 1
    cli.ok("disconnect", cli.host)
    assert left(cli) == []


def test_a_crash_leaves_nothing_after_the_next_disconnect(
    cli: Cli, relay: Relay
) -> None:
    """Processes are killed in a handshake, while they wait, and while they watch."""
    relay.hole = True
    knocking = [cli.start("submit", cli.host, "--", "true") for _ in range(4)]
    eventually(lambda: ours(cli), "somebody connects")
    _kill_all(knocking)
    relay.heal()
    job = cli.submit("--", "sleep 1000")
    waiting = [cli.start("wait") for _ in range(4)]
    eventually(lambda: cli.hosts()["watched_at"], "somebody watches")
    _kill_all(waiting)
    cli.ok("kill", job)
    cli.ok("disconnect", cli.host)
    assert left(cli) == []
    cli.submit("--", "true")


def _kill_all(processes: list[subprocess.Popen[bytes]]) -> None:
    for one in processes:
        one.send_signal(signal.SIGKILL)
    finish(processes)


def test_a_refusal_leaves_nothing(cli: Cli, relay: Relay) -> None:
    relay.shut = True
    cli("submit", cli.host, "--wait-host", "0", "--", "true")
    cli.ok("disconnect", cli.host)
    assert left(cli) == []


# -- a record that is lost, and a clock that jumps


def test_a_lost_record_is_brought_back(cli: Cli) -> None:
    key = cli.submit("--key", "night", "--", "echo done; exit 3")
    runs = cli.submit("--", "sleep 1000")
    cli("wait", key)
    path = cli.home / "store.db"
    cli.ok("list")
    path.write_bytes(b"\xa5" * path.stat().st_size)
    for verb in (("list",), ("poll",), ("submit", cli.host, "--", "true")):
        ended = cli(*verb)
        assert ended.status == 70, ended
        assert "--adopt" in ended.err and "Traceback" not in ended.err
    path.rename(path.with_suffix(".bad"))
    ended = cli("poll", "--host", cli.host, "--adopt")
    assert {line.split()[0] for line in ended.lines} == {key, runs}, ended
    assert (cli.state(key), cli.state(runs)) == ("FAILED", "RUNNING")
    assert cli.ok("logs", key).out == "done\n"
    assert cli.job(key)["key"] == "night"
    cli.ok("kill", runs)
    cli.ok("reap")
    assert list((cli.base / "jobs").iterdir()) == []


def test_a_clock_that_was_set_back_holds_nobody_up(cli: Cli) -> None:
    job = cli.submit("--", "sleep 2")
    late = time.time() + 7 * 86400
    names = "round_started_at round_ended_at watched_at end_seen_at unwatched_until"
    names += " cooldown_until cooldown_set_at"
    sets = ", ".join(f"{name} = {late}" for name in names.split())
    change(cli, f"UPDATE sites SET {sets}, failures = 3, bad_rounds = 3")
    one = cli.start("poll", job)
    assert finish([one])[0].status == 0
    change(cli, f"UPDATE sites SET {sets}")
    cli.ok("wait", job, "--timeout", "60")
    change(cli, f"UPDATE sites SET {sets}")
    assert cli.ok("run", cli.host, "--", "echo x").out == "x\n"


# -- budgets


def test_conn_retry_attempts_bounds_the_handshakes(cli: Cli) -> None:
    assert cli.sshd is not None
    cli.sshd.stop()
    cli.env["SSHJOBS_CONN_RETRY_ATTEMPTS"] = "2"
    ended = cli("submit", cli.host, "--", "true")
    assert (ended.status, cli.hosts()["handshakes"]) == (69, 2), ended
    assert "Connection refused" in ended.err
    assert "handshake 2: the setting is conn_retry_attempts" in ended.err
    crowd(cli, 10, "submit", cli.host, "--", "true")
    assert cli.hosts()["handshakes"] < 12  # ten who each tried by themselves: 22
    assert cli.ok("list").out == ""


@contextmanager
def forced(sshd: Sshd, command: str) -> Iterator[None]:
    """Have the server run another command than the one that is asked for."""
    keys = sshd.folder / "authorized_keys"
    good = keys.read_text()
    keys.write_text(f'command="{command}" {good}')
    yield
    keys.write_text(good)


@pytest.mark.parametrize("command", ["/bin/false", "echo no shell here; exit 3"])
def test_an_account_without_a_shell_keeps_no_job(cli: Cli, command: str) -> None:
    assert cli.sshd
    line, runs = count_runs(cli)
    with forced(cli.sshd, command):
        ended = cli("submit", cli.host, "--", line)
        assert (ended.status, ended.out) == (69, ""), ended
        assert "did not run our program" in ended.err
        assert cli.ok("list", "--json").objects == []
    cli.ok("disconnect", cli.host)
    cli.ok("poll", "--host", cli.host)
    assert runs() == []


def test_max_reconnect_attempts_bounds_the_rounds_that_fail(cli: Cli) -> None:
    """Each is given up after command_timeout; a whole one begins the count anew."""
    assert cli.sshd is not None
    cli.env["SSHJOBS_COMMAND_TIMEOUT"] = "1"
    cli.env["SSHJOBS_MAX_RECONNECT_ATTEMPTS"] = "3"
    with forced(cli.sshd, "sleep 6"):
        ended = cli("submit", cli.host, "--", "true")
        assert ended.status == 75, ended
        (job,) = ended.lines
        assert "command_timeout" in ended.err
        assert cli.hosts()["sessions"] == 3
        assert cli.hosts()["bad_rounds"] == 3
    cli("disconnect", cli.host)
    cli.env["SSHJOBS_COMMAND_TIMEOUT"] = "30"
    cli.ok("wait", job)
    assert cli.hosts()["bad_rounds"] == 0
    assert cli.sshd.connections == 2


def test_a_wait_that_ends_says_why_the_host_was_not_asked(cli: Cli) -> None:
    assert cli.sshd is not None
    job = cli.submit("--", "sleep 1000")
    cli.ok("disconnect", cli.host)
    cli.sshd.stop()
    ended = cli("wait", job, "--timeout", "2")
    assert (ended.status, "RUNNING" in ended.out) == (75, True), ended
    assert "Connection refused" in ended.err
    cli.sshd.start()
    ended = cli("wait", job, "--timeout", "6")
    assert ended.status == 75, ended
    # Nothing but what it waits for is told: the pause after the refusal may go on.
    assert all("; Ctrl-C: " in line for line in ended.err.splitlines()), ended
    cli.ok("kill", job)


def test_too_few_descriptors_are_no_fault_of_the_host(cli: Cli) -> None:
    """Whatever cannot be opened: it is said at once, and nobody else waits for it."""
    lines = []
    for count in range(6, 16):
        words = [sys.executable, "-m", "sshjobs", "submit", cli.host, "--", "true"]
        line = f"ulimit -n {count}; exec {shlex.join(words)}"
        ended = subprocess.run(
            ["sh", "-c", line], env=cli.env, capture_output=True, text=True, timeout=60
        )
        lines.append((count, ended.returncode, ended.stderr[-300:]))
        assert "Traceback" not in ended.stderr or count < 9, lines
        assert "standard output" not in ended.stderr, lines
        rows_ = rows(cli, "SELECT cause FROM sites") if count > 9 else []
        assert all(cause == "" for (cause,) in rows_), lines
    assert any("ulimit" in text for _, _, text in lines), lines
    cli.submit("--", "true")


def test_cleanup_retries_bounds_the_rounds_of_a_reap(cli: Cli) -> None:
    job = cli.submit("--", "echo x")
    cli.ok("wait", job)
    change(cli, "UPDATE jobs SET log_final = 0, log_local_bytes = 0, log_bytes = 999")
    (cli.directory(job) / "log").unlink()
    cli.env["SSHJOBS_CLEANUP_RETRIES"] = "2"
    before = cli.hosts()["rounds"]
    ended = cli("reap")
    assert ended.status == 1 and "could not be brought home" in ended.err, ended
    assert cli.hosts()["rounds"] - before <= 5
    assert cli.directory(job).is_dir()
    # The error says what is here, and the way out.
    assert "0 of its 999 bytes are here" in ended.err, ended
    assert f"remove {cli.directory(job)} on the host" in ended.err, ended
    shutil.rmtree(cli.directory(job))
    assert cli("reap").status == 0


def test_wait_host_bounds_the_wait_for_a_session(new_box: NewBox) -> None:
    cli = new_box(MaxSessions=1)
    sshd = cli.sshd
    assert sshd is not None
    cli.ok("connect", cli.host)
    go = cli.base.parent / "go"
    rundir = Path(transports.choose_rundir(str(cli.home)))
    holder = TransportCaller(rundir, sshd).process(
        f"echo; until test -e {go}; do sleep 0.1; done"
    )
    eventually(lambda: sshd.sessions == 1)
    ended = cli("submit", cli.host, "--wait-host", "1", "--", "true")
    assert ended.status == 75, ended
    assert "MaxSessions" in ended.err and "nothing ran" in ended.err
    assert cli.ok("list").out == ""
    assert cli.hosts()["refusals"] >= 1
    go.touch()
    holder.communicate(timeout=60)
    cli.submit("--", "true")
    assert sshd.connections == 1
