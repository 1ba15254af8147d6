"""The watch: it wakes who waits, and nothing hangs on it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sshjobs.protocol.watch_reply import WatchReply
from tests.cli import Cli, eventually, finish
from tests.sshd import Sshd

NONCE = "0123456789abcdef"
REPLY = (
    f"noise beat\nE x .\n\nsshjobs-reply 1 {NONCE}\nhello a b c d\njournal 1 2\n"
    "beat\n\nS abc .\n\nE abc .\nbeat\n\nE def .\nE gh"
).encode()


@given(st.lists(st.integers(0, len(REPLY)), max_size=8))
def test_a_watch_is_read_in_any_pieces(cuts: list[int]) -> None:
    reply = WatchReply(NONCE)
    edges = sorted({0, *cuts, len(REPLY)})
    for start, end in zip(edges, edges[1:]):
        reply.feed(REPLY[start:end])
    assert (reply.beats, reply.stirs) == (2, 2)


@given(st.lists(st.binary()))
def test_a_watch_takes_any_bytes(pieces: list[bytes]) -> None:
    reply = WatchReply(NONCE)
    for piece in pieces:
        reply.feed(piece)
    assert reply.stirs == 0


def test_an_idle_wait_costs_no_rounds(cli: Cli) -> None:
    job = cli.submit("--", "sleep 5")
    before = cli.hosts()["rounds"]
    cli.ok("wait", job)
    assert cli.hosts()["rounds"] - before <= 2


def test_many_who_wait_share_one_watch(cli: Cli) -> None:
    assert cli.sshd is not None
    job = cli.submit("--", "sleep 4")
    before = cli.sshd.sessions
    ends = finish([cli.start("wait", job) for _ in range(20)])
    assert [end.status for end in ends] == [0] * 20
    assert cli.sshd.sessions - before <= 6


def test_a_host_with_one_session_is_not_watched(
    new_sshd: Callable[..., Sshd], place: Path
) -> None:
    sshd = new_sshd(MaxSessions=1)
    outer = place / "host"
    outer.mkdir(mode=0o777)
    outer.chmod(0o777)
    cli = Cli(sshd, place / "home", outer / "base")
    ends = finish(
        [cli.start("run", "box", "--", f"sleep 1; echo {n}") for n in range(10)]
    )
    assert [end.out for end in ends] == [f"{n}\n" for n in range(10)], ends
    assert sshd.connections == 1
    cli.close()


def test_the_next_who_waits_takes_over(cli: Cli) -> None:
    job = cli.submit("--", "sleep 6")
    first = cli.start("wait", job)
    eventually(lambda: _watched(cli), "the watch")
    second = cli.start("wait", job)
    os.kill(first.pid, signal.SIGKILL)
    finish([first])
    assert finish([second])[0].status == 0


def test_who_wants_no_watch_polls(cli: Cli) -> None:
    cli.env["SSHJOBS_WATCH"] = "off"
    cli.env["SSHJOBS_POLL_INTERVAL"] = "0.2"
    job = cli.submit("--", "sleep 2")
    before = cli.hosts()["rounds"]
    cli.ok("wait", job)
    assert cli.hosts()["rounds"] - before > 2
    assert not _watched(cli)


def _watched(cli: Cli) -> bool:
    return bool(_row(cli)["watched_at"])


def _row(cli: Cli) -> dict[str, Any]:
    return cli.hosts()
