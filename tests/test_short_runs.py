"""A short job that is followed is one session; the end of a longer one is heard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sshjobs import protocol
from sshjobs.protocol import LogWant, Request
from sshjobs.rounds.needs import require_paced_rounds
from sshjobs.verbs.context import Context
from tests.cli import Cli, finish
from tests.remote.host import Host, an_order, end_all, of


@pytest.fixture(params=["dash", "bash", "busybox", "ksh"])
def any_host(
    request: pytest.FixtureRequest, tmp_path: Path, paths: dict[str, str]
) -> Iterator[Host]:
    """A host of each shell."""
    if request.param not in paths:
        pytest.skip(f"no {request.param} here")
    host = Host(tmp_path, paths[request.param])
    yield host
    end_all(host)


def test_start_end_and_log_are_one_reply(any_host: Host) -> None:
    """A busy machine may need longer than the host waits: one of ten will do."""
    for _ in range(10):
        order = an_order(b"echo out; exit 3")
        want = LogWant(order.job_id, 0, 65536)
        said = any_host.run(
            Request(starts=(order,), ends=(order.job_id,), logs=(want,))
        )
        assert [fact.job_id for fact in of(protocol.Started, said)] == [order.job_id]
        ended = of(protocol.Ended, said)
        if ended:
            assert (ended[0].exit_status, ended[0].log_bytes) == (3, 4)
            (data,) = of(protocol.LogData, said)
            assert data.data == b"out\n"
            return
    pytest.fail("no end in ten first replies")


def test_nobody_waits_long_for_an_end(any_host: Host) -> None:
    """A job that runs on, and one that is not there, hold up no round."""
    order = an_order(b"exec sleep 30")
    said = any_host.run(
        Request(starts=(order,), ends=(order.job_id, "0123456789abcdef"))
    )
    assert of(protocol.Started, said) and not of(protocol.Ended, said)


def test_only_a_followed_job_is_waited_for() -> None:
    order = an_order(b"true")
    call = b"\nsj_await_ends "
    assert call not in protocol.build(Request(starts=(order,)), "0" * 16)
    ends = Request(starts=(order,), ends=(order.job_id,))
    assert call in protocol.build(ends, "0" * 16)


def test_a_short_run_is_one_session_the_first_one_too(cli: Cli) -> None:
    assert cli.sshd is not None
    runs = 8
    for number in range(runs):
        ended = cli("run", "box", "--", f"echo {number}; exit {number}")
        assert (ended.status, ended.out) == (number, f"{number}\n"), ended
    # A busy machine may need three for one of them: the start, the watch, the end.
    assert cli.hosts()["rounds"] < 1.5 * runs
    assert cli.sshd.sessions < 2 * runs


def test_an_end_is_heard_before_the_watch_has_beaten_once(cli: Cli) -> None:
    """The line of the end may come first, and no look is due for hours."""
    cli.env["SSHJOBS_POLL_INTERVAL"] = "3h"
    job = cli.submit("--", "sleep 20")
    ctx = Context(environ=cli.env)
    try:
        with ctx.coordinator("box") as coordinator:
            need = require_paced_rounds(coordinator.site, lambda: True, live=True)
            now = coordinator.clock()
            due = need()
            assert due is not None and due > now + 3600
            coordinator.store.sites.update_site(
                coordinator.site_id, end_seen_at=now, watched_at=0.0
            )
            due = need()
            assert due is not None and due < now + 1
    finally:
        ctx.close()
    cli.ok("kill", job)


@pytest.mark.parametrize("command", ["sleep 0.2; echo x", "sleep 1; echo x"])
def test_a_longer_run_waits_for_no_poll(cli: Cli, command: str) -> None:
    cli.env["SSHJOBS_POLL_INTERVAL"] = "3h"
    for _ in range(4):
        ended = cli("run", "box", "--", command)
        assert (ended.status, ended.out) == (0, "x\n"), ended


def test_a_crowd_of_runs_shares_rounds(cli: Cli) -> None:
    assert cli.sshd is not None
    ends = finish([cli.start("run", "box", "--", f"echo {n}") for n in range(12)])
    assert [end.out for end in ends] == [f"{n}\n" for n in range(12)], ends
    assert cli.sshd.connections == 1
    assert cli.sshd.sessions <= 12


def test_a_followed_key_is_that_of_the_job_that_holds_it(cli: Cli) -> None:
    first = cli("run", "box", "--key", "k", "--", "echo one")
    twin = cli.twin(cli.home.parent / "other")
    second = twin("run", "box", "--key", "k", "--", "echo one")
    assert (first.out, second.out) == ("one\n", "one\n"), (first, second)
    assert second.status == 0
    twin.close()


def test_a_refused_start_leaves_no_wish_for_a_log(cli: Cli) -> None:
    ended = cli("run", "box", "--shell", "/no/such/shell", "--", "true")
    assert ended.status != 0, ended
    ctx = Context(environ=cli.env)
    with ctx.coordinator("box") as coordinator:
        assert not coordinator.store.intents.list_open(coordinator.site_id)
    ctx.close()
