"""What is deleted on a host: nothing that only the host has."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from sshjobs import protocol
from sshjobs.model import new_job_id
from sshjobs.protocol import Reap, Request, Start
from sshjobs.store import Store
from tests.cli import Cli
from tests.remote.host import Host, an_order, end_all, of, reap_of

LONG = 108_894


def reap(host: Host, *reaps: Reap) -> list[protocol.Event]:
    """Ask for reaps, and return what was said of jobs."""
    said = host.run(Request(reaps=reaps))
    return [event for event in said if hasattr(event, "job_id")]


def ended(host: Host, length: int) -> str:
    """Return a job that has ended and has written so many bytes."""
    job_id = host.start(b"head -c %d /dev/zero" % length)
    assert host.end(job_id).log_bytes == length
    return job_id


@pytest.mark.parametrize("home", [0, 1, LONG - 1])
def test_a_log_that_is_not_home_is_not_deleted(any_host: Host, home: int) -> None:
    job_id = ended(any_host, LONG)
    longer, refused = reap(any_host, Reap(job_id, home))
    assert longer == protocol.Longer(job_id, LONG)
    assert isinstance(refused, protocol.ReapRefused)
    assert refused.reason == f"its log has {LONG} bytes, of which {home} are home"
    assert (any_host.jobs / job_id / "log").stat().st_size == LONG
    assert not (any_host.base / "gone" / job_id).exists()
    assert reap(any_host, reap_of(job_id, bytes(LONG))) == [protocol.Reaped(job_id)]


def test_each_of_a_batch_has_a_length_of_its_own(any_host: Host) -> None:
    lengths = [0, 7, LONG]
    ids = [ended(any_host, length) for length in lengths]
    said = reap(any_host, *(reap_of(job_id, bytes(7)) for job_id in ids))
    assert [event.job_id for event in of(protocol.Reaped, said)] == ids[:2]
    assert of(protocol.Longer, said) == [protocol.Longer(ids[2], LONG)]


def test_the_log_of_a_lost_job_is_as_long_as_its_file(any_host: Host) -> None:
    started = any_host.running(b"exec sleep 100")
    any_host.kill_runner(started.job_id)
    end_all(any_host)
    check = protocol.Check(started.job_id, None, "")
    any_host.until(protocol.Lost, Request(checks=(check,)))
    said = reap(any_host, Reap(started.job_id, 2))
    assert of(protocol.Longer, said) == [protocol.Longer(started.job_id, 3)]
    assert reap(any_host, reap_of(started.job_id, b"up\n")) == [
        protocol.Reaped(started.job_id)
    ]


def test_what_is_written_after_the_end_is_not_the_jobs(any_host: Host) -> None:
    job_id = ended(any_host, 5)
    with (any_host.jobs / job_id / "log").open("ab") as log:
        log.write(b"x" * 100)
    assert reap(any_host, reap_of(job_id, bytes(5))) == [protocol.Reaped(job_id)]


def _unreadable(record: Path) -> None:
    text = record.read_text()
    record.unlink()
    record.write_text(text.replace(f"log_bytes={LONG}", "log_bytes=1e99"))


@pytest.mark.parametrize("spoil", [_unreadable])
def test_a_spoilt_length_is_not_believed(
    host: Host, spoil: Callable[[Path], None]
) -> None:
    job_id = ended(host, LONG)
    spoil(host.jobs / job_id / "exit")
    assert of(protocol.Longer, reap(host, Reap(job_id, 0)))
    assert reap(host, reap_of(job_id, bytes(LONG))) == [protocol.Reaped(job_id)]


def test_a_length_that_nothing_tells_is_not_taken_for_none(
    host: Host, tmp_path: Path
) -> None:
    started = host.running(b"exec sleep 100")
    host.kill_runner(started.job_id)
    end_all(host)
    check = protocol.Check(started.job_id, None, "")
    host.until(protocol.Lost, Request(checks=(check,)))
    host.edit = lambda program: program.replace(
        b"ls -lnd $sj_paths", b"no-such-program"
    )
    (refused,) = reap(host, Reap(started.job_id, 99))
    assert isinstance(refused, protocol.ReapRefused)
    assert refused.reason == "the length of its log cannot be told"


def test_a_tombstone_tells_the_length_of_the_log(host: Host) -> None:
    order: Start = an_order(b"echo abc", key="k")
    host.run(Request(starts=(order,)))
    end = host.end(order.job_id)
    assert reap(host, reap_of(order.job_id, b"abc\n")) == [
        protocol.Reaped(order.job_id)
    ]
    assert not (host.jobs / order.job_id).exists()
    said = host.run(Request(starts=(an_order(b"echo abc", key="k"),)))
    assert of(protocol.Ended, said) == [end]


def test_what_is_gone_is_reaped(host: Host) -> None:
    job_id = ended(host, 3)
    shutil.rmtree(host.jobs / job_id)
    other = new_job_id()
    said = reap(host, Reap(job_id, 0), Reap(other, 0))
    assert said == [protocol.Reaped(job_id), protocol.Reaped(other)]


def test_a_log_that_was_wrongly_thought_to_be_home_is_brought(cli: Cli) -> None:
    job_id = cli.submit("--", f"head -c {LONG} /dev/zero")
    cli.ok("wait", job_id)
    store = Store(str(cli.home))
    store.jobs.update_job(job_id, log_local_bytes=0, log_bytes=0, log_final=True)
    store.close()
    with suppress(FileNotFoundError):
        (cli.home / "logs" / job_id).unlink()
    assert [row["id"] for row in cli.ok("reap", "--json").objects] == [job_id]
    assert not cli.directory(job_id).exists()
    assert cli.ok("logs", job_id).raw == bytes(LONG)


def test_a_holder_that_was_lost_and_reaped_is_lost(host: Host) -> None:
    started = host.running(b"exec sleep 100", key="k")
    host.kill_runner(started.job_id)
    end_all(host)
    check = protocol.Check(started.job_id, None, "")
    host.until(protocol.Lost, Request(checks=(check,)))
    assert of(protocol.Reaped, reap(host, reap_of(started.job_id, b"up\n")))
    said = host.run(Request(starts=(an_order(b"true", key="k", once=True),)))
    assert of(protocol.Claimed, said)[0].state == "LOST"
    (lost,) = of(protocol.Lost, said)
    assert lost.job_id == started.job_id and not of(protocol.Ended, said)
