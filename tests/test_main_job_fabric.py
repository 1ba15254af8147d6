"""The main job where there is no ssh: the same tests, over connections by Fabric.

What they say of connections reads here: never two at a time, one for each leader.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import test_kill
from tests import test_main_job as main_job
from tests import test_reap_by_command
from tests.cli import Cli, all_processes, eventually, finish
from tests.faults.relay import Relay
from tests.sshd import Sshd

test_argument_vector = main_job.test_an_argument_vector_arrives_byte_for_byte
test_line_of_a_megabyte = main_job.test_a_line_of_a_megabyte_runs
test_standard_input_arrives_byte_for_byte = (
    main_job.test_standard_input_arrives_byte_for_byte
)
test_directory_and_environment = main_job.test_a_job_gets_its_directory_and_environment
test_logs_are_bytes = main_job.test_logs_are_bytes
test_nothing_leaks = main_job.test_nothing_of_this_machines_environment_leaks
test_secrets_stand_in_no_listing_log_or_record = (
    main_job.test_secrets_stand_in_no_listing_log_or_record
)
test_timeout_is_kept = test_kill.test_a_timeout_is_kept_with_no_client_alive
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
def cli(cli: Cli, relay: Relay, place: Path) -> Iterator[Cli]:
    """The box, with no ssh on PATH, as in a slim container."""
    (place / "bin").mkdir()
    cli.env["PATH"] = str(place / "bin")
    yield cli
    eventually(lambda: owners(cli) == [], "no process owns a connection any more")
    assert relay.most <= 1


@pytest.fixture
def ran(cli: Cli) -> Path:
    """Where jobs leave a line each time that they run."""
    folder = cli.base.parent / "ran"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    return folder


def owners(cli: Cli) -> list[int]:
    """Return the processes that own connections of this home."""
    found = []
    for pid, line in all_processes("cmdline"):
        if b"sshjobs.transports.fabric.owner" in line and os.fsencode(cli.home) in line:
            found.append(pid)
    return found


def holding(ran: Path) -> str:
    return f'echo $$ >>{ran}/"$SSHJOBS_KEY"'


def times(ran: Path) -> dict[str, int]:
    """Return how often each job ran."""
    return {path.name: len(path.read_text().splitlines()) for path in ran.iterdir()}


def test_a_burst_is_never_two_connections_at_a_time(
    cli: Cli, relay: Relay, ran: Path
) -> None:
    assert cli.sshd is not None
    keys = [f"k{number}" for number in range(40)]
    ends = finish(
        [cli.start("submit", cli.host, "--key", k, "--", holding(ran)) for k in keys]
    )
    assert [end.status for end in ends] == [0] * 40, ends
    assert len({end.id for end in ends}) == 40
    cli.ok("wait")
    assert times(ran) == dict.fromkeys(keys, 1)
    assert (relay.most, cli.sshd.drops) == (1, 0)
    assert relay.accepted == cli.sshd.logins == cli.hosts()["handshakes"]
    assert relay.accepted <= 41


@pytest.mark.parametrize("status", [0, 3, 255])
def test_exit_statuses_come_back(cli: Cli, status: int) -> None:
    main_job.test_exit_statuses_come_back(cli, status)


def test_a_death_by_a_signal_comes_back(cli: Cli) -> None:
    main_job.test_a_death_by_a_signal_comes_back(cli, signal.SIGKILL)


def test_a_signal_to_run_cancels_the_job(cli: Cli) -> None:
    test_kill.test_a_signal_to_run_cancels_the_job(cli, signal.SIGTERM)


def test_directory_goes_after_the_log_is_home(cli: Cli) -> None:
    test_reap_by_command.test_the_flag_cleanup_says_when_a_directory_goes(
        cli, "on_success"
    )


def test_one_key_is_one_job(cli: Cli) -> None:
    words = ("submit", cli.host, "--key", "night", "--", "sleep 1")
    ids = {end.id for end in finish([cli.start(*words) for _ in range(5)])}
    assert len(ids) == 1
    cli.ok("kill", *ids)


def test_runs_side_by_side_share_the_leader_s_connection(
    cli: Cli, relay: Relay
) -> None:
    line = "for i in 1 2 3; do echo {0}.$i; sleep 0.5; done; exit {0}"
    runs = [cli.start("run", cli.host, "--", line.format(n)) for n in range(6)]
    for number, end in enumerate(finish(runs)):
        assert end.status == number, end
        assert end.lines == [f"{number}.{i}" for i in (1, 2, 3)]
    assert relay.accepted <= 12  # each may lead once to start, once to see the end


def test_pauses_between_rounds_keep_the_connection(cli: Cli, relay: Relay) -> None:
    """It is one for the start, one for all that follows."""
    assert cli("run", cli.host, "--", "sleep 3; echo x").out == "x\n"
    assert relay.accepted <= 2
    assert cli.hosts()["rounds"] >= 4


def strike_owner(cli: Cli, number: int) -> None:
    for pid in owners(cli):
        os.kill(pid, number)


def test_owners_of_connections_that_are_killed_cost_nothing(
    cli: Cli, ran: Path, relay: Relay
) -> None:
    run = cli.start(
        "run",
        cli.host,
        "--key",
        "k",
        "--",
        f"{holding(ran)}; for i in 1 2 3 4; do echo $i; sleep 0.5; done",
    )
    for _ in range(2):
        eventually(lambda: owners(cli), "a connection")
        before = relay.accepted
        strike_owner(cli, signal.SIGKILL)
        eventually(lambda: relay.accepted > before, "the next")
    (end,) = finish([run])
    assert (end.status, end.lines) == (0, ["1", "2", "3", "4"]), end
    assert times(ran) == {"k": 1}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_leader_that_dies_or_stops_is_replaced(
    cli: Cli, ran: Path, relay: Relay, number: int
) -> None:
    """A stopped one keeps its lock and its connection; both are taken from it."""
    leader = cli.start("run", cli.host, "--key", "a", "--", f"{holding(ran)}; sleep 3")
    eventually(lambda: (ran / "a").exists(), "the first job")
    eventually(lambda: not owners(cli), "the end of the connection that started it")
    eventually(lambda: owners(cli), "the one that waits for its end")
    leader.send_signal(number)
    second = cli("run", cli.host, "--key", "b", "--", f"{holding(ran)}; echo b")
    assert (second.status, second.out) == (0, "b\n"), second
    assert relay.most == 1
    leader.send_signal(signal.SIGCONT)
    (end,) = finish([leader])
    assert end.status == (0 if number == signal.SIGSTOP else -signal.SIGKILL), end
    cli.ok("wait")
    assert times(ran) == {"a": 1, "b": 1}


def test_changed_host_key_is_refused_and_not_tried_again(
    cli: Cli, relay: Relay
) -> None:
    assert cli.sshd is not None
    cli.sshd.stop()
    cli.sshd.new_host_key()
    cli.sshd.start()
    ends = [cli("submit", cli.host, "--", "true") for _ in range(3)]
    assert [end.status for end in ends] == [77] * 3, ends
    assert "the host key is not the one that known_hosts has" in ends[0].err
    assert relay.accepted == 1
