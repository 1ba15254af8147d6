"""The recipes of docs/how-to/cron.md, as printed, under Debian's real cron."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.sshd import Sshd, sshd_path

USER = os.environ.get("SSHJOBS_TEST_USER", "tester")
BIN = Path(sys.executable).parent
PAGE = Path(__file__).parent.parent / "docs/how-to/cron.md"
_BLOCK = r"<!-- {} -->\n```\w+\n(.*?)^```"
_WHEN = re.compile(r"^([0-9*]\S* ){4}\S+ +", re.MULTILINE)

# A cron of our own: in a mount namespace, so that the machine's crontabs, its
# sendmail and its pid file are neither read nor touched.
_CRON = """
set -eu
mount -t tmpfs none /run
mount --bind {base}/crontabs /var/spool/cron/crontabs
mount --bind {base}/empty /etc/cron.d
mount --bind /dev/null /etc/crontab
mount -t overlay none -o lowerdir={base}/sbin:/usr/sbin /usr/sbin
exec cron -f
"""

_SENDMAIL = """#!/bin/sh
letter=$(mktemp {base}/mail/draft.XXXXXX)
cat >"$letter"
mv "$letter" "{base}/mail/letter-$$"
"""

_SSHJOBS = """#!/bin/sh
echo "$1" >>{base}/calls
exec {program} "$@"
"""


def _can() -> str:
    """Return why the test cannot be run here, or an empty text."""
    if os.getuid() != 0:
        return "cron wants root"
    if not (shutil.which("cron", path="/usr/sbin") and sshd_path()):
        return "no Debian cron, or no sshd"
    if USER not in {entry.pw_name for entry in pwd.getpwall()}:
        return f"no user {USER}"
    tried = subprocess.run(["unshare", "-m", "true"], capture_output=True)
    return "no mount namespaces" if tried.returncode else ""


def block(name: str) -> str:
    """Return what the page prints under a name."""
    found = re.search(_BLOCK.format(name), PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert found, name
    return found[1]


class Night:
    """A user's home with the recipes in it, a host, and a cron that runs them."""

    def __init__(self, base: Path, sshd: Sshd) -> None:
        self.base = base
        self.sshd = sshd
        for name in ("crontabs", "empty", "sbin", "mail", "marks", "home/bin", "path"):
            (base / name).mkdir(parents=True)
        for name in ("mail", "marks"):
            (base / name).chmod(0o777)
        self._script("sbin/sendmail", _SENDMAIL.format(base=base))
        program = BIN / "sshjobs"
        self._script("path/sshjobs", _SSHJOBS.format(base=base, program=program))
        (base / "calls").touch(0o666)
        (base / "calls").chmod(0o666)
        for name in ("nightly", "bad-ends"):
            self._script(f"home/bin/{name}", block(name))
        sshd.config.write_text(sshd.config.read_text().replace("Host box", "Host gpu1"))
        shutil.chown(sshd.key, USER)
        subprocess.run(["chown", "-R", USER, base / "home"], check=True)

    def _script(self, name: str, text: str) -> None:
        (self.base / name).write_text(text)
        (self.base / name).chmod(0o755)

    def batch(self, *lines: str) -> None:
        """Write what is to be done at night."""
        (self.base / "home/nightly.jobs").write_text("\n".join(lines) + "\n")

    def crontab(self) -> None:
        """Install the page's crontab, every line of it once a minute."""
        lines = [
            f"HOME={self.base}/home",
            f"SSHJOBS_HOME={self.base}/home/record",
            f"SSHJOBS_SSH_CONFIG={self.sshd.config}",
            f"SSHJOBS_REMOTE_BASE_DIR={self.base}/marks/jobs",
            _WHEN.sub("* * * * * ", block("crontab")).replace(
                "PATH=", f"PATH={self.base}/path:"
            ),
        ]
        path = self.base / "crontabs" / USER
        path.write_text("\n".join(lines))
        path.chmod(0o600)
        shutil.chown(path, USER)

    def calls(self, verb: str) -> int:
        """Return how often a verb of sshjobs was begun."""
        return (self.base / "calls").read_text().split().count(verb)

    def letters(self) -> list[str]:
        """Return what cron has mailed."""
        return [path.read_text() for path in (self.base / "mail").glob("letter-*")]


