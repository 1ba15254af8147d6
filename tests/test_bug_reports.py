"""Accounts, start-up files and configurations that people really have.

Each was in public bug reports of programs that run commands over ssh. A job does there
what ``ssh HOST LINE`` does; where ssh itself fails, the error names the cause.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.cli import Cli, end_jobs
from tests.sshd import Sshd
from tests.test_environments import by_ssh

NAME = f"sj-br{os.getpid()}"

Make = Callable[..., Cli]


@pytest.fixture
def account(place: Path, need_sshd: None) -> Iterator[Make]:
    """Makes a user with a login shell, a home and start-up files, and a host for it."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to make users")
    with ExitStack() as stack:

        def make(
            shell: str = "bash",
            files: dict[str, str] | None = None,
            home: str | bytes = "",
            name: str = NAME,
            lines: tuple[str, ...] = (),
            before: str = "",
            prepare: Callable[[bytes], object] = lambda home: None,
            **options: Any,
        ) -> Cli:
            path = shutil.which(shell)
            if path is None:
                pytest.skip(f"no {shell} here")
            where = os.fsencode(home or place / "login")
            erase(name)
            os.makedirs(os.path.dirname(where), exist_ok=True)
            subprocess.run(["useradd", "-m", "-d", where, "-s", path, name], check=True)
            stack.callback(erase, name)
            for file, text in (files or {}).items():
                target = os.path.join(where, os.fsencode(file))
                os.makedirs(os.path.dirname(target), exist_ok=True)
                Path(os.fsdecode(target)).write_text(text)
            subprocess.run(["chown", "-R", name, where], check=True)
            prepare(where)
            folder = place / "sshd"
            folder.mkdir(mode=0o755)
            sshd = stack.enter_context(Sshd(folder, name, **options))
            sshd.write_client_config(*lines, before=before)
            base = Path(os.fsdecode(where)) / ".sshjobs"
            cli = Cli(sshd, place / "home", base)
            del cli.env["SSHJOBS_REMOTE_BASE_DIR"]
            stack.callback(end_jobs, base)
            stack.callback(cli.close)
            return cli

        yield make


def erase(name: str) -> None:
    """Remove a user; its home goes with the test's directory."""
    subprocess.run(["userdel", "-f", name], capture_output=True, check=False)


def works(cli: Cli) -> None:
    """Take the steps of a job's life."""
    ended = cli("run", cli.host, "--", "echo out; exit 3")
    assert (ended.status, b"out\n" in ended.raw) == (3, True), ended
    ended = cli.ok("run", cli.host, "--", "head", "-c", "100000", "/dev/zero")
    assert ended.raw.endswith(bytes(100000)), ended
    job = cli.submit("--key", "k", "--", "sleep 1000")
    assert cli.submit("--key", "k", "--", "sleep 1000") == job
    cli.ok("kill", job)
    assert cli.job(job)["state"] == "CANCELLED"
    assert len(cli.ok("reap", "--json").objects) == 3
    assert cli.sshd is not None and cli.sshd.connections <= 2


def sample(kinds: Iterable[str], *quick: str) -> list[Any]:
    """Return all kinds, of which only some are not slow."""
    return [
        pytest.param(kind, marks=() if kind in quick else pytest.mark.slow)
        for kind in kinds
    ]


SHOW = 'echo "$SHLVL|$SHELL|$HOME|$PWD|$LOGNAME"; umask'


LOGINS = ("bash", "zsh", "tcsh", "fish", "ksh", "mksh", "dash")


@pytest.mark.parametrize("shell", sample(LOGINS, "bash"))
def test_variables_of_the_shell_are_those_of_ssh(account: Make, shell: str) -> None:
    line = re.sub('["|]', " ", SHOW) if shell == "tcsh" else SHOW
    cli = account(shell)
    assert cli.ok("run", cli.host, "--", "env").raw  # the base is there
    ours, theirs = cli("run", cli.host, "--", line).raw, by_ssh(cli, line, check=False)
    assert ours == theirs


