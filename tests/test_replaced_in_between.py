"""What somebody replaces between a look at it and its use on the host."""

from __future__ import annotations

import subprocess

import pytest

from sshjobs import protocol
from sshjobs.protocol import LogWant, Request
from tests.remote.host import Host, of, reap_of


def insert(host: Host, mark: bytes, deed: bytes, want: Request) -> None:
    """Have something happen in the program just before a place in it."""
    assert mark in host.program(want, "0" * 16), mark
    host.edit = lambda program: program.replace(mark, deed + b"; " + mark)


def test_a_base_directory_that_becomes_a_link(any_host: Host) -> None:
    """Nothing is written where the link leads, though that is ours as well."""
    other = any_host.home / "other" / "place"
    other.mkdir(parents=True, mode=0o700)
    any_host.run()
    base = bytes(any_host.base)
    deed = b"mv %b %b.old; ln -s %b %b" % (base, base, bytes(other), base)
    insert(any_host, b'if [ ! -d "$sj_dir" ]; then', deed, Request())
    said = any_host.run()
    (failed,) = of(protocol.Failed, said)
    assert failed.code == "EBASE" and "symbolic link" in failed.text
    assert not list(other.iterdir())


@pytest.mark.parametrize("form", ["{}", "{}/", "{}/../base", "{}/.", "~/deep/base"])
def test_a_base_directory_by_another_name(host: Host, form: str) -> None:
    """Links above it are the user's business; dots lead where they lead."""
    real = host.home / "real"
    (real / "base").mkdir(parents=True, mode=0o700)
    (host.home / "deep").symlink_to(real)
    base = form.format(host.home / "deep" / "base")
    said = host.run(Request(base_dir=base))
    assert not of(protocol.Failed, said) and (real / "base" / "jobs").is_dir()


@pytest.mark.parametrize("deed", [b"mkfifo", b"ln -s /dev/zero"])
@pytest.mark.parametrize("count", [1, 2])
def test_a_log_that_becomes_something_else(
    any_host: Host, deed: bytes, count: int
) -> None:
    """After its size was told, before it is read: no bytes come, and the round ends."""
    ids = [any_host.start(b"echo hello") for _ in range(count)]
    for job_id in ids:
        any_host.end(job_id)
    want = Request(logs=tuple(LogWant(job_id, 0, 100) for job_id in ids))
    swap = b"rm -f jobs/$sj_id/log; %b jobs/$sj_id/log" % deed
    insert(any_host, b'[ "$sj_length" = 0 ] || sj_read_piece', swap, want)
    said = any_host.run(want)
    assert not of(protocol.LogData, said)
    assert [end.length for end in of(protocol.LogEnd, said)] == [0] * count


def test_a_log_that_becomes_a_fifo_as_it_is_opened(host: Host) -> None:
    """GNU dd waits for nobody who might write into it."""
    said = subprocess.run(["dd", "--version"], capture_output=True, check=False).stdout
    if b"GNU" not in said:
        pytest.skip("only GNU dd has the flags")
    job_id = host.start(b"echo hello")
    host.end(job_id)
    want = Request(logs=(LogWant(job_id, 0, 100),))
    swap = b"rm -f jobs/$sj_id/log; mkfifo jobs/$sj_id/log"
    insert(host, b'dd if="$1"', swap, want)
    assert not of(protocol.LogData, host.run(want))


@pytest.mark.parametrize("deed", [b"mkfifo", b"ln -s /dev/zero"])
def test_a_log_that_becomes_something_else_as_it_is_summed_up(
    any_host: Host, deed: bytes
) -> None:
    """The round has an end, and deletes only those that it has read."""
    ids = sorted(any_host.start(b"echo hello") for _ in range(3))
    for job_id in ids:
        any_host.end(job_id)
    want = Request(reaps=tuple(reap_of(job_id, b"hello\n") for job_id in ids))
    path = b"jobs/" + ids[1].encode() + b"/log"
    swap = b"mv %b %b.old; %b %b" % (path, path, deed, path)
    insert(any_host, b"$sj_sums $sj_logs 2>", swap, want)
    edit = any_host.edit
    any_host.edit = lambda text: edit(text).replace(b"$((20 +", b"$((0 +")
    said = any_host.run(want)
    kept = {event.job_id: event.reason for event in of(protocol.ReapRefused, said)}
    gone = {event.job_id for event in of(protocol.Reaped, said)}
    assert all("its log could not be read" in reason for reason in kept.values())
    assert ids[2] in kept and ids[1] in gone and gone | set(kept) == set(ids)
    any_host.edit = lambda program: program
    said = any_host.run(Request(reaps=want.reaps))
    assert {event.job_id for event in of(protocol.Reaped, said)} == set(ids)
