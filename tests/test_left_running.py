"""What a job leaves in its group is ended, and the job says so."""

from __future__ import annotations

import pytest

from tests.cli import Cli, all_processes

_SAID = "what was left of its group was ended"


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_nohup_and_an_ampersand_do_not_outlive_a_job(cli: Cli, shell: str) -> None:
    """As under sbatch; who asks why is told."""
    line = "nohup sleep 31.7 >/dev/null 2>&1 & echo started"
    job = cli.submit("--shell", shell, "--", line)
    ended = cli("wait", job)
    assert (ended.status, _SAID in ended.out) == (0, True), ended
    record = cli.job(job)
    assert (record["state"], record["exit_status"]) == ("COMPLETED", 0)
    assert "a job ends with its main process" in record["reason"]
    assert not [p for p, words in all_processes("cmdline") if b"31.7" in words]


@pytest.mark.parametrize("line", ["true", "sleep 0.1 & wait", "echo a | cat; exit 3"])
def test_a_job_that_leaves_nothing_has_nothing_to_say(cli: Cli, line: str) -> None:
    job = cli.submit("--", line)
    cli("wait", job)
    assert cli.job(job)["reason"] == ""
