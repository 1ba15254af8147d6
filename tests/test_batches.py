"""Batches of jobs: one request a line, in step, in few sessions and little memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sshjobs.model import new_job_id
from sshjobs.store import Store
from tests.cli import Cli


def test_a_batch_of_a_thousand_is_a_few_sessions(cli: Cli, tmp_path: Path) -> None:
    assert cli.sshd is not None
    ran = cli.base.parent / "ran"
    ran.mkdir(mode=0o777)
    ran.chmod(0o777)
    jobs = tmp_path / "jobs"
    lines = [f": >{ran}/{n}.$SSHJOBS_JOB_ID" for n in range(1000)]
    jobs.write_text("\n".join(lines) + "\n")
    ids = cli.ok("submit", cli.host, "--from", jobs).lines
    assert cli.sshd.sessions <= 5
    cli.ok("wait", "--json")
    names = dict(path.name.split(".")[:2] for path in ran.iterdir())
    assert [names[str(n)] for n in range(1000)] == ids


def test_a_batch_may_be_objects(cli: Cli) -> None:
    lines = (
        b'{"command": ["printf", "%s", "a  b"], "name": "one"}\n'
        b'{"command": "echo $X", "env": {"X": "\xc3\xa9"}, "cwd": "/"}\n'
        b"\n# a remark\n"
        b"{ echo two; }\n"
    )
    ids = cli.ok("submit", cli.host, "--from", "-", stdin=lines).lines
    cli.ok("wait")
    logs = [cli.ok("logs", job_id).raw for job_id in ids]
    assert logs == [b"a  b", b"\xc3\xa9\n", b"two\n"]
    assert cli.job(ids[0])["name"] == "one"


_WEIGH = """if True:
    import resource, subprocess, sys
    status = subprocess.call([sys.executable, "-m", "sshjobs", *sys.argv[1:]])
    print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
    sys.exit(status)
"""


def _weighed(cli: Cli, *words: object) -> list[str]:
    """Run a verb that may take 60 MB; return its words."""
    process = subprocess.run(
        [sys.executable, "-c", _WEIGH, *map(str, words)],
        env=cli.env,
        capture_output=True,
        text=True,
    )
    *said, rss = process.stderr.split()
    assert process.returncode == 0 and "sshjobs:" == (said or ["sshjobs:"])[0]
    assert int(rss) < 60_000
    return process.stdout.split()


_MAKE_ENDED = """cd {base}/jobs && umask 077 && xargs mkdir <{ids} && while read -r id
do printf 'id=%s\\nstatus=0\\nlog_bytes=0\\nend=\\n' "$id" >"$id/exit"; done <{ids}
"""


def test_many_jobs_cost_no_memory(cli: Cli) -> None:
    ids = [new_job_id() for _ in range(25_000)]
    file = cli.base.parent / "ids"
    file.write_text("".join(f"{job_id}\n" for job_id in ids))
    cli.ok("run", cli.host, "--", _MAKE_ENDED.format(base=cli.base, ids=file))
    store = Store(str(cli.home))
    (row,) = store.jobs.iterate_jobs()
    store.jobs.add_jobs(
        row._replace(id=job_id, state="RUNNING", command="x" * 200) for job_id in ids
    )
    store.close()
    assert _weighed(cli, "wait").count("COMPLETED") == len(ids)
    assert _weighed(cli, "reap").count("COMPLETED") == len(ids) + 1
    assert list((cli.base / "jobs").iterdir()) == []


def test_a_batch_costs_no_memory(cli: Cli, tmp_path: Path) -> None:
    jobs = tmp_path / "jobs"
    with jobs.open("w") as file:
        for n in range(80):
            file.write(f"echo {n} #{'x' * 1_000_000}\n")
    ids = _weighed(cli, "submit", cli.host, "--from", jobs)
    assert len(set(ids)) == 80
    cli.ok("wait")
    assert cli.ok("logs", ids[0]).out == "0\n" and cli.ok("logs", ids[-1]).out == "79\n"


@pytest.mark.parametrize(
    "line",
    [
        b'{"command": 3}',
        b'{"comand": "x"}',
        b'{"a',
        b'{"command": "\\ud800"}',
        b'{"command": "x", "cwd": "\\ud800"}',
        b'{"command": "x", "name": "\\ud800"}',
        b'{"command": "x", "cleanup": "perhaps"}',
    ],
)
def test_a_batch_with_a_mistake_is_refused_whole(cli: Cli, line: bytes) -> None:
    ended = cli("submit", cli.host, "--from", "-", stdin=b"true\n" + line)
    assert ended.status == 64
    assert "line 2" in ended.err
    assert cli.ok("list").out == ""
    assert not list((cli.home / "specs").iterdir())


def test_a_batch_may_begin_with_a_byte_order_mark(cli: Cli) -> None:
    text = b'\xef\xbb\xbf{"command": "echo one"}\r\necho two\r\n'
    ids = cli.ok("submit", cli.host, "--from", "-", stdin=text).lines
    cli.ok("wait")
    assert [cli.ok("logs", job_id).out for job_id in ids] == ["one\n", "two\n"]


def test_a_name_that_is_no_text_is_refused(cli: Cli) -> None:
    for flag in ("--name", "--key"):
        ended = cli("submit", cli.host, flag, os.fsdecode(b"\xff"), "--", "true")
        assert ended.status == 64, ended


def test_a_batch_stays_in_step_with_its_input(cli: Cli) -> None:
    lines = b'true\n{"command": "true", "shell": "/no/such/shell"}\ntrue\n'
    ended = cli("submit", cli.host, "--from", "-", stdin=lines)
    assert ended.status == 69
    assert [len(line) for line in ended.lines] == [16, 1, 16]
    assert "job 2 of 3" in ended.err and "/no/such/shell" in ended.err
