"""Each write to standard output is a system call where nobody buffers: they are few."""

from __future__ import annotations

import io
import sys

import pytest

from sshjobs.cli.output import build_job_printer, print_error, print_line
from sshjobs.model import Job

pytestmark = pytest.mark.quick


class Written(io.StringIO):
    """Has each text that was written, an empty one too (print() ends with one)."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def write(self, text: str) -> int:
        self.texts.append(text)
        return len(text)


def test_a_line_is_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    out, other = Written(), Written()
    monkeypatch.setattr(sys, "stdout", out)
    print_line("one")
    print_line("two", other)
    monkeypatch.setattr(sys, "stderr", other)
    print_error("three\nfour")
    assert out.texts == ["one\n"]
    assert other.texts == ["two\n", "sshjobs: three\n  four\n"]


def test_jobs_that_are_shown_together_are_one_write(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = Written()
    monkeypatch.setattr(sys, "stdout", out)
    jobs = [Job(name * 16, "box", "c", "RUNNING", name=name) for name in "abc"]
    show = build_job_printer({})
    show(jobs)
    show([])
    build_job_printer({"quiet": True})(jobs)
    assert len(out.texts) == 1
    ids = [line.split()[0] for line in out.texts[0].splitlines()]
    assert ids == [job.id for job in jobs]
