"""Which process a record means."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from sshjobs import processes
from sshjobs.processes import is_that_process, read_start_time

pytestmark = pytest.mark.quick


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    argv = [sys.executable, "-S", "-c", "import time; time.sleep(60)"]
    with subprocess.Popen(argv) as one:
        yield one
        one.kill()


def test_a_record_means_one_process(sleeper: subprocess.Popen[bytes]) -> None:
    start = read_start_time(sleeper.pid)
    assert start and is_that_process(sleeper.pid, start)
    assert not is_that_process(sleeper.pid, start + "1")
    sleeper.kill()
    sleeper.wait()
    assert not is_that_process(sleeper.pid, start)
    assert is_that_process(os.getpid(), "whatever it is")


def test_a_record_of_an_older_store_has_the_ticks_alone(
    sleeper: subprocess.Popen[bytes],
) -> None:
    start = read_start_time(sleeper.pid)
    assert start and "." in start
    ticks = start.rpartition(".")[2]
    assert is_that_process(sleeper.pid, ticks)
    assert not is_that_process(sleeper.pid, ticks + "0")


def test_without_a_start_time_the_number_counts_where_nothing_tells_it(
    sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not is_that_process(sleeper.pid, "")
    monkeypatch.setattr(processes, "has_proc", lambda: False)
    assert is_that_process(sleeper.pid, "")
    sleeper.kill()
    sleeper.wait()
    assert not is_that_process(sleeper.pid, "")
