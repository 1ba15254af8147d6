"""Logins by a password or a passphrase: answered once, seen by nobody, kept nowhere."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import pam
from tests.cli import Cli
from tests.pages import read_blocks

NewBox = Callable[..., Cli]

SECRET = "sw0rd fish$'\"\\"

#: As much of it as JSON, a shell and a log write the way it is.
TRACE = SECRET[:11].encode()

needs_pam = pytest.mark.skipif(not pam.is_here(), reason="only root can make PAM rules")

by_both = pytest.mark.parametrize("transport", ["openssh", "fabric"])


def encrypt_key(cli: Cli, passphrase: str = SECRET) -> None:
    assert cli.sshd
    words = ["ssh-keygen", "-q", "-p", "-P", "", "-N", passphrase, "-f"]
    subprocess.run([*words, str(cli.sshd.key)], check=True, stdin=subprocess.DEVNULL)


def give_password(cli: Cli, place: Path, *methods: str) -> None:
    """Let the server take one password, and no key."""
    assert cli.sshd
    cli.sshd.config.write_text(
        cli.sshd.config.read_text()
        .replace("IdentityFile", "# IdentityFile")
        .replace("IdentitiesOnly yes", "IdentityFile none")
    )


def keep_secret(cli: Cli, place: Path, text: str = SECRET) -> str:
    """Return a command that prints a secret, as of a file that a vault would be."""
    path = place / "vault"
    path.write_text(f"{text}\nanother line\n")
    path.chmod(0o600)
    return f"cat {shlex.quote(str(path))}"


@pytest.fixture(params=["password", "keyboard-interactive"])
def box(request: pytest.FixtureRequest, place: Path, new_box: NewBox) -> Iterator[Cli]:
    """A server that takes a password, by this method."""
    if not pam.is_here():
        pytest.skip("only root can make PAM rules")
    method = request.param
    options = {
        "PubkeyAuthentication": "no",
        "PasswordAuthentication": "yes" if method == "password" else "no",
        "KbdInteractiveAuthentication": "no" if method == "password" else "yes",
    }
    with pam.new_rules(place, new_box, **options) as (rules, cli):
        check = place / "check"
        check.write_text(
            "#!/usr/bin/python3\nimport sys\n"
            f"sys.exit(sys.stdin.buffer.read().strip(b'\\0') != {SECRET.encode()!r})\n"
        )
        check.chmod(0o755)
        exec_ = f"requisite pam_exec.so expose_authtok quiet {check}"
        rules.say(auth=f"{exec_}\nauth required pam_permit.so")
        give_password(cli, place)
        yield cli


def find_traces(cli: Cli, *more: Path) -> list[Path]:
    """Return files in which the secret stands."""
    roots = [cli.home, *more]
    files = [path for root in roots for path in root.rglob("*") if path.is_file()]
    return [path for path in files if TRACE in path.read_bytes()]


class Spy:
    """Looks at the arguments and environments of all processes, all the time."""

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Spy:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        mine = str(os.getpid())
        while not self._stop.is_set():
            for pid in filter(str.isdigit, os.listdir("/proc")):
                for name in ("cmdline", "environ"):
                    try:
                        data = Path(f"/proc/{pid}/{name}").read_bytes()
                    except OSError:
                        continue
                    if TRACE in data and pid != mine:
                        self.seen.add(name)


@by_both
def test_a_password_makes_one_connection(box: Cli, place: Path, transport: str) -> None:
    assert box.sshd
    box.env["SSHJOBS_PASSWORD_COMMAND"] = keep_secret(box, place)
    box.env["SSHJOBS_TRANSPORT"] = transport
    with Spy() as spy:
        every = [box.start("run", "box", "--", "echo $$") for _ in range(6)]
        ended = [one.communicate(timeout=60) + (one.returncode,) for one in every]
    assert [status for *_, status in ended] == [0] * 6, ended
    assert transport == "fabric" or box.sshd.connections == 1
    assert not spy.seen
    assert not find_traces(box)
    assert SECRET not in box.sshd.text
    assert not list(box.home.rglob("*.ask"))


def test_the_page_on_passwords(box: Cli, place: Path) -> None:
    """As printed: by the table of the config file, and by a variable."""
    [config] = read_blocks("docs/how-to/passwords.md", "toml")
    [run] = read_blocks("docs/how-to/passwords.md")
    assert box.sshd
    box.sshd.alias = "cluster"
    text = box.sshd.config.read_text()
    box.sshd.config.write_text(text.replace("Host box", "Host cluster"))
    for name, answer in (("pass", SECRET), ("secret-tool", "another")):
        (place / name).write_text(f"#!/bin/sh\necho {shlex.quote(answer)}\n")
        (place / name).chmod(0o755)
    program = place / "sshjobs"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m sshjobs "$@"\n')
    program.chmod(0o755)
    box.env["PATH"] = f"{place}:{box.env.get('PATH', os.defpath)}"
    line = run.replace("./train.sh", "echo trained")
    done = subprocess.run(["bash", "-c", line], env=box.env, stdout=-1, stderr=-1)
    assert done.stdout == b"trained\n", done
    box.ok("disconnect", "cluster")
    (place / "config.toml").write_text(config)
    box.env["SSHJOBS_CONFIG"] = str(place / "config.toml")
    assert box("run", "cluster", "--", "echo again").out == "again\n"
    assert box.sshd.connections == 2


def test_a_wrong_password_is_one_handshake_until_it_changes(
    box: Cli, place: Path
) -> None:
    assert box.sshd
    box.env["SSHJOBS_PASSWORD_COMMAND"] = keep_secret(box, place, "wrong")
    for _ in range(3):
        ended = box("run", "box", "--", "true")
        assert ended.status == 77 and "Permission denied" in ended.err, ended
    assert box.sshd.connections == 1
    keep_secret(box, place)
    assert box("run", "box", "--", "true").status == 0
    assert box.sshd.connections == 2


@by_both
def test_an_encrypted_key(cli: Cli, place: Path, transport: str) -> None:
    assert cli.sshd
    encrypt_key(cli)
    cli.env["SSHJOBS_TRANSPORT"] = transport
    assert cli("run", "box", "--", "true").status == 77
    ended = cli(
        "run", "box", "--askpass-env", "WORD", "--", "env", env={"WORD": SECRET}
    )
    assert ended.status == 0, ended
    assert SECRET not in ended.out
    assert not find_traces(cli)
    assert cli.sshd.connections == 2


def test_a_host_key_is_never_taken(cli: Cli) -> None:
    assert cli.sshd
    encrypt_key(cli)
    cli.sshd.known_hosts.write_text("")
    cli.sshd.write_client_config()
    text = cli.sshd.config.read_text()
    cli.sshd.config.write_text(
        text.replace("HostKeyChecking yes", "HostKeyChecking ask")
    )
    ended = cli(
        "run", "box", "--askpass-env", "WORD", "--", "true", env={"WORD": SECRET}
    )
    assert ended.status == 77 and "Host key verification failed" in ended.err, ended
    assert cli.sshd.known_hosts.read_text() == ""


def test_a_command_that_has_no_secret(cli: Cli) -> None:
    assert cli.sshd
    encrypt_key(cli)
    for line, word in (
        ("echo sesame >&2; exit 3", "passphrase_command ended with 3: sesame"),
        ("true", "passphrase_command printed nothing"),
    ):
        cli.env["SSHJOBS_PASSPHRASE_COMMAND"] = line
        ended = cli("run", "box", "--", "true")
        assert ended.status == 64 and word in ended.err, ended
    del cli.env["SSHJOBS_PASSPHRASE_COMMAND"]
    ended = cli("run", "box", "--askpass-env", "NONE", "--", "true")
    assert ended.status == 64 and "no variable NONE" in ended.err, ended
    assert cli.sshd.connections == 0


def test_no_other_ssh_is_answered(cli: Cli, place: Path) -> None:
    """A ProxyCommand inherits the variable; what it asks is no business of ours."""
    assert cli.sshd
    encrypt_key(cli)
    note = place / "note"
    proxy = place / "proxy"
    proxy.write_text(
        f'#!/bin/sh\n"$SSH_ASKPASS" "Enter passphrase for key \'x\': " >{note} 2>&1\n'
        f"echo $? >>{note}\nexec nc 127.0.0.1 {cli.sshd.port}\n"
    )
    proxy.chmod(0o755)
    cli.sshd.write_client_config(f"ProxyCommand {proxy}")
    cli("run", "box", "--askpass-env", "WORD", "--", "true", env={"WORD": SECRET})
    assert note.read_text() == "1\n"
