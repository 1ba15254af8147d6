"""A command of the user's hears of each end once, and nothing waits for it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sshjobs import states
from sshjobs.cli import notifier
from sshjobs.cli.notifier import main
from sshjobs.errors import SpecError
from sshjobs.model import Job, Spec
from sshjobs.rounds import notify
from sshjobs.store import Store
from sshjobs.verbs.context import Context
from sshjobs.verbs.submit import JobRequest
from tests.cli import Cli, eventually, finish
from tests.remote.host import gone


class Heard:
    """A command that keeps what it hears, a line a job."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "heard"
        self.command = f"cat >>{self.path}"

    @property
    def jobs(self) -> list[dict[str, Any]]:
        """What it has heard so far."""
        text = self.path.read_text() if self.path.exists() else ""
        return [json.loads(line) for line in text.splitlines()]

    def wait_for(self, count: int) -> list[dict[str, Any]]:
        """Wait until it has heard of so many ends."""
        eventually(lambda: len(self.jobs) >= count, f"{count} ends are heard of")
        return self.jobs


@pytest.fixture
def heard(place: Path) -> Heard:
    return Heard(place)


def test_many_that_wait_are_heard_of_once_a_job(cli: Cli, heard: Heard) -> None:
    cli.env["SSHJOBS_NOTIFY"] = heard.command
    go = cli.base.parent / "go"
    jobs = [f"until test -e {go}; do sleep 0.1; done; exit {n}" for n in range(3)]
    ids = [cli.submit("--", line) for line in jobs]
    waits = [cli.start("wait", *ids) for _ in range(8)]
    eventually(lambda: cli.hosts()["sessions"] >= 2)
    go.touch()
    finish(waits)
    rows = heard.wait_for(3)
    for _ in range(3):
        cli("poll", *ids)
    cli.ok("reap", *ids)
    time.sleep(0.5)
    assert sorted(row["id"] for row in heard.jobs) == sorted(ids)
    listed = {row["id"]: row for row in cli.ok("list", "--json", "--all").objects}
    for row in rows:
        known = listed[row["id"]]
        assert row.keys() == known.keys()
        for name in ("state", "exit_status", "command", "host", "finished_iso"):
            assert row[name] == known[name]


def test_a_command_of_one_job_is_run_by_whoever_learns_of_the_end(
    cli: Cli, heard: Heard
) -> None:
    flags = ("--notify", heard.command)
    one = cli.submit(*flags, "--name", "one", "--", "sleep 1; exit 5")
    other = cli.submit("--", "true")
    cli("wait", one, other)
    (row,) = heard.wait_for(1)
    assert (row["id"], row["state"], row["exit_status"]) == (one, "FAILED", 5)
    assert cli(*("run", cli.host), *flags, "--", "echo out").out == "out\n"
    assert heard.wait_for(2)[1]["state"] == "COMPLETED"
    eventually(lambda: not os.listdir(cli.home / "notify"), "commands are gone")
    assert cli.ok("kill", cli.submit(*flags, "--", "sleep 100")).status == 0
    assert heard.wait_for(3)[2]["state"] == "CANCELLED"


def test_the_words_of_a_job_reach_no_shell(cli: Cli, heard: Heard) -> None:
    mark = cli.home.parent / "mark"
    evil = f"$(touch {mark}) `touch {mark}` '; touch {mark}; \" \n&& touch {mark}"
    cli.env["SSHJOBS_NOTIFY"] = heard.command
    cli.ok("run", cli.host, "--name", evil, "--key", evil, "--", f": '{mark}'")
    (row,) = heard.wait_for(1)
    assert (row["name"], row["key"]) == (evil, evil)
    assert not mark.exists()


def test_nothing_waits_for_a_command_and_its_failure_is_written_down(
    cli: Cli, heard: Heard
) -> None:
    go = cli.home.parent / "go"
    line = f"until test -e {go}; do sleep 0.1; done; echo told; exit 3"
    job = cli.submit("--notify", line, "--", "true")
    ended = cli.ok("wait", job)
    assert ended.err == ""
    log = cli.home / "notify.log"
    assert log.read_text() == ""
    assert log.stat().st_mode & 0o777 == 0o600
    go.touch()
    eventually(lambda: "ended with 3" in log.read_text())
    told, remark = log.read_text().splitlines()
    assert told == "told" and f"job {job}: notify: the command ended with 3" in remark
    # A place that takes no log hinders no command of ours, and no end.
    log.unlink()
    log.symlink_to(cli.home / "elsewhere")
    assert (
        cli.ok("run", cli.host, "--notify", "true", "--", "echo fine").out == "fine\n"
    )
    assert not (cli.home / "elsewhere").exists()


