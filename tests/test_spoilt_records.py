"""A job that spoils its own record on the host costs itself, and nobody else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli import Cli, eventually

#: What a job may write into its own record, by the name of the line.
SPOILT = {
    "node": ["%FF", "\\xff\\xfe", "n" * 70_000, "%1B[31m", "a b c", ""],
    "start": ["%FF", "%0Ac aaaaaaaaaaaaaaaa 1 1", "*", "9" * 20],
    "pid": ["9" * 20, "-1", "1e5", "%FF"],
    "pgid": ["9" * 20, "x"],
    "started_at": ["9" * 20, "nan", "1e308", "-1"],
    "boot_id": ["%FF%00", "b" * 70_000],
    "machine": ["%FF", "../../x"],
    "attempt": ["9" * 20, "x"],
}
CELLS = [(name, value) for name, values in SPOILT.items() for value in values]

#: One of each kind, where there is no time for all.
SAMPLE = [("node", "%FF"), ("start", "%0Ac aaaaaaaaaaaaaaaa 1 1"), ("pid", "9" * 20)]


def spoil(record: Path, name: str, value: str) -> None:
    """Change a line of a record as a job can: a new file under the old name."""
    raw = value.encode().decode("unicode_escape").encode("latin-1")
    lines = [
        name.encode() + b"=" + raw if line.startswith(name.encode() + b"=") else line
        for line in record.read_bytes().splitlines()
    ]
    new = record.with_name("run.new")
    new.write_bytes(b"\n".join(lines) + b"\n")
    new.chmod(0o666)
    new.rename(record)


def try_verbs(cli: Cli, cells: list[tuple[str, str]]) -> None:
    """Ask for everything while records of some jobs are spoilt."""
    spoilt = [cli.submit("--", "sleep 1000") for _ in cells]
    sound = cli.submit("--", "echo abc; sleep 0.5")
    for job_id, cell in zip(spoilt, cells):
        spoil(cli.directory(job_id) / "run", *cell)
    eventually(lambda: cli.state(sound) == "COMPLETED")
    after = cli.submit("--", "echo def")
    assert cli("wait", after).status == 0
    for words in (
        ("poll",),
        ("logs", sound),
        ("logs", after),
        ("poll", "--host", cli.host, "--adopt"),
        ("reap",),
        ("list",),
        ("hosts", "--json"),
        *(("kill", job_id) for job_id in spoilt[:1]),
    ):
        said = cli(*words, env={"SSHJOBS_KILL_GRACE": "1"})
        assert said.status in (0, 1, 75), said
        assert "Traceback" not in said.err and "\x1b" not in said.err + said.out, said
        assert said.out.isascii(), said
    assert cli.job(sound)["state"] == cli.job(after)["state"] == "COMPLETED"
    assert not cli.directory(sound).exists()


def test_a_spoilt_record_costs_its_job(cli: Cli) -> None:
    try_verbs(cli, SAMPLE)


@pytest.mark.slow
@pytest.mark.parametrize("name", SPOILT)
def test_each_spoilt_line_costs_its_job(cli: Cli, name: str) -> None:
    try_verbs(cli, [cell for cell in CELLS if cell[0] == name])
