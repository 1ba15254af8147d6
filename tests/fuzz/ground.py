"""Where targets work: a directory of an ordinary user, and the canary beside it."""

from __future__ import annotations

import os
import pwd
import shutil
import tempfile
from pathlib import Path

from tests.fuzz.engine import Broken

#: What stands in the canary. It is the user's own, so that no right keeps it as it is.
_CANARY = {
    "kept": "a file that is nobody's business",
    ".ssh/id_demo": "not a key",
    ".ssh/config": "Host *\n",
    "logs/aaaaaaaaaaaaaaaa": "a log of another home",
    "specs/aaaaaaaaaaaaaaaa": "a spec of another home",
}


def ordinary_user() -> str:
    """Return as whom to work: somebody ordinary where we are root, else ""."""
    if os.geteuid() != 0:
        return ""
    named = os.environ.get("SSHJOBS_TEST_USER", "tester")
    known = {user.pw_name for user in pwd.getpwall()}
    return named if named in known else "nobody"


def become(user: str) -> None:
    """Be this user from now on, for good."""
    login = pwd.getpwnam(user)
    os.setgroups([])
    os.setgid(login.pw_gid)
    os.setuid(login.pw_uid)
    os.environ["HOME"] = login.pw_dir if os.access(login.pw_dir, os.W_OK) else "/"


class Ground:
    """A directory to work in, and what may not change beside it.

    Attributes:
        work: Empty at first; targets have directories of their own in it.
    """

    def __init__(self, user: str = "") -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="sz", dir="/tmp"))
        self.work = self.folder / "work"
        self._canary = self.folder / "canary"
        self.work.mkdir()
        for name, text in _CANARY.items():
            path = self._canary / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        if user:
            login = pwd.getpwnam(user)
            for path in (self.folder, *self.folder.rglob("*")):
                os.chown(path, login.pw_uid, login.pw_gid)
        self._seen: dict[str, tuple[int, ...]] = {}

    def __repr__(self) -> str:
        return f"<Ground {self.folder}>"

    def look(self) -> None:
        """Take the canary as it is now for what it must be from now on."""
        self._seen = self._now()

    def check(self) -> None:
        """See that nothing has changed outside the work.

        Raises:
            Broken: something has.
        """
        now = self._now()
        if now != self._seen:
            changed = sorted(
                name
                for name in now.keys() | self._seen.keys()
                if now.get(name) != self._seen.get(name)
            )
            self._seen = now
            raise Broken(f"the canary was touched: {changed}")

    def _now(self) -> dict[str, tuple[int, ...]]:
        """Return every name outside the work and what stat(2) says of it."""
        found: dict[str, tuple[int, ...]] = {}
        for path in (self.folder, self._canary, *self._canary.rglob("*")):
            stat = path.lstat()
            found[str(path)] = (stat.st_mode, stat.st_ino, stat.st_mtime_ns)
        for path in self.folder.iterdir():
            found.setdefault(str(path), (0,))
        return found

    def close(self) -> None:
        """Remove it all."""
        shutil.rmtree(self.folder, ignore_errors=True)
