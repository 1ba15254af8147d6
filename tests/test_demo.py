"""The demonstration, as a new user would run it: it shows, and leaves nothing."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sshjobs.cli import demo
from sshjobs.model import new_job_id
from tests.cli import all_processes, eventually

TOP = Path(demo.__file__).parent.parent.parent
NEEDED = ("sshd", "ssh", "ssh-keygen")

ROOT = os.geteuid() == 0


class Demo:
    """A demonstration that runs, and what there is of it on this machine.

    Args:
        words: Its flags.
        path: PATH.
        user: Who runs it, by number or by name; by default we do.
        program: The module that has the verb.
    """

    def __init__(
        self,
        *words: str,
        path: str = "",
        user: int | str = "",
        program: str = "sshjobs",
    ) -> None:
        self._mark = f"SJTEST={new_job_id()}".encode()
        env = {"PYTHONPATH": str(TOP), "PATH": path or os.environ["PATH"], "LANG": "C"}
        python = sys.executable
        group: int | None = None
        if user != "":
            python = "/usr/bin/python3"
            group = user if isinstance(user, int) else pwd.getpwnam(user).pw_gid
        if isinstance(user, str) and user:
            env["HOME"] = pwd.getpwnam(user).pw_dir
        name, _, value = self._mark.decode().partition("=")
        self.process = subprocess.Popen(
            [python, "-m", program, "demo", *words],
            env=env | {name: value},
            cwd="/" if program == "sshjobs" else TOP,  # where inv finds its tasks.py
            user=None if user == "" else user,
            group=group,
            extra_groups=None if user == "" else [],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._top = b""

    def find_top(self) -> bool:
        """Find its directory in the command line of a process with its mark."""
        marked = {p for p, env in all_processes("environ") if self._mark in env}
        for pid, line in all_processes("cmdline"):
            words = line.split(b"\0")
            tops = [word for word in words if word.startswith(b"/tmp/sshjobs-demo-")]
            if pid in marked and tops:
                self._top = b"/".join(tops[0].split(b"/")[:3])
        return bool(self._top) or self.process.poll() is not None

    def traces(self) -> list[bytes]:
        """Return what there is of it: its directory, and processes that name it."""
        lines = [line for _, line in all_processes("cmdline") if self._top in line]
        return lines + [self._top] * os.path.exists(self._top)

    def read_until(self, words: bytes) -> None:
        """Read what it shows until something is said."""
        assert self.process.stdout
        for line in self.process.stdout:
            if words in line:
                return
        raise AssertionError(f"never said: {words!r}")

    def outcome(self) -> dict[str, object]:
        """Wait for its end, and return what it found; nothing of it is left then."""
        result: dict[str, object] = json.loads(self.show())
        return result

    def show(self) -> str:
        """Wait for its end, and return what it showed; nothing of it is left then."""
        out, err = self.process.communicate(timeout=200)
        assert (self.process.returncode, err) == (0, b"")
        assert self._top and self.traces() == []
        return out.decode()


def end(running: Demo) -> None:
    """Let nothing of a demonstration outlive its test."""
    running.process.kill()
    running.process.communicate(timeout=200)


@pytest.fixture(scope="module")
def demos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Demo]]:
    """Every kind of demonstration, all at the same time: mostly they wait."""
    path = os.environ["PATH"] + ":/usr/sbin"
    missing = [name for name in NEEDED if not shutil.which(name, path=path)]
    if missing and not os.environ.get("CI"):
        pytest.skip(f"not installed: {', '.join(missing)}")
    assert not missing
    tools = tmp_path_factory.mktemp("tools")
    for directory in ("/bin", "/usr/bin"):
        for program in Path(directory).iterdir():
            link = tools / program.name
            if not program.name.startswith("ssh") and not link.is_symlink():
                link.symlink_to(program)
    made = {
        "root or ourselves": Demo("--json"),
        "without ssh": Demo("--json", path=str(tools), program="invoke"),
        "shown": Demo(),
        "SIGTERM": Demo(),
        "SIGKILL": Demo(),
    }
    if ROOT:
        user = os.environ.get("SSHJOBS_TEST_USER", "tester")
        made["ordinary user"] = Demo("--json", user=user)
        nobody = 60000 + os.getpid() % 5000
        made["unknown user"] = Demo("--json", user=nobody)
    for one in made.values():
        eventually(one.find_top, "a demonstration has a directory")
    yield made
    for one in made.values():
        end(one)


WANTED = {
    "COMPLETED": demo.CROWD + 1,
    "FAILED": 1,
    "TIMEOUT": 1,
    "CANCELLED": 1,
}


def test_ended_in_the_middle_it_leaves_nothing(demos: dict[str, Demo]) -> None:
    ended, killed = demos["SIGTERM"], demos["SIGKILL"]
    ended.read_until(b"log of one of them")
    assert ended.traces()
    ended.process.terminate()
    killed.read_until(b"--key nightly")  # now one of its jobs would run for 600 s
    assert killed.traces()
    killed.process.kill()
    ended.process.communicate(timeout=200)
    assert ended.process.returncode == 128 + signal.SIGTERM
    assert ended.traces() == []
    killed.process.communicate(timeout=200)
    assert killed.process.returncode == -signal.SIGKILL
    eventually(lambda: not killed.traces(), "the end of all")  # seen to by another


def test_it_shows_one_connection_for_a_crowd(demos: dict[str, Demo]) -> None:
    result = demos["root or ourselves"].outcome()
    assert result["host"] == "demo"
    assert result["states"] == WANTED
    assert (result["connections"], result["drops"]) == (1, 0)


def test_an_ordinary_user_can_show_it(demos: dict[str, Demo]) -> None:
    if not ROOT:
        pytest.skip("the other test has shown it already: this is no root")
    result = demos["ordinary user"].outcome()
    assert (result["host"], result["connections"]) == ("demo", 1)


def test_a_user_that_the_system_does_not_know_can_show_it(
    demos: dict[str, Demo],
) -> None:
    """As in a container: ssh runs for nobody without a name, so this machine serves."""
    if not ROOT:
        pytest.skip("only root may be somebody else")
    assert demos["unknown user"].outcome()["host"] == "local"


def test_without_ssh_the_host_is_this_machine(demos: dict[str, Demo]) -> None:
    result = demos["without ssh"].outcome()
    assert result["host"] == "local"
    assert result["states"] == WANTED


def test_what_it_shows_is_worth_seeing(demos: dict[str, Demo]) -> None:
    text = demos["shown"].show()
    for said in ("$ sshjobs submit", "part 5, step 5", "COMPLETED", "CANCELLED"):
        assert said in text