def test_a_command_that_nobody_takes_does_not_stay(tmp_path: Path) -> None:
    store = Context({"SSHJOBS_HOME": str(tmp_path / "home")}, {}).store
    old, new = "a" * 16, "b" * 16
    for job_id in (old, new):
        store.files.save_notify(job_id, "true")
    os.utime(tmp_path / "home" / "notify" / old, (1.0, 1.0))
    store.files.drop_old_notify(time.time() - 60.0)
    assert os.listdir(tmp_path / "home" / "notify") == [new]
    assert store.files.take_notify(new) == "true"
    assert store.files.take_notify(new) == store.files.take_notify(old) == ""


def test_a_command_with_a_nul_is_refused() -> None:
    with pytest.raises(SpecError, match="not a command"):
        JobRequest(Spec(b"true"), notify="a\0b")
    with pytest.raises(SpecError, match="notify is a str"):
        JobRequest(Spec(b"true"), notify=1)  # type: ignore[arg-type]


def test_no_module_of_the_directory_where_a_command_was_given_is_run(
    cli: Cli, heard: Heard, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    for name in ("signal", "subprocess", "json", "queue"):
        (tmp_path / f"{name}.py").write_text(f"open({str(mark)!r}, 'w')\n")
    go = cli.base.parent / "go"
    line = f"until test -e {go}; do sleep 0.1; done"
    job = cli.submit("--notify", heard.command, "--", line)
    go.touch()
    top = Path(__file__).parent.parent
    code = "from sshjobs.cli.main import run_as_process; run_as_process()"
    code = f"import sys; sys.path[0] = {str(top)!r}; {code}"
    wait = [sys.executable, "-c", code, "wait", job]
    subprocess.run(wait, cwd=tmp_path, env=cli.env, check=True, capture_output=True)
    assert [row["id"] for row in heard.wait_for(1)] == [job]
    assert not mark.exists()


def test_a_command_waits_for_its_turn_however_old_its_job_is(
    cli: Cli, heard: Heard
) -> None:
    """One notifier that ends leaves alone what another has not told yet."""
    go = cli.home.parent / "go"
    slow = f"until test -e {go}; do sleep 0.1; done; {heard.command}"
    flags = ("--name", "old", "--notify")
    wait = f"until test -e {go}.end; do sleep 0.1; done"
    ids = [cli.submit(*flags, slow, "--", wait) for _ in range(2)]
    for job_id in ids:
        os.utime(cli.home / "notify" / job_id, (1.0, 1.0))  # submitted long ago
    Path(f"{go}.end").touch()
    cli.ok("wait", *ids)
    cli.ok("run", cli.host, "--notify", heard.command, "--", "true")
    heard.wait_for(1)
    time.sleep(1)  # it looks for old ones then
    go.touch()
    assert sorted(row["id"] for row in heard.wait_for(3)[1:]) == sorted(ids)


def test_a_flood_of_words_fills_no_disk(cli: Cli, heard: Heard) -> None:
    line = "yes | head -c 50000000; yes oops | head -c 50000000 >&2; "
    cli.ok("run", cli.host, "--notify", line + heard.command, "--", "true")
    heard.wait_for(1)
    log = cli.home / "notify.log"
    eventually(lambda: log.stat().st_size > 0)
    assert log.stat().st_size <= 1 << 20


@pytest.mark.parametrize("damage", ["command", "config"])
def test_what_hinders_a_notifier_is_one_line_of_its_log(
    cli: Cli,
    heard: Heard,
    damage: str,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = cli.submit("--", "true")
    cli.ok("wait", job)
    monkeypatch.setenv("SSHJOBS_HOME", str(cli.home))
    monkeypatch.setenv("SSHJOBS_NOTIFY", "true")
    if damage == "config":
        monkeypatch.setenv("SSHJOBS_MAX_HOSTS", "none")
    else:
        Context({"SSHJOBS_HOME": str(cli.home)}, {}).store.files.save_notify(
            job, ": " + "x" * 200_000
        )
    main([job])
    said = capfd.readouterr().out.splitlines()
    assert len(said) == 1 and f"job {job}: notify: " in said[0], said


# -- from a record alone -------------------------------------------------------------


@pytest.fixture
def ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Records jobs that have ended, each with a command; returns their ids."""
    home = tmp_path / "home"
    monkeypatch.setenv("SSHJOBS_HOME", str(home))

    def record(*commands: str) -> list[str]:
        ids = [letter * 16 for letter, _ in zip("abcdef", commands)]
        with closing(Store(str(home))) as store:
            store.sites.ensure_site("s1", "gpu1")
            store.jobs.add_jobs([Job(i, "gpu1", "s1", states.COMPLETED) for i in ids])
            for job_id, command in zip(ids, commands):
                store.files.save_notify(job_id, command)
        return ids

    return record


def test_commands_that_take_too_long_are_killed_and_soon_no_more_are_run(
    ended: Callable[..., list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """All of a command's group is; three in a row are enough."""
    pids = tmp_path / "pids"
    slow = f"sleep 600 & echo $$ $! >>{pids}; wait"
    run = notifier.run_command

    def run_within_bound(command: str, job: Job, text: str) -> bool:
        monkeypatch.setattr(notifier, "_BOUND", 1.5 if command == slow else 60.0)
        return run(command, job, text)

    monkeypatch.setattr(notifier, "run_command", run_within_bound)
    a, b, c, d, e, f = ended(slow, "echo in time", slow, slow, slow, slow)
    main([a, b, c, d, e, f])
    said = capfd.readouterr().out.splitlines()
    late = "notify: the command took longer than 1.5 s and was killed"
    expected = [
        f"{a}: {late}",
        "in time",
        *(f"{job_id}: {late}" for job_id in (c, d, e)),
    ]
    expected.append(f"{f}: notify: not told: the last 3 commands took too long")
    assert [line.partition(" job ")[2] or line for line in said] == expected
    started = [int(pid) for pid in pids.read_text().split()]
    assert started
    for pid in started:
        eventually(partial(gone, pid), "the processes of a command are gone")


def test_a_command_has_a_home_and_its_failure_is_told_in_a_line(
    ended: Callable[..., list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    a, b = ended("pwd; echo oops >&2; exit 4", "exit 0")
    main([a, b, "f" * 16])  # of a job that is not in the record, nothing is told
    first, second, third = capfd.readouterr().out.splitlines()
    assert (first, second) == (str(tmp_path), "oops")
    assert re.fullmatch(
        rf"\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d job {a}: notify: the command ended with 4",
        third,
    )
    monkeypatch.setenv("HOME", str(tmp_path / "none"))
    main(ended("pwd"))
    assert capfd.readouterr().out == "/\n"


def test_very_many_ends_are_told_by_several_notifiers(
    ended: Callable[..., list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heard = Heard(tmp_path)
    ids = ended(*[""] * 5)
    monkeypatch.setattr(notify, "_MOST", 2)
    command = f"ps -o sid= -p $PPID >>{tmp_path}/sessions; {heard.command}"
    notify.start_notifier(str(tmp_path / "home"), command, ids)
    assert sorted(row["id"] for row in heard.wait_for(5)) == ids
    sessions = (tmp_path / "sessions").read_text().split()
    # Ctrl-C of ours reaches none of them.
    assert len(set(sessions)) == 3 and str(os.getsid(0)) not in sessions


@pytest.mark.parametrize(("size", "kept"), [(1 << 20, True), ((1 << 20) + 1, False)])
def test_a_log_of_commands_that_is_too_long_begins_anew(
    ended: Callable[..., list[str]], tmp_path: Path, size: int, kept: bool
) -> None:
    ids = ended("echo told")
    log = tmp_path / "home/notify.log"
    log.write_bytes(b"x" * size)
    notify.start_notifier(str(tmp_path / "home"), "", ids)
    eventually(lambda: log.read_bytes().endswith(b"told\n"))
    assert log.stat().st_size == size * kept + 5
