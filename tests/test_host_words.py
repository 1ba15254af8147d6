"""What a host says of a refusal reaches who reads the error, and nobody insists."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import pam
from tests.cli import Cli

NewBox = Callable[..., Cli]

needs_pam = pytest.mark.skipif(not pam.is_here(), reason="only root can make PAM rules")

_ADOPT = "Access denied by pam_slurm_adopt: you have no active jobs on this node"


@pytest.fixture
def rules(place: Path, new_box: NewBox) -> Iterator[tuple[pam.Rules, Cli]]:
    """PAM rules that let everybody in, and the host that has them."""
    with pam.new_rules(place, new_box) as made:
        yield made


def script(place: Path, text: str) -> Path:
    """Write a program."""
    path = place / "script"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@needs_pam
def test_an_account_that_is_refused_by_fabric(
    rules: tuple[pam.Rules, Cli], place: Path
) -> None:
    pam_rules, cli = rules
    assert cli.sshd is not None
    cli.env["SSHJOBS_TRANSPORT"] = "fabric"
    path = script(place, f'echo "{_ADOPT}"; exit 1')
    pam_rules.say(account=f"required pam_exec.so stdout quiet {path}")
    for _ in range(2):
        ended = cli("run", "box", "--", "true")
        assert ended.status == 77 and _ADOPT in ended.err, ended
        assert "MaxStartups" not in ended.err
    assert cli.sshd.connections == 1


@needs_pam
def test_an_account_that_is_refused_without_a_word_through_fabric(
    rules: tuple[pam.Rules, Cli],
) -> None:
    """Once it may be the network; the second time it is the account."""
    pam_rules, cli = rules
    cli.env["SSHJOBS_TRANSPORT"] = "fabric"
    assert cli.sshd is not None
    pam_rules.say(account="required pam_deny.so")
    for _ in range(2):
        ended = cli("run", "box", "--", "true")
        assert ended.status == 77 and "the account was refused" in ended.err, ended
    assert cli.sshd.connections == 2 and cli.hosts()["drops"] == 0
    pam_rules.say()
    cli.ok("connect", "box")
    cli.ok("run", "box", "--", "true")


@needs_pam
@pytest.mark.parametrize("kind", ["nologin", "adopt", "deny"])
def test_an_account_that_is_refused_after_a_good_key(
    rules: tuple[pam.Rules, Cli], place: Path, kind: str
) -> None:
    (pam_rules, cli), words = rules, ""
    assert cli.sshd is not None
    if kind == "nologin":
        words = "System is going down for maintenance"
        (place / "nologin").write_text(f"{words}\n")
        pam_rules.say(account=f"required pam_nologin.so file={place}/nologin")
    elif kind == "adopt":
        words = _ADOPT
        path = script(place, f'echo "{words}"; exit 1')
        pam_rules.say(account=f"required pam_exec.so stdout quiet {path}")
    else:
        pam_rules.say(account="required pam_deny.so")
    for _ in range(3):
        ended = cli("run", "box", "--", "true")
        assert ended.status == 77, ended
        assert words in ended.err and "the account was refused" in ended.err
        assert "MaxStartups" not in ended.err and "nothing ran there" in ended.err
    # Without a word it could have been the network, once.
    assert cli.sshd.connections == (1 if words else 2)
    assert cli.hosts()["drops"] == 0
    pam_rules.say()
    cli.ok("connect", "box")
    cli.submit("--", "true")


@needs_pam
def test_a_session_that_pam_refuses(rules: tuple[pam.Rules, Cli], place: Path) -> None:
    pam_rules, cli = rules
    path = script(place, 'echo "Too many logins for tester."; exit 1')
    pam_rules.say(session=f"required pam_exec.so stdout quiet {path}")
    ended = cli("run", "box", "--", "true")
    assert ended.status == 69, ended
    assert "Too many logins for tester." in ended.err and "status 254" in ended.err


#: Programs that an account may be bound to, and what each says.
BOUND = {
    "bash -r -c exec\\ sh": "exec: restricted",
    "git-shell -c exec\\ sh": "fatal: unrecognized command 'exec sh'",
    "tmux": "terminal",
    "echo 'Password change required but no TTY available.' >&2; exit 1": "no TTY",
    "ulimit -u 0; exec sh": "no process left for this user",
    "printf '\\033[31mred\\n\\007' >&2; exit 9": "\\x1b[31mred",
    "echo on stdout; echo on stderr >&2; exit 9": 'on stdout", and on stderr "on std',
}


@pytest.mark.parametrize("command", BOUND)
def test_words_of_a_shell_that_runs_no_program(new_box: NewBox, command: str) -> None:
    program = command.split()[0]
    if not shutil.which(program) and program != "ulimit":
        pytest.skip(f"no {program} here")
    cli = new_box(ForceCommand=command)
    words = BOUND[command]
    ended = cli("run", "box", "--", "true")
    assert ended.status in (69, 75), ended
    assert words in ended.err and "it said nothing" not in ended.err, ended
    assert all(map(str.isprintable, ended.err.splitlines())), ended


def test_words_of_a_reply_that_breaks_off(new_box: NewBox) -> None:
    cut = '(eval "$SSH_ORIGINAL_COMMAND") | head -c 90; echo enough of you >&2; exit 7'
    cli = new_box(ForceCommand=cut)
    cli.env["SSHJOBS_MAX_RECONNECT_ATTEMPTS"] = "1"
    ended = cli("submit", "box", "--", "true")
    assert ended.status == 75, ended
    assert "broke off" in ended.err and "enough of you" in ended.err, ended


def test_a_flood_of_words_is_cut(new_box: NewBox) -> None:
    cli = new_box(ForceCommand="yes first | head -c 100000 >&2; echo last >&2; exit 4")
    ended = cli("run", "box", "--", "true")
    assert ended.status == 69 and "first" in ended.err, ended
    assert len(ended.err) < 2000


def test_banner_of_a_host_is_no_word_of_ssh(new_box: NewBox, place: Path) -> None:
    banner = place / "banner"
    banner.write_text("Connection timed out, Permission denied (to strangers)\n")
    cli = new_box(Banner=banner, AuthorizedKeysFile="none")
    ended = cli("run", "box", "--", "true")
    assert ended.status == 77 and "Permission denied (publickey)" in ended.err, ended
    assert "the host said: Connection timed out" in ended.err