RC = {
    "SHELL": "export SHELL=/bin/sh\n",
    "SHELL that is none": "export SHELL=/no/such/shell\n",
    "prints": "echo welcome; echo oops >&2\n",
    "cd": "cd /usr\n",
    "traps": "trap 'echo bye' EXIT; trap '' TERM HUP\n",
    "set -euo": "set -euo pipefail\n",
    "noclobber": "set -C; set -f\n",
    "exported options": "set -eu; export SHELLOPTS\n",
    "umask 777": "umask 777\n",
    "stty": "stty erase ^H\n",
    "alias": "shopt -s expand_aliases; alias rm='rm -i' ls='ls --color' cd=pushd\n",
    "functions": 'cd() { builtin cd "$@" && ls; }; rm() { :; }; export -f cd rm\n',
    "TMPDIR": "export TMPDIR=/no/such TMP=/no/such TEMP=/no/such\n",
    "PATH": "export PATH=$PATH$(printf ':/very/long/path%.0s' $(seq 2500))\n",
    "IFS": "export IFS=:\n",
    "ulimit": "ulimit -c 0; ulimit -n 64\n",
    "ENV": "export PROMPT_COMMAND='echo x' PS4='$(echo y)' ENV=/no BASH_ENV=~/.other\n",
    "LC": "export LC_ALL=xx_YY.UTF-8 LANG=zz LANGUAGE=de\n",
    "LD": "export LD_PRELOAD=/no/such.so LD_LIBRARY_PATH=/tmp\n",
    "CDPATH": "export CDPATH=/:/usr:.\n",
    "TMOUT": "readonly TMOUT=1; export TMOUT\n",
    "slow": "sleep 2\n",
    "job": "sleep 300 &\n",
    "disowned": "(setsid sleep 301 >/dev/null 2>&1 </dev/null &)\n",
}


@pytest.mark.parametrize("kind", sample(RC, "exported options", "functions"))
def test_start_up_files(account: Make, kind: str) -> None:
    works(account("bash", {".bashrc": RC[kind], ".other": "echo other\n"}))


HOMES: dict[str, str | bytes] = {
    "space": "/tmp/{} a b/c d",
    "quotes": "/tmp/{}'q\"$x`y\\z",
    "glob": "/tmp/{}[a]*?",
    "dash": "/tmp/{}/-rf",
    "bytes": b"/tmp/{}\xff\xe9",
    "tilde": "/tmp/{}/~",
    "percent": "/tmp/{}%h%%x",
}


@pytest.mark.parametrize("kind", sample(HOMES, "quotes", "bytes"))
def test_a_home_by_an_odd_name(account: Make, kind: str) -> None:
    home = os.fsencode(HOMES[kind]).replace(b"{}", os.fsencode(NAME))
    try:
        works(account("bash", home=home))
    finally:
        for path in Path("/tmp").glob(f"{NAME}*"):
            shutil.rmtree(path)


SERVERS: dict[str, dict[str, Any]] = {
    "no terminal": {"PermitTTY": "no"},
    "forced eval": {"ForceCommand": 'eval "$SSH_ORIGINAL_COMMAND"'},
    "forced shell": {"ForceCommand": 'exec bash -c "$SSH_ORIGINAL_COMMAND"'},
    "forced words": {"ForceCommand": "$SSH_ORIGINAL_COMMAND"},
    "forced login shell": {"ForceCommand": 'exec bash -lc "$SSH_ORIGINAL_COMMAND"'},
    "no forwarding": {"DisableForwarding": "yes"},
    "variables": {"AcceptEnv": "*", "PermitUserEnvironment": "yes"},
    "alive": {"ClientAliveInterval": 1, "ClientAliveCountMax": 3},
    "rekey": {"RekeyLimit": "64K 1"},
    "compression": {"Compression": "yes"},
    "no compression": {"Compression": "no"},
    "one try": {"MaxAuthTries": 1},
    "one startup": {"MaxStartups": 1},
    "banner": {"Banner": "/etc/services"},
    "grace": {"LoginGraceTime": 2},
    "dns": {"UseDNS": "yes"},
    "motd": {"PrintMotd": "yes", "PrintLastLog": "yes"},
    "lazy keys": {"PubkeyAuthOptions": "touch-required"},
}


