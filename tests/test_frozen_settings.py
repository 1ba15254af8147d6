"""Settings are read once and never change."""

from __future__ import annotations

from pathlib import Path

import pytest

from sshjobs.model import Spec
from sshjobs.settings import SETTINGS, Settings
from sshjobs.verbs.context import Context
from sshjobs.verbs.poll import poll_jobs
from sshjobs.verbs.submit import JobRequest, submit_jobs
from tests.cli import Cli


@pytest.mark.parametrize("name", [setting.name for setting in SETTINGS])
def test_no_setting_changes(name: str) -> None:
    settings = Settings()
    before = getattr(settings, name)
    with pytest.raises(AttributeError, match=name):
        setattr(settings, name, before)
    with pytest.raises(AttributeError, match=name):
        delattr(settings, name)
    assert getattr(settings, name) == before


def test_a_change_is_a_copy() -> None:
    settings = Settings(persist=5)
    other = settings.replace(remote_base_dir="/x")
    assert (other.remote_base_dir, other.persist) == ("/x", 5.0)
    assert settings.remote_base_dir == "~/.sshjobs"


def test_a_poll_moves_no_later_submit(cli: Cli, place: Path) -> None:
    """A job in A was polled; what is submitted then goes where it should, to B."""
    job = cli.submit("--", "sleep 2")
    other = cli.base.parent / "other"
    environ = cli.env | {"SSHJOBS_REMOTE_BASE_DIR": str(other)}
    ctx = Context(environ)
    try:
        assert poll_jobs(ctx, [job]).jobs[0].id == job
        (done,) = submit_jobs(ctx, cli.host, [JobRequest(Spec(b"true"))])
    finally:
        ctx.close()
    assert done.job is not None
    assert (other / "jobs" / done.job.id).is_dir()
