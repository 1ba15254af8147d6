"""Of a log, no more comes home than was wanted, and nothing of it goes in silence."""

from __future__ import annotations

from tests.cli import Cli, eventually

MIB = 1 << 20
TEXT = b"".join(b"%07d\n" % number for number in range(1, 2 * MIB // 8 + 1))
LINE = f"seq -f %07g 1 {2 * MIB // 8}"
MOST = 100_000


def test_a_log_is_cut_here_and_whole_there(cli: Cli) -> None:
    ended = cli("run", cli.host, "--max-log-bytes", str(MOST), "--", LINE)
    assert ended.status == 0
    assert ended.raw == TEXT[:MOST]
    assert "cut at 100000 bytes" in ended.err and "--whole" in ended.err
    (job,) = cli.ok("list", "--json").objects
    assert (job["log_bytes"], job["state"]) == (len(TEXT), "COMPLETED")
    again = cli.ok("logs", job["id"])
    assert again.raw == TEXT[:MOST] and "--whole" in again.err
    assert (cli.home / "logs" / job["id"]).stat().st_size == MOST
    whole = cli.ok("logs", job["id"], "--whole")
    assert whole.raw == TEXT and whole.err == ""


def test_a_log_that_was_cut_goes_only_by_an_explicit_word(cli: Cli) -> None:
    short = cli.submit("--max-log-bytes", "10", "--", "echo short")
    job = cli.submit("--max-log-bytes", str(MOST), "--cleanup", "always", "--", LINE)
    cli.ok("wait")
    reaped = cli("reap")
    assert reaped.status == 1 and job in reaped.err and "--cut-logs" in reaped.err
    assert cli.directory(job).exists() and not cli.directory(short).exists()
    assert cli.ok("logs", job).raw == TEXT[:MOST]
    cli.ok("reap", "--cut-logs")
    assert not cli.directory(job).exists()
    ended = cli("logs", job)
    assert ended.raw == TEXT[:MOST] and ended.status == 1
    assert "went with its directory" in ended.err


def test_a_job_that_goes_on_after_its_log_was_cut_is_waited_for(cli: Cli) -> None:
    line = f"{LINE}; sleep 1; exit 3"
    ended = cli("run", cli.host, "--max-log-bytes", str(MOST), "--", line)
    assert (ended.status, ended.raw) == (3, TEXT[:MOST])


def test_a_long_log_is_fetched_up_to_its_bound_only(cli: Cli) -> None:
    most = 10 * MIB
    job = cli.submit(
        "--max-log-bytes", str(most), "--", f"head -c {12 * MIB} /dev/zero"
    )
    eventually(lambda: cli.state(job) == "COMPLETED")
    assert len(cli.ok("logs", job).raw) == most
    assert (cli.home / "logs" / job).stat().st_size == most


def test_the_setting_is_the_default_of_the_flag(cli: Cli) -> None:
    cli.env["SSHJOBS_MAX_LOG_BYTES"] = "4"
    assert cli("run", cli.host, "--", "echo hello").raw == b"hell"


def test_a_line_of_a_batch_has_a_bound_of_its_own(cli: Cli) -> None:
    lines = b"""{"command": "echo hello", "max_log_bytes": 2}
{"command": "echo hello", "max_log_bytes": 0}
echo hello
"""
    words = ("submit", cli.host, "--max-log-bytes", "4", "--from", "-")
    ids = cli.ok(*words, stdin=lines).out.split()
    cli.ok("wait")
    logs = [cli("logs", job).raw for job in ids]
    assert logs == [b"he", b"hello\n", b"hell"]
