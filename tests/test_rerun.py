"""Jobs that ended badly run again, each once, as they were."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from sshjobs import states
from sshjobs.errors import SpecError
from sshjobs.model import Job, Spec
from sshjobs.store import Store
from sshjobs.verbs.context import Context
from sshjobs.verbs.rerun import build_request, choose_jobs_to_rerun
from sshjobs.verbs.selection import Criteria
from sshjobs.verbs.submit import JobRequest
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


# -- from a record alone -------------------------------------------------------------


@pytest.fixture
def ctx(tmp_path: Path) -> Iterator[Context]:
    """A record of two connections, and no host."""
    with closing(Context({"SSHJOBS_HOME": str(tmp_path / "home")}, {})) as made:
        for site_id, host in (("s1", "box"), ("s2", "far")):
            made.store.sites.ensure_site(site_id, host)
        yield made


def make_job(number: int, state: str, **fields: Any) -> Job:
    """Return a job that was submitted so many seconds after the first."""
    site_id = fields.pop("site_id", "s1")
    words = {"name": "n", "command": "echo hi", "digest": "line"} | fields
    job_id = f"j{number}" + "a" * 14
    return Job(job_id, "box", site_id, state, submitted_at=9e8 + number, **words)


def choose(ctx: Context, *jobs: Job, every: bool = False, **flags: Any) -> list[Job]:
    """Record jobs, and return those that are to run again."""
    ctx.store.jobs.add_jobs(list(jobs))
    return choose_jobs_to_rerun(ctx, Criteria(**(flags or {"names": ["n"]})), every)


@pytest.mark.quick
@pytest.mark.parametrize("state", states.STATES)
def test_jobs_that_ended_badly_run_again_and_completed_ones_if_all_do(
    ctx: Context, state: str
) -> None:
    job = make_job(2, state)
    is_bad = state in (states.FAILED, states.CANCELLED, states.TIMEOUT, states.LOST)
    assert choose(ctx, job) == [job] * is_bad
    is_meant = is_bad or state == states.COMPLETED
    assert choose(ctx, every=True, names=["n"]) == [job] * is_meant


@pytest.mark.quick
def test_of_a_key_its_newest_attempt_on_the_same_connection_counts(
    ctx: Context,
) -> None:
    failed = make_job(2, states.FAILED, key="k", name="old")
    again = make_job(3, states.FAILED, key="k", attempt=2)
    done = make_job(4, states.COMPLETED, key="k", attempt=3, site_id="s2")
    assert choose(ctx, failed, again, done) == [again]
    # Of both attempts, and of the first alone, it is the newest, and once.
    assert choose(ctx, names=["n", "old"]) == [again]
    assert choose(ctx, names=["old"]) == [again]
    assert choose(ctx, names=["n", "old"], every=True) == [again, done]


@pytest.mark.quick
def test_a_job_is_as_that_which_ran_in_its_place(ctx: Context) -> None:
    first = make_job(2, states.FAILED)
    second = make_job(3, states.FAILED, key=f"rerun/{first.id}", attempt=1)
    third = make_job(4, states.RUNNING, key=f"rerun/{first.id}", attempt=2, name="o")
    other = make_job(5, states.LOST)
    assert choose(ctx, first, other) == [first, other]
    assert choose(ctx, second) == [second, other]
    assert choose(ctx, third) == [other]


@pytest.mark.quick
def test_a_request_has_all_that_the_record_has() -> None:
    job = make_job(
        2,
        states.FAILED,
        name="name",
        key="key",
        cwd="/srv",
        timeout=7.5,
        shell="/bin/zsh",
        cleanup="always",
        max_log_bytes=77,
        env_names="A B",
    )
    values = {"B": b"2", "A": b"1", "C": b"3"}
    spec = Spec(
        b"echo hi", (("A", b"1"), ("B", b"2")), "/srv", 7.5, "/bin/zsh", None, 3.5
    )
    assert build_request(job, values, 3.5) == JobRequest(
        spec, "name", "key", cleanup="always", max_log_bytes=77
    )


@pytest.mark.quick
def test_a_job_without_a_name_is_called_as_its_command_begins() -> None:
    text = "  " + "x" * 70 + "\nsecond line"
    job = make_job(2, states.FAILED, name="", command=text)
    request = build_request(job, {}, 10.0)
    assert (request.name, request.key) == ("x" * 60, f"rerun/{job.id}")
    assert build_request(job._replace(key="k"), {}, 10.0).name == ""


@pytest.mark.quick
def test_a_command_that_is_no_words_may_be_a_line() -> None:
    job = make_job(2, states.FAILED, command="echo 'open")
    assert build_request(job, {}, 10.0).spec.command == b"echo 'open"
    for command in ("echo 'open", "", "   "):
        with pytest.raises(SpecError, match="submit it again"):
            build_request(job._replace(command=command, digest="vector"), {}, 10.0)


@pytest.mark.quick
def test_values_of_variables_and_options_of_a_scheduler_are_asked_for() -> None:
    job = make_job(2, states.FAILED, env_names="A B C")
    with pytest.raises(SpecError) as caught:
        build_request(job, {"B": b"2"}, 10.0)
    line = f"sshjobs rerun {job.id} --env-from A --env-from C"
    assert str(caught.value).endswith(line)
    with pytest.raises(SpecError, match="the options for slurm are not in the record"):
        build_request(make_job(2, states.FAILED, launcher="slurm"), {}, 10.0)


def test_jobs_run_again_where_they_ran_whatever_the_settings_are_now(
    new_box: Callable[..., Cli], place: Path
) -> None:
    """Each at its connection and base directory; a host that is down is told of."""
    cli = new_box()
    assert cli.sshd is not None
    cli.sshd.write_client_config(before="Host down\n HostName 127.0.0.1\n Port 1\n")
    runs = cli.base.parent / "runs"
    other = place / "host0/other"
    cli.ok("ssh", cli.host, f"mkdir {other}")
    words = ("--name", "n", "--", f"echo $SSHJOBS_JOB_ID >>{runs}; exit 1")
    first = cli.submit(*words)
    was = {name: cli.env[name] for name in ("SSHJOBS_REMOTE_BASE_DIR",)}
    cli.env["SSHJOBS_REMOTE_BASE_DIR"] = str(other / "base")
    second = cli.ok("submit", "-o", "SendEnv=NOTHING", cli.host, *words).id
    assert cli("wait", first, second).status == 1
    down = Job("d" * 16, "down", "", states.LOST, name="n", command=":", digest="line")
    with closing(Context(cli.env, {})) as ctx, ctx.coordinator("down") as there:
        down = down._replace(site_id=there.site_id)
        ctx.store.jobs.add_jobs([down])
    config = cli.env.pop("SSHJOBS_SSH_CONFIG")
    cli.env["SSHJOBS_REMOTE_BASE_DIR"] = str(other / "nothing")
    again = cli("rerun", "--all", "n", "--json", "--wait-host", "0")
    assert again.status == 69, again
    told, count = again.said
    assert told.startswith("sshjobs: down: ") and count == "sshjobs: 2 run again"
    keys = {row["key"]: row["id"] for row in again.objects}
    new = [keys[f"rerun/{first}"], keys[f"rerun/{second}"]]
    cli.env |= was | {"SSHJOBS_SSH_CONFIG": config}
    assert cli("wait", *new).status == 1
    assert sorted(runs.read_text().split()) == sorted([first, second, *new])
    assert {path.name for path in (cli.base / "jobs").iterdir()} == {first, new[0]}
    folders = {path.name for path in (other / "base/jobs").iterdir()}
    assert folders == {second, new[1]} and not (other / "nothing").exists()
    with closing(Store(str(cli.home))) as store:
        recorded = store.jobs.find_jobs([first, second, *new])
    for old, job_id in zip((first, second), new):
        assert recorded[old].site_id == recorded[job_id].site_id
        assert recorded[job_id].host == cli.host
    sites = {row["site_id"] for row in cli.ok("hosts", "--json").objects}
    assert sites == {job.site_id for job in (*recorded.values(), down)}
