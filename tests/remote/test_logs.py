"""Logs: pieces of them in a round, and a whole one in a session of its own."""

from __future__ import annotations

import os
import subprocess

import pytest

from sshjobs import protocol
from sshjobs.model import new_job_id
from sshjobs.protocol import LogWant, Request
from tests.remote.host import Host, edit_run, forget_exit, of


def test_a_log_comes_in_pieces(any_host: Host) -> None:
    job_id = any_host.start(
        b"i=0; while [ $i -lt 20000 ]; do echo $i; i=$((i+1)); done"
    )
    ended = any_host.end(job_id)
    whole = b"".join(b"%d\n" % number for number in range(20_000))
    assert ended.log_bytes == len(whole)
    got = b""
    while len(got) < len(whole):
        got += any_host.log(job_id, len(got), 30_001)
    assert got == whole


def test_a_log_that_shrank_ends_where_it_ends_now(any_host: Host) -> None:
    job_id = any_host.start(b"echo 0123456789; echo 0123456789")
    any_host.end(job_id)
    other = any_host.start(b"echo hello")
    any_host.end(other)
    (any_host.jobs / job_id / "log").write_bytes(b"short")
    wants = (
        LogWant(job_id, 11, 100),
        LogWant(other, 0, 100),
        LogWant(new_job_id(), 0, 9),
    )
    said = any_host.run(Request(logs=wants))
    ends = of(protocol.LogEnd, said)
    assert [(end.length, end.size) for end in ends] == [(0, 5), (6, 6), (0, 0)]


def test_a_log_may_be_larger_than_31_bits(any_host: Host) -> None:
    job_id = any_host.start(b"echo x")
    any_host.end(job_id)
    forget_exit(any_host, job_id)
    edit_run(any_host, job_id, "log_bytes", "3000000001")
    os.truncate(any_host.jobs / job_id / "log", 3000000001)
    assert any_host.end(job_id).log_bytes == 3000000001
    want = LogWant(job_id, 3000000000, 65536)
    assert of(protocol.LogEnd, any_host.run(Request(logs=(want,)))) == [
        protocol.LogEnd(job_id, 3000000000, 1, 3000000001)
    ]


LONG = b"0123456789abcde\n" * 90_000


def test_a_long_piece_of_a_log_comes_whole(any_host: Host) -> None:
    job_id = any_host.start(b"echo")
    any_host.end(job_id)
    (any_host.jobs / job_id / "log").write_bytes(LONG)
    assert any_host.log(job_id, 7, len(LONG)) == LONG[7:]
    assert any_host.log(job_id, 0, 1_300_000) == LONG[:1_300_000]


@pytest.mark.parametrize(
    "offset, limit", [(0, len(LONG)), (7, 1_300_000), (70_001, 2 * len(LONG)), (0, 0)]
)
def test_a_fetched_log_comes_from_its_offset_to_its_limit(
    any_host: Host, offset: int, limit: int
) -> None:
    job_id = any_host.start(b"echo")
    any_host.end(job_id)
    (any_host.jobs / job_id / "log").write_bytes(LONG)
    said, fetched = any_host.fetch(LogWant(job_id, offset, limit))
    assert said
    assert fetched == LONG[offset : offset + limit]


@pytest.mark.parametrize(
    "change",
    [
        "rm {0}/log",
        "rm -r {0}",
        "mv {0}/log {0}/other; ln -s other {0}/log",
        "mv {0} {0}2; ln -s {0}2 {0}",
        "rm {0}/log; mkfifo {0}/log",
        "chmod go+w .",
    ],
)
def test_a_file_that_is_no_log_is_not_fetched(host: Host, change: str) -> None:
    job_id = host.start(b"echo hello")
    host.end(job_id)
    subprocess.run(change.format(job_id), cwd=host.jobs, shell=True, check=True)
    said, fetched = host.fetch(LogWant(job_id, 0, 100))
    sound = change.startswith("chmod")
    assert (said, fetched) == (sound, b"hello\n" if sound else b"")


@pytest.mark.parametrize("word", [b"", b"no\n", b"go", b"gone\n"])
def test_a_fetch_that_nobody_wants_any_more_sends_nothing(
    any_host: Host, word: bytes
) -> None:
    job_id = any_host.start(b"echo hello")
    any_host.end(job_id)
    assert any_host.fetch(LogWant(job_id, 0, 100), word) == (True, b"")
