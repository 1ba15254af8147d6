"""Tests of all schedulers: the folder of one, its login node, why a job waits."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cli import Cli, eventually


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


def run_chain(box: Cli, own: str) -> None:
    """Have jobs of one file come after one another in a scheduler, with no client.

    Args:
        own: An option of that scheduler for what --after says.
    """
    notes, gate = box.base.parent / "notes", box.base.parent / "gate"
    held = f"while [ ! -e {gate} ]; do sleep 0.1; done; "
    lines = [
        {"name": "load", "command": f"{held}echo load >>{notes}"},
        {"name": "bad", "command": "exit 3"},
        {"name": "train", "command": f"echo train >>{notes}", "after": "load"},
        {"name": "never", "command": f"echo never >>{notes}", "after": "bad"},
        {"command": f"echo report >>{notes}", "after": ["never:any", "train"]},
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines).encode()
    ids = box.ok("submit", box.host, "--from", "-", stdin=text).lines
    assert read_reason(box, ids[2]) == f"PENDING after {ids[0]}"
    box.close()
    gate.touch()
    ends = [box.directory(job_id) / "exit" for job_id in ids]
    eventually(lambda: all(end.exists() for end in ends), "all end")
    assert notes.read_text().split() == ["load", "train", "report"]
    assert box("wait", *ids).status == 1
    assert box.job(ids[3])["state"] == "CANCELLED"
    assert f"job {ids[1]}" in box.job(ids[3])["reason"]
    words = ("--after", ids[1], "--launcher-args", own, "--", "true")
    refused = box("submit", box.host, *words)
    assert refused.status == 64 and "does not go with --after" in refused.err
