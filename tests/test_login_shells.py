"""Any login shell, each with an rc file that makes noise: needs root for the users."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli import Cli, end_jobs
from tests.sshd import Sshd

NOISE = "echo NOISE-OUT; echo NOISE-ERR >&2\n"
#: The shell, and the files in the home directory that it reads before a command.
RC_FILES = {
    "dash": [".profile"],
    "bash": [".bashrc"],
    "zsh": [".zshenv"],
    "fish": [".config/fish/config.fish"],
    "tcsh": [".tcshrc", ".cshrc"],
}
TCSH_NOISE = 'echo NOISE-OUT; sh -c "echo NOISE-ERR >&2"; alias sh echo no\n'


@pytest.fixture(params=list(RC_FILES))
def login(request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of a user whose login shell is this one."""
    shell = shutil.which(request.param)
    if os.geteuid() != 0 or shell is None:
        if os.environ.get("CI") == "true" and os.geteuid() == 0:
            pytest.fail(f"CI must have {request.param}")
        pytest.skip(f"needs root and {request.param}")
    name = f"sj-{request.param}"
    subprocess.run(["userdel", "-r", "-f", name], capture_output=True, check=False)
    subprocess.run(["useradd", "-m", "-s", shell, name], check=True)
    entry = pwd.getpwnam(name)
    for rc in RC_FILES[request.param]:
        path = Path(entry.pw_dir, rc)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(TCSH_NOISE if request.param == "tcsh" else NOISE)
    subprocess.run(["chown", "-R", name, entry.pw_dir], check=True)
    yield name
    subprocess.run(["userdel", "-r", "-f", name], capture_output=True, check=False)


@pytest.fixture
def shell_box(login: str, place: Path, need_sshd: None) -> Iterator[Cli]:
    """A host where that user logs in."""
    folder = place / "sshd"
    folder.mkdir(mode=0o755)
    home = Path(pwd.getpwnam(login).pw_dir)
    with Sshd(folder, login) as sshd:
        cli = Cli(sshd, place / "home", home / ".sshjobs")
        yield cli
        cli.close()
        end_jobs(cli.base)


#: A line that means the same in all of these shells.
LINE = r"""printf '%s\n' "a  b" 'c "d" \e $F g! `h`' | cat; printf '%s' é"""


def test_a_shell_line_is_the_login_shells_own(shell_box: Cli, login: str) -> None:
    ended = shell_box.ok("run", "box", "--", LINE)
    assert ended.out.endswith("a  b\n" + r'c "d" \e $F g! `h`' + "\né"), ended
    assert "NOISE" not in ended.err
    two = shell_box.ok("run", "box", "--", "echo one\necho two")
    assert two.lines[-2:] == ["one", "two"]
    name = login.removeprefix("sj-")
    shell = shell_box.ok(
        "run",
        "box",
        "--",
        "ps -o args= -p $$" if name != "fish" else "ps -o args= -p $fish_pid",
    )
    assert name in shell.lines[-1]


def test_another_shell_may_be_named(shell_box: Cli) -> None:
    ended = shell_box.ok("run", "box", "--shell", "sh", "--", 'x="a b"; echo "${x#a}"')
    assert ended.out == " b\n"


def test_an_argument_vector_is_exact(shell_box: Cli) -> None:
    words = ["!!", "two\nlines", "back\\slash\\\\", "$HOME `id` 'q' \"d\"", "", "é"]
    ended = shell_box.ok("run", "box", "--", "printf", "%s|", *words)
    assert ended.raw == "".join(f"{word}|" for word in words).encode()


def test_the_rest_of_a_jobs_life(shell_box: Cli) -> None:
    assert shell_box("run", "box", "--", "exit 3").status == 3
    assert shell_box("run", "box", "--timeout", "1", "--", "sleep 60").status == 124
    job = shell_box.submit("--", "sleep 60")
    shell_box.ok("kill", job)
    assert shell_box.job(job)["state"] == "CANCELLED"
    big = "echo '" + "x" * 1_000_000 + "' | wc -c"
    ended = shell_box("run", "box", stdin=big.encode())
    assert ended.out.split()[-1] == "1000001", ended
    assert len(shell_box.ok("reap", "--json").objects) == 4
