"""Reaping by command: brought home first, then deleted, and nothing else deleted."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from sshjobs.store import Store
from tests.cli import Cli, eventually


@pytest.mark.quick
def test_reap_brings_home_before_it_deletes(cli: Cli) -> None:
    ended, running = cli.submit("--", "seq 1 1000"), cli.submit("--", "sleep 67")
    cli.ok("wait", ended)
    dry = cli.ok("reap", "--dry-run", "--json").objects
    assert [row["id"] for row in dry] == [ended]
    assert cli.directory(ended).exists()
    assert cli.ok("reap", "--older-than", "1h").out == ""
    assert [row["id"] for row in cli.ok("reap", "--json").objects] == [ended]
    assert not cli.directory(ended).exists()
    assert cli.directory(running).exists()
    assert len(cli.ok("logs", ended).lines) == 1000
    cli.ok("kill", running)


def test_reap_asks_before_it_chooses(cli: Cli) -> None:
    job = cli.submit("--", "sleep 0.5")
    eventually(lambda: (cli.directory(job) / "exit").exists(), "the end")
    assert [row["id"] for row in cli.ok("reap", "--json").objects] == [job]


def test_reap_leaves_what_is_not_a_job_of_ours(cli: Cli, tmp_path: Path) -> None:
    linked, odd = cli.submit("--", "echo x"), cli.submit("--", "echo y")
    cli.ok("wait")
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("x")
    os.rename(cli.directory(linked), cli.base / "moved")
    cli.directory(linked).symlink_to(precious)
    for path in cli.directory(odd).iterdir():
        path.unlink()
    (cli.directory(odd) / "mine").write_text("x")
    foreign = cli.base / "jobs" / "notes"
    foreign.mkdir()
    dry = cli("reap", "--orphans", "--dry-run")
    assert f"{cli.host}: notes: not the name of a job; left as it is" in dry.err
    ended = cli("reap", "--orphans")
    assert (precious / "file").exists()
    assert (cli.directory(odd) / "mine").exists()
    assert foreign.exists()
    assert f"job {linked}: not reaped: its directory is a symbolic link" in ended.err
    assert f"job {odd}: not reaped: no whole job of ours" in ended.err
    assert f"{cli.host}: notes: not the name of a job" in ended.err
    for job in (linked, odd):
        said = cli("logs", job)
        assert (said.status, said.raw) == (1, b""), said
        assert "its log cannot be read" in said.err


def test_a_log_that_another_machine_reaped_is_missed(cli: Cli, tmp_path: Path) -> None:
    other = cli.twin(tmp_path / "other-home")
    job, kept = other.submit("--", "echo baa"), other.submit("--", "echo maa")
    other("wait")
    other.ok("logs", kept)
    cli.ok("reap", "--host", cli.host, "--orphans")
    said = other("logs", job)
    assert (said.status, said.out) == (1, ""), said
    assert "0 of the 4 bytes" in said.err
    assert other.ok("logs", kept).out == "maa\n"
    assert other("reap").status == 0
    other.close()


def test_a_log_that_was_cut_short_ends_what_reads_it(cli: Cli) -> None:
    job = cli.submit("--", "echo abcdef")
    cli.ok("wait", job)
    cli.env["SSHJOBS_START_GRACE"] = "1"
    os.truncate(cli.directory(job) / "log", 3)
    said = cli("logs", job)
    assert (said.status, said.raw) == (1, b"abc"), said
    assert "3 of the 7 bytes" in said.err


def test_reap_drops_records_of_what_was_reaped_long_ago(cli: Cli) -> None:
    job, young = cli.submit("--", "echo old"), cli.submit("--", "echo young")
    cli.ok("wait")
    cli.ok("reap")
    store = Store(str(cli.home))
    then = time.time() - 91 * 86400.0
    store.jobs.update_job(job, submitted_at=then, reaped_at=then)
    store.close()
    assert cli.ok("reap", "--dry-run").err == ""
    assert (
        "records and logs of 1 job reaped more than 90 days ago" in cli.ok("reap").err
    )
    assert cli("show", job).status == 64
    assert cli.ok("logs", young).out == "young\n"


def test_reap_takes_orphans_with_their_records(cli: Cli, tmp_path: Path) -> None:
    other = cli.twin(tmp_path / "other-home")
    job = other.submit("--name", "lost sheep", "--", "echo baa")
    other.ok("wait")
    running = other.submit("--", "sleep 68")
    assert cli.ok("reap", "--host", cli.host).out == ""
    dry = cli.ok("reap", "--host", cli.host, "--orphans", "--dry-run", "--json")
    assert [row["id"] for row in dry.objects] == [job]
    assert cli.directory(job).exists()
    cli.ok("reap", "--host", cli.host, "--orphans")
    assert not cli.directory(job).exists()
    assert cli.directory(running).exists()
    assert cli.ok("logs", job).out == "baa\n"
    other.ok("kill", running)
    other.close()


def test_jobs_can_be_adopted_into_an_empty_store(cli: Cli, tmp_path: Path) -> None:
    job = cli.submit("--name", "n", "--", "echo here; sleep 2")
    other = cli.twin(tmp_path / "other-home")
    adopted = other.ok("poll", "--host", cli.host, "--adopt", "--json").objects
    assert [(row["id"], row["name"]) for row in adopted] == [(job, "n")]
    other.ok("wait", job)
    assert other.ok("logs", job).out == "here\n"
    other.close()


@pytest.mark.parametrize("cleanup", ["always", "on_success", "never"])
def test_the_flag_cleanup_says_when_a_directory_goes(cli: Cli, cleanup: str) -> None:
    good = cli("run", cli.host, "--cleanup", cleanup, "--", "echo x")
    bad = cli("run", cli.host, "--cleanup", cleanup, "--", "echo x; exit 2")
    assert (good.status, good.out, bad.status, bad.out) == (0, "x\n", 2, "x\n")
    left = {path.name for path in cli.base.glob("jobs/*")}
    kept = {end.said[0] for end in (good, bad)}
    expected = {"always": 0, "on_success": 1, "never": 2}[cleanup]
    assert len(left & kept) == expected


def test_reap_prints_a_line_for_systemd_tmpfiles(cli: Cli) -> None:
    line = cli.ok("reap", "--tmpfiles", "--older-than", "7d").out
    assert line == f"e {cli.base}/jobs - - - 7d\n"
