"""A host that loses its awk while jobs run: what was to end ends, and that is said."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from sshjobs import protocol
from sshjobs.protocol import Check, Request
from tests.hosts import without
from tests.remote.host import Host, end_all, of, wait

SHELLS = ("dash", "bash", "busybox", "ksh")


@pytest.fixture(params=SHELLS)
def host(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Host]:
    """A host whose PATH is a directory of links."""
    shell, awk = shutil.which(request.param), shutil.which("mawk")
    if not shell or not awk:
        pytest.skip(f"no {request.param} or mawk here")
    tools = tmp_path / "tools"
    found = Host(tmp_path, without(tools, "awk", "sh"))
    (tools / "sh").symlink_to(shell)
    (tools / "awk").symlink_to(awk)
    yield found
    end_all(found)


def lose(host: Host) -> Path:
    """Take the awk away; return where it stood."""
    awk = Path(host.path.split(":")[0]) / "awk"
    awk.rename(awk.with_name("lost-awk"))
    return awk


#: One that goes on after TERM, with a child in its group.
STUBBORN = b"trap : TERM\nsleep 1000 &\nwhile :; do sleep 1; done"


@pytest.mark.parametrize("command", [b"sleep 1000", STUBBORN])
def test_a_timeout_ends_its_job_and_says_how(host: Host, command: bytes) -> None:
    job_id = host.running(command, timeout=1.0, kill_grace=1.0).job_id
    awk = lose(host)
    assert of(protocol.Failed, host.run())[0].text == "there is no awk on the host"
    wait(lambda: b"end=" in (host.jobs / job_id / "run").read_bytes())
    awk.with_name("lost-awk").rename(awk)
    said = host.run(Request(checks=(Check(job_id, None, ""),)))
    (end,) = of(protocol.Ended, said)
    assert end.cause == "timeout" and "no awk any more" in end.reason


def test_a_kill_that_was_begun_ends_its_job(host: Host) -> None:
    job_id = host.running(STUBBORN, kill_grace=2.0).job_id
    host.run(Request(kills=(job_id,)))
    awk = lose(host)
    wait(lambda: b"end=" in (host.jobs / job_id / "run").read_bytes())
    awk.with_name("lost-awk").rename(awk)
    assert host.end(job_id).cause == "cancelled"
