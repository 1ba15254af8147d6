"""Bytes of a log are deleted on a host only once those that are here were compared."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sshjobs import errors, protocol
from sshjobs.protocol import Reap, Request
from sshjobs.rounds.apply import ReplyApplier
from sshjobs.rounds.checksum import Sums
from sshjobs.store import Store
from tests.cli import Cli
from tests.hosts import without
from tests.remote.host import Host, end_all, of, reap_of

LINE = "i=0; while [ $i -lt 20000 ]; do echo $i; i=$((i + 1)); done"
LOG = b"".join(b"%d\n" % i for i in range(20000))

#: A dd that loses the last byte of each block but the last, as uutils 0.0.17 does when
#: it reads from a pipe, and fills up at the end, so that no count tells.
BAD_DD = """#!/bin/sh
case $1 in --version) echo "%s"; exit ;; esac
[ "${1#if=}" = "$1" ] && exec /usr/bin/dd "$@"
/usr/bin/dd "$@" | tr 5 6
"""


@given(st.lists(st.binary(max_size=300), max_size=5))
def test_they_are_what_the_tools_print(pieces: list[bytes]) -> None:
    mine = Sums()
    for piece in pieces:
        mine.update(piece)
    whole = b"".join(pieces)
    ran = subprocess.run(["cksum"], input=whole, capture_output=True, check=True)
    assert mine.sha256 == hashlib.sha256(whole).hexdigest()
    assert (mine.cksum, mine.length) == tuple(map(int, ran.stdout.split()))


def ended(host: Host) -> str:
    """Return a job that has ended and has written :data:`LOG`."""
    job_id = host.start(LINE.encode())
    assert host.end(job_id).log_bytes == len(LOG)
    return job_id


def reap(host: Host, *reaps: Reap) -> list[protocol.Event]:
    """Ask for reaps, and return what was said of jobs."""
    said = host.run(Request(reaps=reaps))
    return [event for event in said if hasattr(event, "job_id")]


def test_a_log_that_differs_stays(any_host: Host) -> None:
    good, bad, none = ended(any_host), ended(any_host), any_host.start(b"true")
    any_host.end(none)
    other = LOG.replace(b"5", b"6", 1)
    said = reap(any_host, reap_of(good, LOG), reap_of(bad, other), reap_of(none, b""))
    assert {event.job_id for event in of(protocol.Reaped, said)} == {good, none}
    assert of(protocol.Differs, said) == [protocol.Differs(bad)]
    (refused,) = of(protocol.ReapRefused, said)
    what = "its log there and the one that is home differ"
    assert refused.reason in (f"{what} (cksum)", f"{what} (sha256sum)")
    assert (any_host.jobs / bad / "log").read_bytes() == LOG
    assert reap(any_host, reap_of(bad, LOG)) == [protocol.Reaped(bad)]


def test_what_came_after_the_end_is_not_compared(any_host: Host) -> None:
    job_id = ended(any_host)
    with (any_host.jobs / job_id / "log").open("ab") as log:
        log.write(b"of somebody else")
    differs, refused = reap(any_host, reap_of(job_id, LOG[:-1] + b"x"))
    assert isinstance(differs, protocol.Differs)
    assert reap(any_host, reap_of(job_id, LOG)) == [protocol.Reaped(job_id)]


def test_a_wish_without_a_sum_deletes_no_bytes(host: Host) -> None:
    job_id = ended(host)
    differs, refused = reap(host, Reap(job_id, len(LOG)))
    assert isinstance(refused, protocol.ReapRefused)
    assert (host.jobs / job_id / "log").exists()


def test_what_is_no_file_is_not_summed_up(any_host: Host) -> None:
    """A job can make its log a FIFO, or a link to what has no end."""
    fifo, link = ended(any_host), ended(any_host)
    (any_host.jobs / fifo / "log").unlink()
    os.mkfifo(any_host.jobs / fifo / "log")
    (any_host.jobs / link / "log").unlink()
    (any_host.jobs / link / "log").symlink_to("/dev/zero")
    said = reap(any_host, reap_of(fifo, LOG), reap_of(link, LOG))
    assert {event.job_id for event in of(protocol.Reaped, said)} == {fifo, link}


@pytest.fixture
def poor_host(tmp_path: Path) -> Iterator[Host]:
    """A host whose PATH is a directory of links."""
    poor = Host(tmp_path, without(tmp_path / "tools", "cksum", "sha256sum"))
    poor.env["SJTEST"] = str(poor.base)
    yield poor
    end_all(poor)


def test_a_host_without_cksum_says_so(poor_host: Host) -> None:
    job_id = ended(poor_host)
    said = reap(poor_host, reap_of(job_id, LOG))
    (refused,) = of(protocol.ReapRefused, said)
    assert refused.reason == "there is no cksum to compare its log with"
    assert not of(protocol.Differs, said)


def bad_dd(folder: Path, version: str) -> Path:
    """Make a dd that gives wrong bytes at full length."""
    folder.mkdir()
    dd = folder / "dd"
    dd.write_text(BAD_DD % version)
    dd.chmod(0o755)
    return folder


def test_a_dd_that_nobody_knows_brings_no_log(tmp_path: Path) -> None:
    """uutils 0.0.17 knows the flags of GNU, and drops bytes within blocks."""
    folder = bad_dd(tmp_path / "tools", "dd 0.0.17")
    host = Host(tmp_path, f"{folder}:/usr/bin:/bin")
    job_id = ended(host)
    assert host.log(job_id) == LOG
    assert host.log(job_id, 7, 100) == LOG[7:107]


def test_a_dd_that_lies_about_itself_deletes_nothing(tmp_path: Path) -> None:
    folder = bad_dd(tmp_path / "tools", "dd (coreutils) 9.1 (GNU coreutils)")
    host = Host(tmp_path, f"{folder}:/usr/bin:/bin")
    job_id = ended(host)
    home = host.log(job_id)
    assert len(home) == len(LOG) and home != LOG
    assert of(protocol.Differs, reap(host, reap_of(job_id, home)))


def test_wrong_bytes_at_home_are_brought_anew(cli: Cli) -> None:
    job_id = cli.submit("--", LINE)
    cli.ok("wait", job_id)
    assert cli.ok("logs", job_id).raw == LOG
    (cli.home / "logs" / job_id).write_bytes(LOG.replace(b"5", b"6"))
    assert [row["id"] for row in cli.ok("reap", "--json").objects] == [job_id]
    assert not cli.directory(job_id).exists()
    assert cli.ok("logs", job_id).raw == LOG


def test_a_long_log_is_brought_anew(cli: Cli) -> None:
    """Of which most comes in a session of its own."""
    job_id = cli.submit("--", "head -c 20000000 /dev/zero; echo end")
    cli.ok("wait", job_id)
    assert len(cli.ok("logs", job_id).raw) == 20000004
    with (cli.home / "logs" / job_id).open("r+b") as file:
        file.seek(12345678)
        file.write(b"x")
    assert [row["id"] for row in cli.ok("reap", "--json").objects] == [job_id]
    assert cli.ok("logs", job_id).raw == bytes(20000000) + b"end\n"


def test_a_log_that_differs_again_is_not_brought_for_ever(cli: Cli) -> None:
    """Something on the way spoils it each time; what is said first of a wish counts."""
    job_id = cli.submit("--", LINE)
    cli.ok("wait", job_id)
    cli.ok("logs", job_id)
    store = Store(str(cli.home))
    site_id = store.sites.list_sites()[0].site_id
    (number,) = store.intents.add_intents(site_id, "reap", [job_id])
    refusal = protocol.ReapRefused(job_id, "it differs")
    said: list[protocol.Event] = [protocol.Differs(job_id), refusal]
    for _ in range(2):
        assert not store.intents.read_outcomes([number])[number].done
        intents = list(store.intents.read_outcomes([number]).values())
        with store.begin_write():
            ReplyApplier(store, site_id, cli.host, intents, 0.0, 1.0).apply(said)
        if not store.intents.read_outcomes([number])[number].done:
            assert store.jobs.find_jobs([job_id])[job_id].log_local_bytes == 0
            store.jobs.update_job(job_id, log_local_bytes=len(LOG), log_final=True)
    outcome = store.intents.read_outcomes([number])[number]
    assert outcome.done
    error = errors.load(outcome.note)
    assert str(error).endswith("not reaped: it differs, though it was brought anew")
    assert store.jobs.find_jobs([job_id])[job_id].log_local_bytes == len(LOG)
    store.close()
