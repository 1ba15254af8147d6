"""A key that two machines share, as users of the command line see it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli import Cli

LONG = 108_894
COMMAND = f"head -c {LONG} /dev/zero"

#: A host whose first session ends after the first line of a kind, if a file says so.
CUT = """#!/bin/sh
if line=$(cat {flag} 2>/dev/null); then
    rm -f {flag}
    sh -c "$SSH_ORIGINAL_COMMAND" | sed "/^$line /q"
else
    exec sh -c "$SSH_ORIGINAL_COMMAND"
fi
"""


def test_the_second_machine_has_the_end_of_the_first(cli: Cli, tmp_path: Path) -> None:
    other = cli.twin(tmp_path / "other-home")
    job_id = other.submit("--key", "k", "--", COMMAND)
    other.ok("wait", job_id)
    other.ok("reap")
    ran = cli("run", "--key", "k", cli.host, "--", COMMAND)
    assert (ran.status, ran.out) == (0, ""), ran
    job = cli.job(job_id)
    assert (job["state"], job["exit_status"], job["log_bytes"]) == (
        "COMPLETED",
        0,
        LONG,
    )
    for said in (ran, cli("logs", job_id)):
        assert f"0 of the {LONG} bytes of its log are here" in said.err
        assert "went with its directory" in said.err
    other.close()


@pytest.mark.parametrize(
    ("line", "reaped"), [("claimed", False), ("started", False), ("claimed", True)]
)
def test_a_reply_that_is_cut_leaves_no_end_without_an_end(
    new_box: Callable[..., Cli], place: Path, line: str, reaped: bool
) -> None:
    script = place / "cut"
    cli = new_box(ForceCommand=script)
    flag = cli.base.parent / "flag"
    script.write_text(CUT.format(flag=flag))
    script.chmod(0o755)
    other = cli.twin(place / "other-home")
    job_id = other.submit("--key", "k", "--", COMMAND)
    other.ok("wait", job_id)
    other.ok("logs", job_id)
    if reaped:
        other.ok("reap")
    flag.write_text(line)
    ran = cli("run", "--key", "k", cli.host, "--", COMMAND)
    assert not flag.exists()
    job = cli.job(job_id)
    assert (ran.status, job["state"], job["exit_status"]) == (0, "COMPLETED", 0), ran
    if reaped:
        assert f"0 of the {LONG} bytes" in ran.err
    else:
        assert ran.raw == bytes(LONG)
        cli.ok("reap")
        assert cli.ok("logs", job_id).raw == bytes(LONG)
    other.close()
