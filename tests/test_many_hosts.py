"""Many hosts at once: behind one bastion, and with dead ones among them."""

from __future__ import annotations

import signal
from collections.abc import Callable

from tests.cli import eventually, finish
from tests.fleet import Fleet
from tests.sshd import Sshd

NewSshd = Callable[..., Sshd]


def test_a_bastion_with_a_narrow_door(new_sshd: NewSshd, fleet: Fleet) -> None:
    """One fan-out verb and one process a host, through five places at the door."""
    bastion = new_sshd(MaxStartups="5:100:5", MaxSessions="100")
    for number in range(16):
        fleet.add(f"n{number}")
    hop = bastion.write_client_config().read_text().replace("Host box", "Host hop")
    fleet.write("ProxyJump hop", before=hop)
    fleet.submit("sleep 1")
    assert fleet.cli.ok("wait", "--json").out.count('"COMPLETED"') == 16
    assert (bastion.connections, bastion.drops) == (16, 0)
    assert fleet.sshd.connections == 16
    finish([fleet.cli.start("disconnect", name) for name in fleet.names])
    ended = fleet.cli("reap", "--json")
    assert (ended.status, len(ended.lines)) == (0, 16), ended
    assert bastion.drops == 0


def test_the_silent_behind_a_bastion_take_no_place_there(
    new_sshd: NewSshd, fleet: Fleet
) -> None:
    bastion = new_sshd(MaxStartups="5:100:5")
    for number in range(6):
        fleet.add(f"nsilent{number}", relayed=True)
        fleet.relays[f"nsilent{number}"].hole = True
    fleet.add("n0")
    hop = bastion.write_client_config().read_text().replace("Host box", "Host hop")
    fleet.write("ProxyJump hop", before=hop)
    fleet.cli.env["SSHJOBS_CONN_TIMEOUT"] = "100"
    silent = [fleet.cli.start("submit", n, "--", "true") for n in fleet.names[:6]]
    eventually(lambda: bastion.logins == 6, "all are through the bastion")
    fleet.cli.ok("submit", "n0", "--", "true")
    assert [one.poll() for one in silent] == [None] * 6
    assert (bastion.connections, bastion.drops) == (7, 0)
    for one in silent:
        one.terminate()
    finish(silent)


def test_the_dead_do_not_hold_up_the_living(fleet: Fleet) -> None:
    for number in range(8):
        fleet.add(f"n{number}")
    fleet.add("nclosed", relayed=True)
    fleet.add("nsilent", relayed=True)
    fleet.write()
    ids = fleet.submit("sleep 1000")
    silent = fleet.relays["nsilent"]
    silent.hole = True
    silent.drop()
    fleet.relays["nclosed"].close()
    poll = fleet.cli.start("poll", "--wait-host", "4")
    assert poll.stdout is not None
    live = {poll.stdout.readline().decode().split()[0] for _ in range(8)}
    assert live == {ids[name] for name in fleet.names[:8]}
    assert poll.poll() is None  # it still waits for the silent one
    silent.heal()
    silent.shut = True
    (ended,) = finish([poll])
    assert ended.status == 69, ended
    assert sorted(line.split()[0] for line in ended.lines) == sorted(
        [ids["nclosed"], ids["nsilent"]]
    )
    assert all("RUNNING" in line for line in ended.lines)
    # Beside the errors it has told what it waited for.
    said = ended.said
    assert [line.split()[1] for line in said].count("nclosed:") == 1
    assert [line.split()[1] for line in said].count("nsilent:") == 1


def test_an_interrupt_does_not_wait_for_the_silent(fleet: Fleet) -> None:
    fleet.add("n0")
    fleet.add("nsilent", relayed=True)
    fleet.write()
    fleet.submit("sleep 1000")
    silent = fleet.relays["nsilent"]
    silent.hole = True
    silent.drop()
    poll = fleet.cli.start("poll")
    assert poll.stdout is not None and poll.stdout.readline()
    poll.send_signal(signal.SIGINT)
    (ended,) = finish([poll])
    said = "sshjobs: interrupted: nothing was changed. To ask again:\n  sshjobs poll\n"
    assert ended.status == 130 and ended.err.endswith(said)
    silent.heal()


def test_a_wait_shows_each_host_as_its_jobs_end(fleet: Fleet) -> None:
    fleet.add("n0")
    fleet.add("n1")
    fleet.write()
    ids, turns = [], [fleet.cli.base.parent / name for name in ("go1", "go0")]
    for name, go in zip(("n1", "n0"), turns):
        line = f"until test -e {go}; do sleep 0.1; done"
        ids.append(fleet.cli.ok("submit", name, "--", line).id)
    wait = fleet.cli.start("wait")
    assert wait.stdout is not None
    for job, go in zip(ids, turns):
        assert wait.poll() is None
        go.touch()
        assert wait.stdout.readline().decode().split()[0] == job
    (ended,) = finish([wait])
    assert ended.status == 0, ended
