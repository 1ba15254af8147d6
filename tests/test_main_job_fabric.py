"""The main job where there is no ssh: the same tests, over connections by Fabric.

What they say of connections reads here: never two at a time, one for each leader.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import test_main_job as main_job
from tests.box import Box, all_processes, eventually, finish
from tests.faults.relay import Relay
from tests.sshd import Sshd

test_argument_vector = main_job.test_an_argument_vector_arrives_byte_for_byte
test_line_of_a_megabyte = main_job.test_a_line_of_a_megabyte
test_standard_input_of_any_bytes = main_job.test_standard_input_of_any_bytes
test_directory_and_environment = main_job.test_the_directory_and_the_environment
test_logs_are_bytes = main_job.test_logs_are_bytes
test_nothing_leaks = main_job.test_nothing_of_this_machines_environment_leaks
test_secrets_are_nowhere = main_job.test_secrets_are_nowhere
test_timeout_is_kept = main_job.test_a_timeout_is_kept_with_no_client_alive
test_key_outlives_its_directory = main_job.test_a_key_outlives_its_directory


@pytest.fixture
def relay(sshd: Sshd) -> Iterator[Relay]:
    """What stands before the server, and counts connections as the client has them."""
    made = Relay(sshd.port)
    text = sshd.config.read_text().replace(f"Port {sshd.port}", f"Port {made.port}")
    sshd.config.write_text(text)
    key = (sshd.folder / "host.pub").read_text()
    sshd.known_hosts.write_text(f"[127.0.0.1]:{made.port} {key}")
    yield made
    made.close()


@pytest.fixture
def box(box: Box, relay: Relay, place: Path) -> Iterator[Box]:
    """The box, with no ssh on PATH, as in a slim container."""
    (place / "bin").mkdir()
    box.env["PATH"] = str(place / "bin")
    yield box
    eventually(lambda: owners(box) == [], "no process owns a connection any more")
    assert relay.most <= 1


@pytest.fixture
def ran(box: Box) -> Path:
    """Where jobs leave a line each time that they run."""
    folder = box.base.parent / "ran"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    return folder


def owners(box: Box) -> list[int]:
    """Return the processes that own connections of this home."""
    found = []
    for pid, line in all_processes("cmdline"):
        if b"fabric_child" in line and os.fsencode(box.home) in line:
            found.append(pid)
    return found


def holding(ran: Path) -> str:
    return f'echo $$ >>{ran}/"$SSHJOBS_KEY"'


def times(ran: Path) -> dict[str, int]:
    """Return how often each job ran."""
    return {path.name: len(path.read_text().splitlines()) for path in ran.iterdir()}


def test_a_burst_is_never_two_connections_at_a_time(
    box: Box, relay: Relay, ran: Path
) -> None:
    assert box.sshd is not None
    keys = [f"k{number}" for number in range(40)]
    ends = finish(
        [box.start("submit", box.host, "--key", k, "--", holding(ran)) for k in keys]
    )
    assert [end.status for end in ends] == [0] * 40, ends
    assert len({end.id for end in ends}) == 40
    box.ok("wait")
    assert times(ran) == dict.fromkeys(keys, 1)
    assert (relay.most, box.sshd.drops) == (1, 0)
    assert relay.accepted == box.sshd.logins == box.hosts()["handshakes"]
    assert relay.accepted <= 41


@pytest.mark.parametrize("status", [0, 3, 255])
def test_exit_statuses_come_back(box: Box, status: int) -> None:
    main_job.test_exit_statuses_come_back(box, status)


def test_a_death_by_a_signal_comes_back(box: Box) -> None:
    main_job.test_a_death_by_a_signal_comes_back(box, signal.SIGKILL)


def test_a_signal_to_run_cancels_the_job(box: Box) -> None:
    main_job.test_a_signal_to_run_cancels_the_job(box, signal.SIGTERM)


def test_directory_goes_after_the_log_is_home(box: Box) -> None:
    main_job.test_cleanup(box, "on_success")


def test_one_key_is_one_job(box: Box) -> None:
    words = ("submit", box.host, "--key", "night", "--", "sleep 1")
    ids = {end.id for end in finish([box.start(*words) for _ in range(5)])}
    assert len(ids) == 1
    box.ok("kill", *ids)


def test_runs_side_by_side_share_the_leader_s_connection(
    box: Box, relay: Relay
) -> None:
    line = "for i in 1 2 3; do echo {0}.$i; sleep 0.5; done; exit {0}"
    runs = [box.start("run", box.host, "--", line.format(n)) for n in range(6)]
    for number, end in enumerate(finish(runs)):
        assert end.status == number, end
        assert end.lines == [f"{number}.{i}" for i in (1, 2, 3)]
    assert relay.accepted <= 12  # each may lead once to start, once to see the end


def test_pauses_between_rounds_keep_the_connection(box: Box, relay: Relay) -> None:
    """It is one for the start, one for all that follows."""
    assert box("run", box.host, "--", "sleep 3; echo x").out == "x\n"
    assert relay.accepted <= 2
    assert box.hosts()["rounds"] >= 4


def strike_owner(box: Box, number: int) -> None:
    for pid in owners(box):
        os.kill(pid, number)


def test_owners_of_connections_that_are_killed_cost_nothing(
    box: Box, ran: Path, relay: Relay
) -> None:
    run = box.start(
        "run",
        box.host,
        "--key",
        "k",
        "--",
        f"{holding(ran)}; for i in 1 2 3 4; do echo $i; sleep 0.5; done",
    )
    for _ in range(2):
        eventually(lambda: owners(box), "a connection")
        before = relay.accepted
        strike_owner(box, signal.SIGKILL)
        eventually(lambda: relay.accepted > before, "the next")
    (end,) = finish([run])
    assert (end.status, end.lines) == (0, ["1", "2", "3", "4"]), end
    assert times(ran) == {"k": 1}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_leader_that_dies_or_stops_is_replaced(
    box: Box, ran: Path, relay: Relay, number: int
) -> None:
    """A stopped one keeps its lock and its connection; both are taken from it."""
    leader = box.start("run", box.host, "--key", "a", "--", f"{holding(ran)}; sleep 3")
    eventually(lambda: (ran / "a").exists(), "the first job")
    eventually(lambda: not owners(box), "the end of the connection that started it")
    eventually(lambda: owners(box), "the one that waits for its end")
    leader.send_signal(number)
    second = box("run", box.host, "--key", "b", "--", f"{holding(ran)}; echo b")
    assert (second.status, second.out) == (0, "b\n"), second
    assert relay.most == 1
    leader.send_signal(signal.SIGCONT)
    (end,) = finish([leader])
    assert end.status == (0 if number == signal.SIGSTOP else -signal.SIGKILL), end
    box.ok("wait")
    assert times(ran) == {"a": 1, "b": 1}


def test_changed_host_key_is_refused_and_not_tried_again(
    box: Box, relay: Relay
) -> None:
    assert box.sshd is not None
    box.sshd.stop()
    box.sshd.new_host_key()
    box.sshd.start()
    ends = [box("submit", box.host, "--", "true") for _ in range(3)]
    assert [end.status for end in ends] == [77] * 3, ends
    assert "the host key is not the one that known_hosts has" in ends[0].err
    assert relay.accepted == 1
