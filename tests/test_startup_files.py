"""A shell line has what it has under ``ssh HOST LINE``: needs root for the user."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli import Cli, Ended, end_jobs
from tests.hosts import Kind, world
from tests.sshd import Sshd
from tests.test_environments import by_ssh

NAME = f"sj-rc{os.getpid()}"

RICH = r"""
echo noise
export FROM_RC="a  b"
plain=2
module() { echo "module $*"; }
exported() { echo exported; }
export -f exported
alias ll='echo alias'
shopt -s extglob
export LESS=-R
umask 027
"""
GUARDED = """
case $- in
    *i*) ;;
      *) return;;
esac
echo never
"""
#: What .bashrc may be, and lines whose output is to be the same.
FILES = {
    "rich": RICH,
    "guarded": GUARDED,
    "guarded by PS1": '[ -z "$PS1" ] && return\necho never\n',
    "that fails": "no-such-command\nfalse\n",
    "with a mistake": "if then\n",
    "set -e": "set -e\n",
    "exec zsh, guarded": "[ -t 0 ] && exec zsh\n",
    "reads": "read x </dev/null\n",
    "none": "",
}
LINES = (
    'echo "$FROM_RC|$plain|$PS1|$SHLVL"; umask; echo "$LESS"',
    "module load x; bash -c exported; ll",
    "shopt extglob login_shell expand_aliases; set +o | grep -v onecmd",
    'echo "[${BASH_ENV-unset}]" "$@" $#; false; echo $?',
)


@pytest.fixture(scope="module")
def user() -> Iterator[str]:
    """A user whose login shell is bash."""
    bash = shutil.which("bash")
    if os.geteuid() != 0 or bash is None:
        if os.environ.get("CI") == "true" and os.geteuid() == 0:
            pytest.fail("CI must have bash")
        pytest.skip("needs root and bash")
    subprocess.run(["userdel", "-r", "-f", NAME], capture_output=True, check=False)
    subprocess.run(["useradd", "-m", "-s", bash, NAME], check=True)
    yield NAME
    subprocess.run(["userdel", "-r", "-f", NAME], capture_output=True, check=False)


@pytest.fixture
def rc_box(user: str, place: Path, need_sshd: None) -> Iterator[Cli]:
    """A host where that user logs in."""
    folder = place / "sshd"
    folder.mkdir(mode=0o755)
    home = Path(pwd.getpwnam(user).pw_dir)
    with Sshd(folder, user) as sshd:
        cli = Cli(sshd, place / "home", home / ".sshjobs")
        yield cli
        cli.close()
        end_jobs(cli.base)


def write(cli: Cli, name: str, text: str) -> None:
    """Give the user a start-up file."""
    path = cli.base.parent / name
    path.unlink(missing_ok=True)
    path.write_text(text)


def ran(cli: Cli, *words: str) -> Ended:
    """Run a job; standard output is its log."""
    return cli("run", cli.host, *words)


@pytest.mark.parametrize("kind", FILES)
def test_a_line_has_what_it_has_with_ssh(rc_box: Cli, kind: str) -> None:
    """Whatever .bashrc is; only where its output goes may differ (a log has both)."""
    write(rc_box, ".bashrc", FILES[kind])
    line = "exec 2>/dev/null\n" + "\n".join(LINES)
    theirs = by_ssh(rc_box, line, check=False)
    ours = ran(rc_box, "--", line).raw
    if kind in ("that fails", "with a mistake"):
        ours = ours[ours.index(b"|") :]
        theirs = theirs[theirs.index(b"|") :]
    assert ours == theirs
    if kind == "rich":
        assert b"module load x\nexported\n" in ours and b"a  b|2||" in ours


def test_what_is_said_by_name_is_not_for_bashrc_to_change(rc_box: Cli) -> None:
    """--env and --cwd; all else is as the file has it."""
    write(rc_box, ".bashrc", "cd /tmp; export FOO=rc BAR=rc PATH=/rc:$PATH; set -x\n")
    line = 'echo "$FOO|$BAR|$PWD|${PATH%%:*}"; compgen -v sj_'
    ended = ran(rc_box, "--env", "FOO=a 'b'\n$c", "--cwd", "/usr", "--", line)
    assert "\na 'b'\n$c|rc|/usr|/rc\n" in ended.out, ended
    assert "FOO=a" not in ended.out  # no trace of a value that may be a secret
    assert "\nsj_" not in ended.out
    assert "|rc|/tmp|/rc\n" in ran(rc_box, "--", line).out


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("sh", ["dash", "bash"])
def test_whatever_serves_as_sh(
    user: str, place: Path, need_sshd: None, sh: str, strict: bool
) -> None:
    """As with Red Hat, where sh is bash; and with a login that wants POSIX mode."""
    folder = place / "sshd"
    folder.mkdir(mode=0o755)
    prefix = world(Kind(sh, "mawk", "gnu", False, "proc"), place / "world")
    options = {"SetEnv": "POSIXLY_CORRECT=y"} if strict else {}
    home = Path(pwd.getpwnam(user).pw_dir)
    with Sshd(folder, user, prefix=prefix, **options) as sshd:
        cli = Cli(sshd, place / "home", home / ".sshjobs")
        write(cli, ".bashrc", RICH)
        line = "exec 2>/dev/null\nmodule x; ll; shopt -o posix; env | grep POSIX"
        assert ran(cli, "--", line).raw == by_ssh(cli, line, check=False)
        strict_line = ran(cli, "--env", "POSIXLY_CORRECT=2", "--", "module x; ll").raw
        assert strict_line == b"noise\nmodule x\nalias\n"
        cli.close()
        end_jobs(cli.base)


def test_a_name_of_ours_that_a_login_exports(rc_box: Cli) -> None:
    """As from a job in which somebody logs in to the same host."""
    write(rc_box, ".bashrc", "export SSHJOBS_BASH_ENV=/x SSHJOBS_BASH_CWD=1\n")
    assert ran(rc_box, "--", "echo $SSHJOBS_BASH_ENV").out == "/x\n"
    assert ran(rc_box, "--", "echo", "ok").out == "ok\n"


def test_its_status_is_that_of_ssh(rc_box: Cli) -> None:
    write(rc_box, ".bashrc", FILES["rich"])
    assert ran(rc_box, "--", "exit 7").status == 7
    assert ran(rc_box, "--", "kill -9 $$").status == 137


def test_an_argument_vector_and_another_shell_are_free_of_it(rc_box: Cli) -> None:
    write(rc_box, ".bashrc", RICH)
    assert ran(rc_box, "--", "printf", "%s", "x").out == "x"
    for shell in ("sh", "bash", "bash -e"):
        line = 'echo "$plain|$SSHJOBS_BASH_ENV|$BASH_ENV"'
        assert ran(rc_box, "--shell", shell, "--", line).out == "||\n"
    assert ran(rc_box, "--shell", "bash -e", "--", "false; echo never").status == 1
    rc_box.env["SSHJOBS_SHELL_STARTUP"] = "none"
    assert ran(rc_box, "--", 'echo "$plain"').out == "\n"


def test_a_bashrc_that_exits_ends_every_session(rc_box: Cli) -> None:
    """With ssh too: no command runs there, and what it says is in the error."""
    write(rc_box, ".bashrc", "echo bye; exit 3\n")
    ended = ran(rc_box, "--", "echo never")
    assert ended.status == 69 and "bye" in ended.err


def test_what_a_job_starts_reads_it_no_more(rc_box: Cli) -> None:
    """Scripts of the job do not read it, and see a BASH_ENV of the user's own only."""
    write(rc_box, ".bashrc", "echo noise\n")
    line = "echo 'echo \"in $BASH_ENV\"' >x.sh; bash x.sh; env | grep -c BASH_ENV"
    assert ran(rc_box, "--", line).out == "noise\nin \n0\n"
    write(rc_box, "mine", "echo mine\n")
    ended = ran(rc_box, "--env", f"BASH_ENV={rc_box.base.parent}/mine", "--", line)
    assert ended.lines[:2] == ["noise", "mine"]


