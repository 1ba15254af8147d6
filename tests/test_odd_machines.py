"""This machine as it may be: no /proc, an older locale, a directory that is gone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sshjobs import transports
from sshjobs.settings import Settings
from tests.cli import Cli, Ended

_ROOT = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root has a mount namespace of its own"
)

_HIDDEN = {
    "none": "mount -t tmpfs none /proc",
    "processes only": "mount -t proc -o subset=pid proc /proc",
    "own processes": "mount -t proc -o hidepid=2 proc /proc",
}


def _with_proc(cli: Cli, mount: str, *words: str) -> Ended:
    line = f'{mount} && exec "$@"'
    argv = ["unshare", "-m", "sh", "-c", line, "sh", sys.executable, "-m", "sshjobs"]
    process = subprocess.run(
        [*argv, *words], env=cli.env, capture_output=True, timeout=100
    )
    return Ended(process.returncode, process.stdout, process.stderr)


@_ROOT
@pytest.mark.parametrize("mount", _HIDDEN.values(), ids=_HIDDEN)
def test_a_proc_that_is_hidden_here_costs_nothing(cli: Cli, mount: str) -> None:
    """The client's /proc: that of the host is another."""
    assert cli.sshd is not None
    cli.ok("connect", cli.host)
    ended = _with_proc(cli, mount, "run", cli.host, "--", "echo hi")
    assert (ended.status, ended.out) == (0, "hi\n"), ended
    cli.ok("disconnect", cli.host)
    ended = _with_proc(cli, mount, "run", cli.host, "--", "echo anew")
    assert (ended.status, ended.out) == (0, "anew\n"), ended
    assert _with_proc(cli, mount, "disconnect", cli.host).status == 0
    assert _with_proc(cli, mount, "list").status == 0


def _locales(place: Path) -> list[dict[str, str]]:
    """Return environments in which Python does not read arguments as UTF-8."""
    found = [{"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}]
    if shutil.which("localedef"):
        name = "en_US.ISO-8859-1"
        made = ["localedef", "-i", "en_US", "-f", "ISO-8859-1", str(place / name)]
        if subprocess.run(made, capture_output=True).returncode == 0:
            found.append({"LC_ALL": name, "LOCPATH": str(place), "PYTHONUTF8": "0"})
    return found


def _run(cli: Cli, env: dict[str, str], *words: bytes) -> Ended:
    process = subprocess.run(
        [sys.executable, "-m", "sshjobs", *words],
        env=cli.env | env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=100,
    )
    return Ended(process.returncode, process.stdout, process.stderr)


def test_texts_keep_their_bytes_in_an_older_locale(cli: Cli, place: Path) -> None:
    """A key is the same from a login and from cron; a directory is bytes."""
    folders = [
        os.path.join(os.fsencode(place), name) for name in (b"\xc3\xa9", b"\xe9 x")
    ]
    for folder in folders:
        os.mkdir(folder)
        os.chmod(folder, 0o755)
    for number, env in enumerate(_locales(place)):
        host = cli.host.encode()
        for folder in folders:
            ended = _run(cli, env, b"run", host, b"--cwd", folder, b"--", b"pwd")
            assert (ended.status, ended.raw) == (0, folder + b"\n"), ended
        key = "schlüssel%d" % number
        flags = [b"--key", key.encode(), b"--name", "name-é".encode()]
        ended = _run(cli, env, b"submit", host, *flags, b"--", "echo é".encode())
        job = cli.job(ended.id)
        assert (job["key"], job["name"], job["command"]) == (key, "name-é", "echo é")
        cli.ok("wait", job["id"])
        assert cli.ok("submit", cli.host, "--key", key, "--", "echo é").id == ended.id
        found = _run(cli, env, b"poll", f"key:{key}".encode(), b"--sensor")
        assert found.status == 0, found
        assert cli.ok("logs", job["id"]).raw == "é\n".encode()


def _from_gone(cli: Cli, place: Path, *words: str, **env: str) -> Ended:
    """Run a command in a directory that is not there any more."""
    gone = place / "gone"
    gone.mkdir()
    line = f'cd {gone} && rmdir {gone} && exec "$@"'
    argv = ["sh", "-c", line, "sh", sys.executable, "-m", "sshjobs", *words]
    process = subprocess.run(
        argv,
        env=cli.env | env | {"PYTHONSAFEPATH": "1"},
        capture_output=True,
        timeout=100,
    )
    return Ended(process.returncode, process.stdout, process.stderr)


def test_a_directory_that_is_gone_is_no_hindrance(cli: Cli, place: Path) -> None:
    ended = _from_gone(cli, place, "run", cli.host, "--", "echo hi")
    assert (ended.status, ended.out) == (0, "hi\n"), ended


def test_a_relative_path_from_a_directory_that_is_gone(cli: Cli, place: Path) -> None:
    for words, env, said in (
        (["list"], {"SSHJOBS_SSH_CONFIG": "config"}, "ssh_config"),
        (["submit", cli.host, "-i", "key", "--", "true"], {}, "-i"),
        (["submit", cli.host, "-F", "cfg", "--", "true"], {}, "ssh_config"),
        (["submit", cli.host, "--from", "jobs"], {}, "jobs"),
        (["submit", cli.host, "--stdin", "in", "--", "true"], {}, "in"),
        (["list"], {"SSHJOBS_CONFIG": "c.toml"}, "c.toml"),
    ):
        ended = _from_gone(cli, place, *words, **env)
        assert ended.status == 64 and said in ended.err, ended
        assert "standard output" not in ended.err and len(ended.err.splitlines()) == 1


@pytest.mark.parametrize("transport", ["openssh", "fabric"])
@pytest.mark.parametrize("quoted", ['"{}"', "'{}'"])
def test_an_include_may_hold_a_blank(place: Path, transport: str, quoted: str) -> None:
    """A file that comes into such a directory counts from then on."""
    if transport == "fabric" or quoted[0] == '"' or _quotes_singly():
        folder = place / "with blank"
        folder.mkdir()
        (folder / "one").write_text("Host h\n Port 2222\n")
        config = place / "config"
        config.write_text(f"Include {quoted.format(f'{folder}/*')}  # these\n")
        settings = Settings(ssh_config=str(config), transport=transport)
        identity = transports.resolve_host("h", settings)
        assert identity.port == 2222
        assert str(folder) in [path for path, _, _ in identity.files]
        (folder / "another").write_text("Host h\n Port 2223\n")
        assert not identity.is_fresh()


def _quotes_singly() -> bool:
    """Tell whether this ssh knows single quotes (8.7, argv_split)."""
    said = subprocess.run(["ssh", "-V"], capture_output=True, text=True).stderr
    numbers = said.removeprefix("OpenSSH_").split("p")[0].split(".")
    return tuple(map(int, numbers[:2])) >= (8, 7)
