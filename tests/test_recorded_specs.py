"""Jobs whose record has all of their spec, so that no file has it."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from sshjobs.model import (
    LINE,
    RECORDED,
    VECTOR,
    Job,
    Spec,
    build_recorded_spec,
)
from sshjobs.settings import Settings
from sshjobs.store import Store
from sshjobs.verbs.submit import JobRequest, build_job
from tests.cli import Cli

#: A value of each field that is not the usual one, and the mark of such a spec.
OTHERS: dict[str, tuple[Any, str]] = {
    "command": ((b"true",), VECTOR),
    "env": ((("TOKEN", b"s3cret"),), LINE),
    "cwd": ("/tmp/a b\n'", RECORDED),
    "timeout": (1.5, RECORDED),
    "shell": ("bash -l", RECORDED),
    "stdin": (b"s3cret", ""),
    "kill_grace": (9.0, LINE),
    "launcher": ("slurm", LINE),
    "launcher_args": ((b"-p", b"x"), LINE),
    "unbuffered": (False, LINE),
    "split": (True, RECORDED),
}


def record(spec: Spec, key: str = "") -> Job:
    """Return the row of a job of this spec, as the store gives it back."""
    coordinator: Any = SimpleNamespace(
        identity=SimpleNamespace(host="h"), site_id="c" * 16, settings=Settings()
    )
    return build_job(coordinator, JobRequest(spec, key=key), 1.0)


@pytest.mark.parametrize("field", Spec._fields)
def test_each_field_is_recorded_or_has_a_file(field: str) -> None:
    value, mark = OTHERS[field]
    spec = Spec(b"echo up; exit 3")._replace(**{field: value})
    job = record(spec)
    assert job.digest == mark
    assert (mark == RECORDED) == (build_recorded_spec(job) == spec)


@pytest.mark.parametrize(
    ("line", "is_whole"),
    [
        (b"true", True),
        ("printf 'ä\n\t%s' \x1b".encode(), True),
        (b"x" * 4096, True),
        (b"x" * 4097, False),
        (b"echo \xff", False),
        (b"echo \xed\xa0\x80", False),
        (rb"echo \xff", True),
    ],
)
def test_a_line_is_recorded_if_it_is_text_and_short(
    line: bytes, is_whole: bool, tmp_path: Any
) -> None:
    job = record(Spec(line))
    assert (job.digest == RECORDED) == is_whole
    store = Store(f"{tmp_path}/home")
    with store.begin_write():
        store.jobs.add_jobs([job])
    read = store.jobs.find_job(job.id)
    assert read and (build_recorded_spec(read) == Spec(line)) == is_whole


def test_a_job_with_a_key_has_its_digest() -> None:
    spec = Spec(b"true")
    assert record(spec, key="k").digest == spec.digest()


_SPY = """if True:
    import os, sys
    from sshjobs.cli.main import main
    place = os.path.join(os.environ["SSHJOBS_HOME"], "specs")
    def look(event, args):
        if event == "sshjobs.request":
            print(*os.listdir(place), file=sys.stderr)
    sys.addaudithook(look)
    sys.exit(main(sys.argv[1:]))
"""


def test_only_a_spec_that_may_hold_a_secret_is_a_file_meanwhile(cli: Cli) -> None:
    lines = b'{"command": "echo $T", "env": {"T": "s3cret"}}\necho bare\n'
    words = [sys.executable, "-c", _SPY, "submit", cli.host, "--from", "-"]
    ran = subprocess.run(words, input=lines, env=cli.env, capture_output=True)
    ids = ran.stdout.decode().split()
    assert len(ids) == 2 and ids[0] in ran.stderr.decode().split()
    assert ids[1] not in ran.stderr.decode()
    cli.ok("wait")
    assert [cli.ok("logs", one).raw for one in ids] == [b"s3cret\n", b"bare\n"]
    assert os.listdir(cli.home / "specs") == []
