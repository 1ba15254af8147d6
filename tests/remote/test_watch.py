"""Watches: they hear of ends, and end themselves."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from sshjobs import protocol
from sshjobs.protocol.watch_reply import WatchReply
from tests.remote.host import PATIENCE, SYSTEM_PATH, Host, of, wait


@contextmanager
def watching(host: Host, life: int = 150) -> Iterator[subprocess.Popen[bytes]]:
    """Have a watch listen to the journal, in a session of its own."""
    at = of(protocol.JournalAt, host.run())[0]
    journal = (at.generation, at.offset)
    program = protocol.build_watch("~/.sshjobs", journal, "0123456789abcdef")
    if not host.path.startswith("/usr/bin"):
        program = program.replace(SYSTEM_PATH, b"PATH=")
    assert b"sj_life=150" in program
    with subprocess.Popen(
        [shutil.which("sh", path=host.path) or "sh"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=host.home,
        env=host.env,
        start_new_session=True,
    ) as watch:
        assert watch.stdin and watch.stdout
        watch.stdin.write(program.replace(b"sj_life=150", b"sj_life=%d" % life))
        watch.stdin.flush()
        yield watch
    wait(lambda: not _group_lives(watch.pid))


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_watch_hears_of_an_end_and_ends_with_its_input(any_host: Host) -> None:
    with watching(any_host) as watch:
        assert watch.stdin and watch.stdout
        reply = WatchReply("0123456789abcdef")
        while not reply.beats:
            reply.feed(watch.stdout.readline())
        any_host.start(b"true")
        while not reply.stirs:
            reply.feed(watch.stdout.readline())
        watch.stdin.close()
        assert watch.wait(PATIENCE) == 0


def test_a_watch_ends_when_nobody_hears_it(any_host: Host) -> None:
    """Though its input does not end."""
    with watching(any_host) as watch:
        assert watch.stdin and watch.stdout
        while watch.stdout.readline() != b"beat\n":
            continue
        watch.stdout.close()
        assert watch.wait(PATIENCE) == 0


def test_a_watch_does_not_live_for_ever(any_host: Host) -> None:
    with watching(any_host, life=1) as watch:
        assert watch.stdout
        said = watch.stdout.read()
        assert watch.wait(PATIENCE) == 0
    assert said.count(b"\nbeat\n") == 1
