"""The base directory: ours, private, of this version, and swept."""

from __future__ import annotations

import os
import subprocess

import pytest

from sshjobs import protocol
from sshjobs.protocol import Request
from tests.remote.host import Host, an_order, of


def test_a_base_that_is_a_link_is_refused(host: Host) -> None:
    (host.home / "else").mkdir()
    host.base.symlink_to(host.home / "else")
    failed = of(protocol.Failed, host.run())
    assert (failed[0].code, failed[0].hint != "") == ("EBASE", True)


@pytest.mark.parametrize("name", ["jobs", "journal", "now", "tools", "swept", "layout"])
def test_a_link_inside_the_base_is_not_followed(host: Host, name: str) -> None:
    host.run()
    (machine,) = (path for path in host.base.iterdir() if (path / "journal").exists())
    kept = host.home / "kept"
    kept.write_text("kept\n")
    path = (host.base if name in ("jobs", "layout") else machine) / name
    if path.is_dir():
        path.rmdir()
    else:
        path.unlink()
    path.symlink_to(kept)
    for request in (Request(), Request(starts=(an_order(b"true"),))):
        failed = of(protocol.Failed, host.run(request))
        assert failed[0].code == "EBASE" and "symbolic link" in failed[0].text
    assert kept.read_text() == "kept\n"


def test_a_base_that_others_may_write_to_is_refused(host: Host) -> None:
    host.base.mkdir()
    host.base.chmod(0o777)
    failed = of(protocol.Failed, host.run())
    assert failed[0].code == "EBASE" and "writable by others" in failed[0].text


def test_a_base_of_a_newer_version_is_refused(host: Host) -> None:
    host.run()
    (host.base / "layout").write_text("2\n")
    assert of(protocol.Failed, host.run())[0].code == "EVERSION"


def test_a_base_that_is_named_needs_no_home(host: Host) -> None:
    del host.env["HOME"]
    said = host.run(Request(base_dir=str(host.base)))
    assert of(protocol.Hello, said)


def test_half_made_directories_of_dead_rounds_are_swept(any_host: Host) -> None:
    """A zombie counts as dead: PID 1 of a container may never reap it."""
    any_host.run()
    (journal,) = any_host.base.glob("*/journal")
    half_made = []
    with subprocess.Popen(["true"]) as zombie:
        os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
        for pid in (zombie.pid, os.getpid()):
            half_made.append(any_host.base / f"new/{journal.parent.name}.{pid}.ab.cd")
            half_made[-1].mkdir()
        any_host.run()
        assert [path.exists() for path in half_made] == [False, True]