@pytest.mark.parametrize("kind", sample(SERVERS, "forced words"))
def test_a_server(account: Make, kind: str) -> None:
    files = {".ssh/rc": "echo from sshrc >&2\n", ".ssh/environment": "A=b\n"}
    works(account("bash", files, **SERVERS[kind]))


CLIENTS = {
    "a master of the user's": "ControlMaster auto|ControlPath {}/cm-%C",
    "a master that asks": "ControlMaster ask|ControlPath none",
    "no master": "ControlMaster no|ControlPath none|ControlPersist no",
    "RemoteCommand": "RemoteCommand echo never",
    "RequestTTY": "RequestTTY force",
    "StdinNull": "StdinNull yes|ForkAfterAuthentication yes",
    "SessionType": "SessionType none",
    "QUIET": "LogLevel QUIET",
    "DEBUG3": "LogLevel DEBUG3",
    "EscapeChar": "EscapeChar none",
    "LocalCommand": "PermitLocalCommand yes|LocalCommand echo local; touch {}/local",
    "BatchMode": "BatchMode no",
    "UpdateHostKeys": "UpdateHostKeys yes|HashKnownHosts yes|VisualHostKey yes",
    "IPQoS": "IPQoS none|StreamLocalBindMask 0111|StreamLocalBindUnlink yes",
    "canonical": "CanonicalizeHostname yes|CanonicalDomains example.invalid",
    "forwards": (
        "LocalForward 127.0.0.1:1 127.0.0.1:1|RemoteForward 1 127.0.0.1:1|"
        "ExitOnForwardFailure yes|ForwardAgent yes|ForwardX11 yes"
    ),
    "agent": "AddKeysToAgent yes|IdentitiesOnly no",
    "env": "SendEnv *|SetEnv LC_ALL=C LS_BLOCK_SIZE=1K",
    "compression": "Compression yes|RekeyLimit 64K 1",
    "command of known hosts": "KnownHostsCommand /bin/cat {}/known_hosts",
    "unknown": "IgnoreUnknown NoSuch*|NoSuchOption yes",
    "alias of the key": "CheckHostIP no|TCPKeepAlive no",
    "gssapi": "GSSAPIAuthentication yes|HostbasedAuthentication yes",
    "quick alive": "ServerAliveInterval 1|ServerAliveCountMax 2",
    "log verbose": "LogVerbose *",
}


@pytest.mark.parametrize("kind", sample(CLIENTS, "RequestTTY", "env"))
def test_a_client(account: Make, place: Path, kind: str) -> None:
    sshd = place / "sshd"
    lines = CLIENTS[kind].replace("{}", str(sshd)).split("|")
    cli = account("bash", lines=tuple(lines))
    assert cli.sshd is not None
    works(cli)
    assert not (sshd / "local").exists()
    subprocess.run(
        ["ssh", "-F", cli.sshd.config, "-O", "exit", cli.host],
        capture_output=True,
        check=False,
    )


def test_an_account_whose_sessions_never_begin_costs_few_logins(
    account: Make, place: Path
) -> None:
    """sshd takes the key, and ends the connection over the owner of ChrootDirectory."""
    cli = account("bash", ChrootDirectory=place / "login")
    assert cli.sshd is not None
    for _ in range(2):
        before = cli.sshd.connections
        ended = cli("submit", cli.host, "--", "true")
        assert ended.status in (69, 75) and "right after the login" in ended.err, ended
        assert "ChrootDirectory" in ended.err
        assert cli.sshd.connections - before <= 5


def test_a_shell_that_is_none_is_not_taken_for_the_login_shell(account: Make) -> None:
    cli = account("bash", {".bashrc": "export SHELL=/no/such/shell\n"})
    line = "echo $BASH_VERSION $SHELL"
    assert cli.ok("run", cli.host, "--", line).raw == by_ssh(cli, line)


@pytest.mark.parametrize("rc", ["cat >/dev/null", "PATH=/nowhere"])
def test_an_account_that_runs_nothing_of_ours(account: Make, rc: str) -> None:
    cli = account("bash", {".bashrc": f"{rc}\n"})
    ended = cli("submit", cli.host, "--", "true")
    assert ended.status == 69 and "did not run our program" in ended.err, ended
    assert "standard input" in ended.err and cli.ok("list").out == ""