def test_no_argument_list_shows_the_command(rc_box: Cli) -> None:
    write(rc_box, ".bashrc", RICH)
    line = "secret=1; tr '\\0' ' ' </proc/$$/cmdline"
    out = ran(rc_box, "--", line).out
    assert "secret" not in out and "script" in out


@pytest.mark.parametrize("how", ["flag", "setting", "shell"])
def test_a_login_shell(rc_box: Cli, how: str) -> None:
    write(rc_box, ".bashrc", "")
    write(rc_box, ".bash_profile", "export PROFILE=read\n")
    line = 'echo "$PROFILE"; shopt login_shell'
    words = {"flag": ["--login"], "shell": ["--shell", "bash -l"], "setting": []}[how]
    if how == "setting":
        rc_box.env["SSHJOBS_SHELL_STARTUP"] = "login"
    assert ran(rc_box, *words, "--", line).out == "read\nlogin_shell    \ton\n"


def test_a_login_shell_of_a_batch(rc_box: Cli) -> None:
    write(rc_box, ".bashrc", "echo noise\n")
    write(rc_box, ".bash_profile", "export PROFILE=read\n")
    line = (
        b'{"command": "echo $PROFILE", "login": true}\n{"command": "echo $PROFILE"}\n'
    )
    ids = rc_box.ok("submit", rc_box.host, "--from", "-", stdin=line).lines
    rc_box.ok("wait", *ids)
    assert [rc_box.ok("logs", job).out for job in ids] == ["read\n", "noise\n\n"]
