"""Keys: one job for each, through races, bad ends, reaps and losses."""

from __future__ import annotations

import os
import signal
import subprocess

from sshjobs import protocol
from sshjobs.protocol import Reap, Reply, Request
from tests.remote.host import Host, an_order, claim, gone, have_no_runner, of, wait


def test_a_key_is_one_job(any_host: Host) -> None:
    command = b"echo x >>$HOME/ran; while [ ! -e $HOME/go ]; do sleep 0.1; done"
    first = claim(any_host, command, "k")
    assert first.winner_id == first.job_id and first.attempt == 1
    again = claim(any_host, command, "k")
    assert (again.winner_id, again.state, again.same) == (first.job_id, "RUNNING", True)
    assert not (any_host.jobs / again.job_id).exists()
    (any_host.home / "go").touch()
    any_host.end(first.job_id)
    later = claim(any_host, b"other", "k")
    assert (later.winner_id, later.state) == (first.job_id, "COMPLETED")
    assert not later.same
    assert (any_host.home / "ran").read_text() == "x\n"


def test_a_key_runs_anew_after_a_bad_end_unless_once(any_host: Host) -> None:
    first = claim(any_host, b"exit 1", "k")
    any_host.end(first.job_id)
    kept = claim(any_host, b"exit 1", "k", once=True)
    assert (kept.winner_id, kept.state) == (first.job_id, "FAILED")
    second = claim(any_host, b"echo $SSHJOBS_ATTEMPT", "k")
    assert (second.winner_id, second.attempt) == (second.job_id, 2)
    any_host.end(second.job_id)
    assert any_host.log(second.job_id) == b"2\n"


def test_a_key_survives_reap(any_host: Host) -> None:
    first = claim(any_host, b"exit 0", "k")
    ended = any_host.end(first.job_id)
    any_host.run(Request(reaps=(Reap(first.job_id, 0),)))
    order = an_order(b"exit 0", key="k")
    said = any_host.run(Request(starts=(order,)))
    claimed = of(protocol.Claimed, said)[0]
    assert (claimed.winner_id, claimed.state) == (first.job_id, "COMPLETED")
    assert claimed.same
    assert of(protocol.Ended, said) == [ended._replace(log_bytes=ended.log_bytes)]


def test_a_repeated_start_keeps_its_key(host: Host) -> None:
    order = an_order(b"sleep 0.1", key="k")
    first = of(protocol.Claimed, host.run(Request(starts=(order,))))[0]
    again = of(protocol.Claimed, host.run(Request(starts=(order,))))[0]
    assert first.winner_id == again.winner_id == order.job_id


def test_one_of_many_racers_wins_a_key(host: Host) -> None:
    host.run()
    racers = []
    for _ in range(12):
        order = an_order(b"echo x >>$HOME/ran", key="k")
        nonce = os.urandom(8).hex()
        racer = subprocess.Popen(
            ["sh"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=host.home,
            env=host.env,
        )
        racers.append((racer, nonce, host.program(Request(starts=(order,)), nonce)))
    winners = set()
    for racer, _, program in racers:
        assert racer.stdin
        racer.stdin.write(program)
        racer.stdin.close()
    for racer, nonce, _ in racers:
        assert racer.stdout
        with racer.stdout:
            said = Reply(nonce).feed(racer.stdout.read())
        racer.wait()
        winners |= {event.winner_id for event in of(protocol.Claimed, said)}
    assert len(winners) == 1
    host.end(winners.pop())
    assert (host.home / "ran").read_text() == "x\n"


def test_a_start_that_finds_an_unstarted_holder_starts_it(host: Host) -> None:
    order = an_order(b"echo x >>$HOME/ran", key="k")
    host.edit = have_no_runner
    host.run(Request(starts=(order,)))
    host.edit = lambda program: program
    joined = claim(host, b"echo x >>$HOME/ran", "k")
    assert joined.winner_id == order.job_id
    host.end(order.job_id)
    assert (host.home / "ran").read_text() == "x\n"


def test_who_has_lost_a_key_to_a_race_is_not_refused_by_the_round_after(
    any_host: Host,
) -> None:
    """A round whose reply was lost goes on beside the next one, and takes it away."""
    first = claim(any_host, b"sleep 30", "k")
    order = an_order(b"true", key="k")
    start = b"\nsj_start_jobs\n"
    any_host.edit = lambda program: program.replace(start, b"\nsj_move_jobs\n")
    any_host.run(Request(starts=(order,)))
    assert (any_host.jobs / order.job_id).is_dir()
    drop = f"\nrm -rf jobs/{order.job_id}".encode()
    any_host.edit = lambda program: program.replace(start, drop + start)
    said = any_host.run(Request(starts=(order,)))
    assert not of(protocol.Refused, said) and not of(protocol.Claimed, said)
    any_host.edit = lambda program: program
    (claimed,) = of(protocol.Claimed, any_host.run(Request(starts=(order,))))
    assert (claimed.job_id, claimed.winner_id) == (order.job_id, first.job_id)


def test_a_key_whose_holder_was_lost_has_a_new_attempt(host: Host) -> None:
    order = an_order(b"echo up; sleep 100", key="k")
    said = host.run(Request(starts=(order,)))
    started = host.started(order.job_id)
    assert of(protocol.Claimed, said)
    os.kill(started.pid, signal.SIGKILL)
    os.killpg(started.pgid, signal.SIGKILL)
    wait(lambda: gone(started.pgid))
    assert claim(host, b"true", "k").attempt == 2


def test_a_key_stays_until_all_its_attempts_expire(host: Host) -> None:
    first = claim(host, b"exit 1", "k")
    host.end(first.job_id)
    second = claim(host, b"exit 0", "k")
    host.end(second.job_id)
    keys = next((host.base / "keys").iterdir())

    def sweep(reap: str) -> None:
        for stamp in host.base.glob("*/swept"):
            stamp.unlink()
        host.run(Request(reaps=(Reap(reap, 0),), key_ttl=-5.0))

    sweep(first.job_id)
    assert {path.name for path in keys.iterdir()} == {"1", "2"}
    sweep(second.job_id)
    assert not keys.exists()
    assert claim(host, b"exit 0", "k").attempt == 1
