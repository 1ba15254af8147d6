"""Of a log, no more comes home than was wanted, and nothing of it goes in silence."""

from __future__ import annotations

from tests.box import Box, eventually

MIB = 1 << 20
TEXT = b"".join(b"%07d\n" % number for number in range(1, 2 * MIB // 8 + 1))
LINE = f"seq -f %07g 1 {2 * MIB // 8}"
MOST = 100_000


def test_a_log_is_cut_here_and_whole_there(box: Box) -> None:
    ended = box("run", box.host, "--max-log-bytes", str(MOST), "--", LINE)
    assert ended.status == 0
    assert ended.raw == TEXT[:MOST]
    assert "cut at 100000 bytes" in ended.err and "--whole" in ended.err
    (job,) = box.ok("list", "--json").objects
    assert (job["log_bytes"], job["state"]) == (len(TEXT), "COMPLETED")
    again = box.ok("logs", job["id"])
    assert again.raw == TEXT[:MOST] and "--whole" in again.err
    assert (box.home / "logs" / job["id"]).stat().st_size == MOST
    whole = box.ok("logs", job["id"], "--whole")
    assert whole.raw == TEXT and whole.err == ""


def test_a_log_that_was_cut_goes_only_by_an_explicit_word(box: Box) -> None:
    short = box.submit("--max-log-bytes", "10", "--", "echo short")
    job = box.submit("--max-log-bytes", str(MOST), "--cleanup", "always", "--", LINE)
    box.ok("wait")
    reaped = box("reap")
    assert reaped.status == 1 and job in reaped.err and "--cut-logs" in reaped.err
    assert box.directory(job).exists() and not box.directory(short).exists()
    assert box.ok("logs", job).raw == TEXT[:MOST]
    box.ok("reap", "--cut-logs")
    assert not box.directory(job).exists()
    ended = box("logs", job)
    assert ended.raw == TEXT[:MOST] and ended.status == 1
    assert "went with its directory" in ended.err


def test_a_job_that_goes_on_after_its_log_was_cut_is_waited_for(box: Box) -> None:
    line = f"{LINE}; sleep 1; exit 3"
    ended = box("run", box.host, "--max-log-bytes", str(MOST), "--", line)
    assert (ended.status, ended.raw) == (3, TEXT[:MOST])


def test_a_long_log_is_fetched_up_to_its_bound_only(box: Box) -> None:
    most = 10 * MIB
    job = box.submit(
        "--max-log-bytes", str(most), "--", f"head -c {12 * MIB} /dev/zero"
    )
    eventually(lambda: box.state(job) == "COMPLETED")
    assert len(box.ok("logs", job).raw) == most
    assert (box.home / "logs" / job).stat().st_size == most


def test_the_setting_is_the_default_of_the_flag(box: Box) -> None:
    box.env["SSHJOBS_MAX_LOG_BYTES"] = "4"
    assert box("run", box.host, "--", "echo hello").raw == b"hell"
