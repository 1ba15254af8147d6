"""Each write to standard output is a system call where nobody buffers: they are few."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import pytest

from sshjobs.cli.output import build_job_printer, print_error, print_line
from sshjobs.model import SHOWN_FIELDS, Job
from sshjobs.store import Store

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


#: Of each type the value of a field that is no default.
VALUES: dict[str, Any] = {"str": "x", "int": 7, "float": 5.5, "bool": True}


@pytest.mark.parametrize("values", [{}, {"json": True}])
def test_what_is_shown_of_a_job_is_all_that_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values: dict[str, bool]
) -> None:
    kinds = {name: str(kind).split()[0] for name, kind in Job.__annotations__.items()}
    job = Job(**{name: VALUES[kind] for name, kind in kinds.items()})
    jobs = [
        job._replace(id=name * 16, state=state, **changes)
        for name, state, changes in (
            ("a", "RUNNING", {"finished_at": None}),
            ("b", "FAILED", {"name": "", "signal": None}),
            ("c", "PENDING", {"name": "", "key": "", "started_at": None}),
        )
    ]
    store = Store(str(tmp_path / "home"))
    store.jobs.add_jobs(jobs)
    monkeypatch.setattr("time.time", lambda: 100.0)
    shown = store.jobs.find_shown(one.id for one in jobs)
    store.close()
    for one in jobs:
        default = Job(one.id, one.host, one.site_id, one.state)._asdict()
        known = {name: getattr(one, name) for name in SHOWN_FIELDS}
        assert shown[one.id]._asdict() == default | known
    texts = []
    for some in (jobs, list(shown.values())):
        out = Written()
        monkeypatch.setattr(sys, "stdout", out)
        build_job_printer(values)(some)
        texts.append(out.texts)
    assert texts[0] == texts[1]
