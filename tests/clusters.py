"""Tests of all schedulers: the folder of one, its login node, why a job waits."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cli import Cli


@contextmanager
def make_folder(prefix: str) -> Iterator[Path]:
    """Yield an empty folder that every user may look into; it has a short path."""
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def make_login_node(new_box: Callable[..., Cli], launcher: str, **options: Any) -> Cli:
    """Return the command line of a host where that is the launcher, asked often.

    Args:
        new_box: The fixture of that name.
        options: Those of the host's sshd.
    """
    made = new_box(**options)
    made.env["SSHJOBS_LAUNCHER"] = launcher
    made.env["SSHJOBS_POLL_INTERVAL"] = "0.5"
    return made


def make_tools(folder: Path, awk: str, fakes: Mapping[str, str]) -> Path:
    """Return a folder of commands: an awk, and fakes that know where they are.

    Args:
        folder: Where it is made.
        awk: The name of one; the test is skipped where it is not installed.
        fakes: The texts of commands, with ``{folder}`` for that folder.
    """
    found = shutil.which(awk)
    if found is None:
        pytest.skip(f"no {awk} here")
    tools = folder / "tools"
    tools.mkdir()
    (tools / "awk").symlink_to(found)
    for name, text in fakes.items():
        (tools / name).write_text(text.replace("{folder}", str(tools)))
        (tools / name).chmod(0o755)
    return tools


def read_reason(box: Cli, job_id: str) -> str:
    """Poll a job, and return its state and reason."""
    assert box("poll", job_id).status in (0, 1)
    job = box.job(job_id)
    return f"{job['state']} {job['reason']}"
