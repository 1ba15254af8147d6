"""A control socket that cannot be made here is no fault of the host, and no login."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from sshjobs import errors
from sshjobs.transports.openssh import handshake
from tests.cli import Cli
from tests.sshd import Sshd
from tests.transport_caller import TransportCaller


@pytest.fixture
def few(cli: Cli, place: Path) -> Iterator[Cli]:
    """A home on a file system with a few inodes."""
    if os.geteuid() != 0:
        pytest.skip("only root can make a file system")
    disk = place / "disk"
    disk.mkdir()
    options = "size=24m,nr_inodes=120,mode=0700"
    command = ["mount", "-t", "tmpfs", "-o", options, "none", str(disk)]
    subprocess.run(command, check=True)
    cli.home = disk / "home"
    cli.env["SSHJOBS_HOME"] = str(cli.home)
    yield cli
    cli.close()
    subprocess.run(["umount", "-l", disk], check=True)


def fill(folder: Path) -> list[Path]:
    """Use up the inodes; return the files that hold them."""
    files = [folder / f"ballast{n}" for n in range(200)]
    with suppress(OSError):
        for path in files:
            path.touch()
    return [path for path in files if path.exists()]


@pytest.mark.parametrize("verb", ["connect", "submit"])
def test_no_inode_costs_no_login(few: Cli, verb: str) -> None:
    sshd = few.sshd
    assert sshd is not None
    few.ok("hosts")
    ballast = fill(few.home.parent)
    assert ballast
    words = ("submit", "box", "--", "true") if verb == "submit" else ("connect", "box")
    logins, seen = 0, set()
    while ballast:
        ended = few(*words)
        assert ended.status in (0, 70), ended
        assert sshd.connections <= 1, ended
        assert sshd.connections == 0 or ended.status == 0 or not logins, ended
        if ended.status == 0:
            break
        assert "space left" in ended.err or "disk" in ended.err, ended
        seen.add("df -i" in ended.err)
        logins = sshd.connections
        ballast.pop().unlink()
    else:
        pytest.fail("it never worked")
    assert True in seen
    assert few.hosts()["drops"] == 0


@pytest.mark.parametrize("how", ["bind", "link"])
def test_what_the_file_system_refuses_is_said(
    sshd: Sshd, caller: TransportCaller, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that nobody may write to, by a rule that holds for root as well."""
    assert caller.identity
    folder = caller.folder
    if how == "link":
        socket = str(folder / "s.x")
        folder.mkdir(mode=0o700)
        handshake.check_socket_can_be_made(socket)
        assert os.listdir(folder) == []
        return
    if os.geteuid() == 0:
        folder.mkdir(mode=0o700)
        subprocess.run(["mount", "-t", "tmpfs", "none", folder], check=True)
        (folder / f"gate.{caller.identity.key}.0").touch(0o600)
        try:
            subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
            with pytest.raises(errors.StoreError, match="Read-only file system"):
                handshake.check_socket_can_be_made(str(folder / "s.x"))
        finally:
            subprocess.run(["umount", "-l", folder], check=True)
    assert sshd.connections == 0


def test_a_socket_that_somebody_took_for_a_leftover_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who was stopped in the gate, and goes on once another is in it, tidies up."""
    link, made = os.link, []

    def remove_first(source: str, target: str) -> None:
        made.append(source)
        if len(made) == 1:
            os.unlink(source)
        link(source, target)

    monkeypatch.setattr(os, "link", remove_first)
    handshake.check_socket_can_be_made(str(tmp_path / "s.x"))
    assert len(made) == 2 and not list(tmp_path.iterdir())
    monkeypatch.undo()
    with pytest.raises(errors.StoreError, match="cannot be made"):
        handshake.check_socket_can_be_made(str(tmp_path / "gone" / "s.x"))
