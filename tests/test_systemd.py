"""Jobs as services of a real systemd of the user: started once, seen, ended."""

from __future__ import annotations

import os
import pwd
import shlex
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.cli import Cli, eventually
from tests.clusters import make_login_node
from tests.conftest import _login
from tests.pages import read_blocks

_SYSTEMD = "/lib/systemd/systemd"
_HIERARCHIES = ("/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified", "/sys/fs/cgroup")

#: A namespace of mounts in which systemd runs the host, it believes, and USER lingers.
_HOST = """set -e
mount --make-rprivate /
mount -t tmpfs none /run
mount -t tmpfs none /var/lib/systemd
mkdir -p /run/systemd/system /run/sshd /run/user/{uid} /var/lib/systemd/linger
chown {user} /run/user/{uid}
chmod 700 /run/user/{uid}
: >/var/lib/systemd/linger/{user}
for one in {groups}; do
    mkdir -p $one
    chown -R {user} $one
    echo $$ >$one/cgroup.procs
done
exec setpriv --reuid {user} --regid {user} --init-groups env -i PATH=/usr/bin:/bin \\
    HOME={home} XDG_RUNTIME_DIR=/run/user/{uid} {systemd} --user
"""


class Manager:
    """A systemd of a user who lingers, on a host of its own."""

    def __init__(self, user: str, home: Path) -> None:
        self.user, self.uid = user, pwd.getpwnam(user).pw_uid
        found = [h for h in _HIERARCHIES if Path(h, "cgroup.procs").exists()]
        self.groups = [Path(one, f"sjtest{os.getpid()}") for one in found]
        script = _HOST.format(
            user=user,
            uid=self.uid,
            home=home,
            systemd=_SYSTEMD,
            groups=" ".join(map(str, self.groups)),
        )
        self.process = subprocess.Popen(
            ["unshare", "-m", "sh", "-c", script],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        self.enter = ["nsenter", "-m", "-t", str(self.process.pid)]

    def __repr__(self) -> str:
        return f"<Manager of {self.user}>"

    def run(self, *words: str) -> str:
        """Run systemctl of the user, and return what it says."""
        drop = ("setpriv", "--reuid", self.user, "--regid", self.user, "--init-groups")
        return subprocess.run(
            [*self.enter, *drop, "systemctl", "--user", *words],
            env={"PATH": os.defpath, "XDG_RUNTIME_DIR": f"/run/user/{self.uid}"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        ).stdout

    def stop(self) -> None:
        """End it, and all services."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stderr:
            self.process.stderr.close()
        for group in self.groups:
            for path in sorted(group.glob("**/"), reverse=True):
                eventually(lambda: _remove(path), f"{path} is empty")


def _remove(path: Path) -> bool:
    """Remove a group of processes, unless one is left in it."""
    with suppress(OSError):
        path.rmdir()
    return not path.exists()


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Manager]:
    """A systemd that the tests of this module share."""
    tools = ("unshare", "nsenter", "setpriv", "systemd-run", "systemctl")
    missing = [tool for tool in tools if not shutil.which(tool)]
    if missing or not Path(_SYSTEMD).exists() or os.geteuid() != 0:
        pytest.skip(f"a systemd of a user needs root here, and {missing or _SYSTEMD}")
    if _login() == "root":
        pytest.skip("it is the systemd of an ordinary user: SSHJOBS_TEST_USER")
    made = Manager(_login(), Path(pwd.getpwnam(_login()).pw_dir))
    try:
        socket = f"/proc/{made.process.pid}/root/run/user/{made.uid}/systemd/private"
        eventually(Path(socket).exists, "it is at work")
        yield made
    finally:
        made.stop()


@pytest.fixture
def box(manager: Manager, new_box: Callable[..., Cli], place: Path) -> Cli:
    """Its host, where systemd is the launcher."""
    given = f"A_LINE=of_the_login HOME={place}"
    return make_login_node(new_box, "systemd", prefix=manager.enter, SetEnv=given)


def test_a_job_is_a_service_and_comes_home(box: Cli, place: Path) -> None:
    (place / "backup.sh").write_text("#!/bin/sh\ncat /proc/self/cgroup\n")
    (place / "backup.sh").chmod(0o755)
    blocks = read_blocks("docs/how-to/schedulers.md")
    assert box.sshd
    box.sshd.alias = "nas"
    box.env["SSHJOBS_SSH_CONFIG"] = str(box.sshd.write_client_config())
    [words] = [b for b in blocks if "--launcher systemd" in b]
    printed = box(*shlex.split(words)[1:]).id
    lines = "echo $A_LINE $BLUE; cat; exit 3"
    (place / "in").write_bytes(b"a\0b\n")
    given = ("--env", "BLUE=sky", "--stdin", place / "in")
    failed = box("submit", "nas", *given, "--", lines).id
    gone = box("submit", "nas", "--cwd", "/nowhere", "--", "true").id
    box("wait")
    assert f"/sj-{printed}.service" in box.ok("logs", printed).out
    job = box.job(failed)
    assert (job["state"], job["exit_status"]) == ("FAILED", 3), job
    assert box.ok("logs", failed).raw == b"of_the_login sky\na\0b\n"
    assert "no such directory" in box.job(gone)["reason"]
    assert job["handle"].startswith("systemd:")
    box.ok("reap")


def test_a_job_is_ended_by_its_limits_by_kill_and_by_systemctl(
    box: Cli, manager: Manager
) -> None:
    stubborn = "trap '' TERM; echo on; while :; do sleep 1; done"
    box.env["SSHJOBS_KILL_GRACE"] = "1"
    late = box.submit("--timeout", "1", "--", stubborn)
    limited = ("--launcher-args", "-p RuntimeMaxSec=2 --nice=5")
    longer = box.submit(*limited, "--", "echo on; sleep 100")
    killed = box.submit("--", "setsid sleep 1000 & " + stubborn)
    stopped = box.submit("--", stubborn)
    for job_id in (killed, stopped):
        eventually(lambda: box("logs", job_id).raw == b"on\n", "it is at work")
    assert f"sj-{stopped}.service" in manager.run("list-units", "sj-*")
    manager.run("--no-block", "stop", f"sj-{stopped}.service")
    box.ok("kill", killed)
    box("wait", late, longer, stopped)
    states = {box.job(one)["state"] for one in (late, longer)}
    assert states == {"TIMEOUT"}, [box.job(one) for one in (late, longer)]
    assert "RuntimeMaxSec" in box.job(longer)["reason"]
    for job_id in (killed, stopped):
        assert box.job(job_id)["state"] == "CANCELLED", box.job(job_id)
    assert "systemctl stop" in box.job(stopped)["reason"]
    eventually(lambda: "sj-" not in manager.run("list-units", "--all", "sj-*"))


def test_what_systemd_refuses_and_who_does_not_linger_is_said(
    box: Cli, manager: Manager
) -> None:
    refused = box("submit", box.host, "--launcher-args", "-p Odd=1", "--", "true")
    assert refused.status == 69 and "Odd=1" in refused.err, refused
    for words in ("-p Restart=always", "--property=User=root", "--wait", "-p"):
        ended = box("submit", box.host, "--launcher-args", words, "--", "true")
        assert ended.status == 64, ended
    assert "as services of the user" in box("doctor", box.host).out
    linger = Path(f"/var/lib/systemd/linger/{manager.user}")
    subprocess.run([*manager.enter, "rm", linger], check=True)
    try:
        ended = box("submit", box.host, "--", "true")
        assert ended.status == 69 and "enable-linger" in ended.err, ended
    finally:
        subprocess.run([*manager.enter, "touch", linger], check=True)
    assert not list(box.base.glob("jobs/*"))
