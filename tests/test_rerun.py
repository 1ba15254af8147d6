"""Jobs that ended badly run again, each once, as they were."""

from __future__ import annotations

from pathlib import Path

import pytest

from sshjobs.errors import SpecError
from sshjobs.model import Job
from sshjobs.verbs.rerun import build_request
from tests.cli import Cli


def test_of_a_batch_only_the_failed_run_again_and_once(cli: Cli, place: Path) -> None:
    mark = cli.base.parent / "mark"
    runs = cli.base.parent / "runs"
    lines = [f"echo {n} >>{runs}; test {n} -ne 2 || test -e {mark}" for n in (1, 2, 3)]
    batch = place / "jobs.txt"
    batch.write_text("\n".join(lines))
    ids = cli.ok("submit", cli.host, "--from", batch, "--name", "sweep").lines
    assert cli("wait", *ids).status == 1
    shown = cli.ok("rerun", "sweep", "--dry-run")
    assert [line.split()[0] for line in shown.lines] == [ids[1]]
    again = cli.ok("rerun", "sweep")
    assert again.err == "sshjobs: 1 runs again\n"
    (new,) = again.lines
    assert cli("wait", new).status == 1
    assert (cli.job(new)["name"], cli.job(new)["key"]) == ("sweep", f"rerun/{ids[1]}")
    mark.touch()
    (last,) = cli.ok("rerun", "sweep").lines
    cli.ok("wait", last)
    assert cli.job(last)["attempt"] == 2
    for words in (["sweep"], ["--state", "FAILED"], [ids[1]], [new]):
        ended = cli.ok("rerun", *words)
        assert (ended.out, "nothing to run again" in ended.err) == ("", True), words
    assert sorted(runs.read_text().split()) == ["1", "2", "2", "2", "3"]


def test_a_job_runs_again_as_it_was(cli: Cli) -> None:
    odd = 'it\'s "odd" $HOME \\ *'
    words = ["sh", "-c", 'printf "%s\\n" "$PWD" "$1" "$TOKEN"; exit 3', "x", odd]
    flags = ["--cwd", "/", "--timeout", "1h", "--env", "TOKEN=abc"]
    job_id = cli.submit(*flags, "--", *words)
    assert cli("wait", job_id).status == 1
    refused = cli("rerun", job_id)
    assert refused.status == 64 and "--env-from TOKEN" in refused.err
    again = cli("rerun", job_id, "--env", "TOKEN=xyz")
    new = again.id
    assert cli("wait", new).status == 1
    assert cli.ok("logs", new).out == f"/\n{odd}\nxyz\n"
    assert cli.job(new)["timeout"] == 3600.0
    keyed = cli.submit("--key", "k1", "--", "echo keyed; exit 4")
    assert cli("wait", keyed).status == 1
    second = cli.job(cli.ok("rerun", "key:k1").id)
    assert (second["key"], second["attempt"], second["name"]) == ("k1", 2, "")


def test_what_the_record_has_not_is_refused_and_nothing_runs(
    cli: Cli, place: Path
) -> None:
    data = place / "data"
    data.write_text("x")
    whole = cli.submit("--name", "some", "--", "exit 1")
    cli.submit("--name", "some", "--stdin", data, "--", "cat; exit 1")
    long = cli.submit("--name", "long", "--", f": {'x' * 5000}; exit 1")
    assert cli("wait").status in (0, 1)
    assert cli("wait", whole, long).status == 1
    ended = cli("rerun", "some")
    assert (ended.status, ended.out) == (64, "") and "--stdin" in ended.err
    assert cli("rerun", "long").status == 64
    assert cli("rerun").status == 64
    assert cli("rerun", "nosuchname").status == 64
    assert len(cli.ok("list").lines) == 3


@pytest.mark.quick
@pytest.mark.parametrize("mark", ["", "0123456789abcdef"])
def test_a_record_of_another_command_is_no_request(mark: str) -> None:
    job = Job("a" * 16, "h", "s1", "FAILED", command="echo hi", digest=mark)
    with pytest.raises(SpecError, match="submit it again"):
        build_request(job, {}, 10.0)
    request = build_request(job._replace(digest="line"), {}, 10.0)
    assert request.spec.command == b"echo hi"
    request = build_request(job._replace(digest="vector"), {}, 10.0)
    assert request.spec.command == (b"echo", b"hi")
