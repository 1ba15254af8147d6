"""The demonstration, as a new user would run it: it shows, and leaves nothing."""

from __future__ import annotations

import fcntl
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
from tests.cli import all_processes, eventually

TOP = Path(demo.__file__).parent.parent.parent
NEEDED = ("sshd", "ssh", "ssh-keygen")


@pytest.fixture(autouse=True, scope="module")
def no_other() -> Iterator[None]:
    """Wait for other runs of these tests: what they look for is anybody's."""
    with open(f"/tmp/sshjobs-test-demo.{os.geteuid()}", "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def traces() -> set[str]:
    """Return what a demonstration leaves while it runs: directories, processes."""
    found = {str(path) for path in Path("/tmp").glob("sshjobs-demo-*")}
    for pid, line in all_processes("cmdline"):
        words = line.split(b"\0")
        found |= {f"{pid}: {w!r}" for w in words if b"/sshjobs-demo-" in w}
    return found


def start(
    *words: str, path: str = "", user: str = "", program: str = "sshjobs"
) -> subprocess.Popen[bytes]:
    """Start the demonstration, as another user if one is named."""
    env = {"PYTHONPATH": str(TOP), "PATH": path or os.environ["PATH"], "LANG": "C"}
    python = sys.executable
    if user:
        python = "/usr/bin/python3"
        env["HOME"] = pwd.getpwnam(user).pw_dir
    return subprocess.Popen(
        [python, "-m", program, "demo", *words],
        env=env,
        cwd="/" if program == "sshjobs" else TOP,  # where inv finds its tasks.py
        user=user or None,
        group=pwd.getpwnam(user).pw_gid if user else None,
        extra_groups=[] if user else None,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def outcome(process: subprocess.Popen[bytes]) -> dict[str, object]:
    """Wait for a demonstration with ``--json`` and return what it found."""
    out, err = process.communicate(timeout=200)
    assert (process.returncode, err) == (0, b"")
    result: dict[str, object] = json.loads(out)
    return result


def need_sshd() -> None:
    path = os.environ["PATH"] + ":/usr/sbin"
    missing = [name for name in NEEDED if not shutil.which(name, path=path)]
    if missing and not os.environ.get("CI"):
        pytest.skip(f"not installed: {', '.join(missing)}")
    assert not missing


WANTED = {
    "COMPLETED": demo.CROWD + 1,
    "FAILED": 1,
    "TIMEOUT": 1,
    "CANCELLED": 1,
}


def test_one_connection_for_a_crowd() -> None:
    need_sshd()
    before = traces()
    result = outcome(start("--json"))
    assert result["host"] == "demo"
    assert result["states"] == WANTED
    assert (result["connections"], result["drops"]) == (1, 0)
    assert traces() <= before


def test_an_ordinary_user_can_show_it() -> None:
    need_sshd()
    if os.geteuid() != 0:
        pytest.skip("the other test has shown it already: this is no root")
    user = os.environ.get("SSHJOBS_TEST_USER", "tester")
    before = traces()
    result = outcome(start("--json", user=user))
    assert (result["host"], result["connections"]) == ("demo", 1)
    assert traces() <= before


def test_a_user_that_the_system_does_not_know() -> None:
    """As in a container: ssh runs for nobody without a name, so this machine serves."""
    if os.geteuid() != 0:
        pytest.skip("only root may be somebody else")
    nobody = 60000 + os.getpid() % 5000
    ran = subprocess.run(
        ["/usr/bin/python3", "-m", "sshjobs", "demo", "--json"],
        env={"PYTHONPATH": str(TOP), "PATH": os.environ["PATH"]},
        cwd="/",
        user=nobody,
        group=nobody,
        extra_groups=[],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=200,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert json.loads(ran.stdout)["host"] == "local"


def test_without_ssh_the_host_is_this_machine(tmp_path: Path) -> None:
    for directory in ("/bin", "/usr/bin"):
        for program in Path(directory).iterdir():
            link = tmp_path / program.name
            if not program.name.startswith("ssh") and not link.is_symlink():
                link.symlink_to(program)
    before = traces()
    result = outcome(start("--json", path=str(tmp_path), program="invoke"))
    assert result["host"] == "local"
    assert result["states"] == WANTED
    assert traces() <= before


def test_what_it_shows_is_worth_seeing() -> None:
    process = start()
    out, err = process.communicate(timeout=200)
    assert (process.returncode, err) == (0, b"")
    text = out.decode()
    for said in ("$ sshjobs submit", "part 5, step 5", "COMPLETED", "CANCELLED"):
        assert said in text


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_ended_in_the_middle_it_leaves_nothing(number: signal.Signals) -> None:
    before = traces()
    process = start()
    assert process.stdout
    for line in process.stdout:
        if b"log of one of them" in line:
            break
    process.send_signal(number)
    process.communicate(timeout=200)
    if number == signal.SIGKILL:  # then it is seen to by another
        assert process.returncode == -number
        eventually(lambda: traces() <= before, "the end of all that it started")
    else:
        assert process.returncode == 128 + number
        assert traces() <= before