def eventually(true: Callable[[], bool], seconds: float) -> None:
    """Wait for something that cron does once a minute."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.2)


@pytest.fixture
def night(place: Path) -> Iterator[Night]:
    (place / "sshd").mkdir()
    with Sshd(place / "sshd", USER) as sshd:
        made = Night(place, sshd)
        made.crontab()
        line = _CRON.format(base=place)
        cron = subprocess.Popen(
            ["unshare", "-m", "sh", "-c", line],
            start_new_session=True,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        )
        yield made
        os.killpg(cron.pid, signal.SIGTERM)
        cron.wait(10)


def test_the_scripts_where_there_is_no_cron(
    new_sshd: Callable[..., Sshd], place: Path
) -> None:
    """What a minute of cron does, three times, in the bare environment of cron."""
    login = pwd.getpwuid(os.getuid())
    sshd = new_sshd()
    sshd.alias = "gpu1"
    home = place / "home"
    (home / "bin").mkdir(parents=True)
    for name in ("nightly", "bad-ends"):
        (home / "bin" / name).write_text(block(name))
        (home / "bin" / name).chmod(0o755)
    (place / "there").mkdir()
    (place / "there").chmod(0o777)
    (home / "nightly.jobs").write_text(
        '{"key": "nightly/@DAY@/good", "command": "echo x"}\n'
        '{"key": "nightly/@DAY@/bad", "command": "echo 100% broken; exit 3"}\n'
    )
    env = {
        "HOME": str(home),
        "LOGNAME": login.pw_name,
        "SHELL": "/bin/sh",
        "PATH": f"{BIN}:/usr/bin:/bin",
        "SSHJOBS_HOME": str(place / "record"),
        "SSHJOBS_SSH_CONFIG": str(sshd.write_client_config()),
        "SSHJOBS_REMOTE_BASE_DIR": str(place / "there/jobs"),
    }

    def minute(line: str) -> str:
        done = subprocess.run(
            ["/bin/sh", "-c", line],
            cwd=home,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        return done.stdout.decode()

    assert minute("sshjobs run gpu1 --name other -- 'echo old; exit 4'") != ""
    assert minute("$HOME/bin/nightly") == ""
    minute("sshjobs wait")
    letter = minute("$HOME/bin/bad-ends")
    assert len(letter.splitlines()) == 2
    assert "FAILED" in letter and "    100% broken" in letter
    for _ in range(2):
        assert minute("$HOME/bin/nightly") == ""
        assert minute("$HOME/bin/bad-ends") == ""
    assert len(minute("sshjobs list").splitlines()) == 3
    assert minute("sshjobs reap >/dev/null") == ""
    assert (sshd.connections, sshd.drops) == (1, 0)
    assert "disconnected" in minute("sshjobs disconnect gpu1")


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.skipif(bool(_can()), reason=_can() or "can")
def test_the_recipes(night: Night) -> None:
    marks = night.base / "marks"
    night.batch(
        f'{{"key": "nightly/@DAY@/good", "command": "echo x >>{marks}/good"}}',
        f'{{"key": "nightly/@DAY@/long", "command": "echo x >>{marks}/long;'
        ' sleep 90"}',
        '{"key": "nightly/@DAY@/bad", "command":'
        f' "echo x >>{marks}/bad; echo 100% broken; exit 3"}}',
    )
    eventually(lambda: night.calls("submit") >= 1, seconds=75)
    # Each run of bad-ends lists once; the end of the third has seen all.
    eventually(lambda: night.calls("submit") >= 3, seconds=150)
    eventually(lambda: night.calls("list") >= 3, seconds=30)

    for name in ("good", "long", "bad"):
        assert (marks / name).read_text() == "x\n", name
    [letter] = night.letters()
    head, _, text = letter.partition("\n\n")
    assert f"To: {USER}" in head
    assert len(text.splitlines()) == 2, text
    assert "FAILED" in text and "exit 3" in text and "/bad" in text
    assert "    100% broken" in text
    assert (night.sshd.connections, night.sshd.drops) == (1, 0)
