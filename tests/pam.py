"""PAM rules of a server's own, thrown away after the test; for root only."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.cli import Cli
from tests.sshd import sshd_path

_FOLDER = Path("/etc/pam.d")

#: What a rule says where a test has nothing to say.
_OPEN = "required pam_permit.so"


def is_here() -> bool:
    """Tell whether rules can be made here."""
    return os.geteuid() == 0 and _FOLDER.is_dir()


class Rules:
    """The rules of one service."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.say()

    def say(
        self, *, auth: str = _OPEN, account: str = _OPEN, session: str = _OPEN
    ) -> None:
        """Let these decide from the next login on."""
        rules = f"auth {auth}\naccount {account}\nsession {session}\n"
        self._path.write_text(rules)


@contextmanager
def new_rules(
    folder: Path, new_box: Callable[..., Cli], **options: Any
) -> Iterator[tuple[Rules, Cli]]:
    """Yield rules, and a host whose logins they decide about.

    The name of the service is that of the program (before 9.8), or an option.
    """
    name = f"sshd-sj-{os.getpid()}-{folder.name}"
    path = _FOLDER / name
    program = folder / name
    program.symlink_to(sshd_path())
    if b"pamservicename" in Path(sshd_path()).read_bytes():
        options["PAMServiceName"] = name
    try:
        rules = Rules(path)
        yield rules, new_box(program=program, **options)
    finally:
        path.unlink(missing_ok=True)
