"""What a program tells of launchers: settings, and programs that stay on the host."""

from __future__ import annotations

import zlib

import pytest

from sshjobs.errors import SpecError
from sshjobs.launchers import find_launcher
from sshjobs.launchers.limit import build_line
from sshjobs.model import LIMIT, Spec
from sshjobs.protocol import Request
from sshjobs.protocol.launched import build_handle, build_launcher_settings

pytestmark = pytest.mark.quick


def join(name: str) -> bytes:
    return b"it's " + name.encode("ascii")


def make_program(name: str) -> list[bytes]:
    """Return what a program that stays on the host is told by."""
    text = join(name)
    return [
        f"sj_{name}_hash={zlib.crc32(text):08x}".encode(),
        f"sj_{name}='it'\\''s {name}'".encode(),
    ]


@pytest.mark.parametrize(
    ("launchers", "limits", "programs"),
    [
        (("slurm", "sge"), [], ["batch"]),
        ((LIMIT,), [b"sj_limits='a=1 -=2'"], ["pass"]),
        (("slurm", LIMIT), [b"sj_limits='a=1 -=2'"], ["batch", "pass"]),
    ],
)
def test_a_program_has_the_settings_of_its_launchers(
    launchers: tuple[str, ...], limits: list[bytes], programs: list[str]
) -> None:
    request = Request(
        launchers=launchers, queue_age=4.7, vanish_grace=9.2, limits="a=1 -=2"
    )
    assert build_launcher_settings(request, join) == [
        f"sj_launchers='{' '.join(launchers)}'".encode(),
        b"sj_queue_age=4",
        b"sj_vanish=9",
        *limits,
        *(line for name in programs for line in make_program(name)),
    ]


def test_a_hash_has_eight_digits() -> None:
    text = next(b"%d" % n for n in range(10**6) if zlib.crc32(b"%d" % n) < 1 << 24)
    lines = build_launcher_settings(Request(launchers=("slurm",)), lambda name: text)
    assert len(lines[3]) == len("sj_batch_hash=") + 8


def test_a_handle_names_the_launcher_and_the_place_in_line() -> None:
    assert build_handle(Spec(b"true", launcher="slurm")) == b"slurm"
    spec = Spec(b"true", launcher=LIMIT)
    assert build_handle(spec) == LIMIT.encode() + b"\n" + build_line(spec)


@pytest.mark.parametrize("launcher", ["slurm", "sge", "pbs", "lsf"])
def test_what_a_job_waits_for_stands_in_its_handle_and_in_no_option(
    launcher: str,
) -> None:
    own = (b"-p", b"9")
    words = (b"after=aaaaaaaaaaaaaaaa:any", b"room=wait")
    spec = Spec(b"true", launcher=launcher, launcher_args=words + own)
    find_launcher(launcher).check_spec(spec)
    assert find_launcher(launcher).build_options(spec) == own
    lines = [launcher.encode(), b"after=aaaaaaaaaaaaaaaa:any", b"room=wait"]
    assert build_handle(spec).splitlines() == lines
    behind = spec._replace(launcher_args=own + words)
    with pytest.raises(SpecError):
        find_launcher(launcher).check_spec(behind)
    nobody = spec._replace(launcher_args=(b"after=../../etc/passwd:ok",))
    with pytest.raises(SpecError, match="not jobs of ours"):
        find_launcher(launcher).check_spec(nobody)


@pytest.mark.parametrize(
    ("launcher", "words"),
    [
        ("slurm", (b"--time=3",)),
        ("lsf", (b"-W", b"3")),
        ("sge", (b"-l", b"h_rt=133")),
        ("pbs", (b"-l", b"walltime=133")),
        ("systemd", (b"-p", b"RuntimeMaxSec=133")),
    ],
)
def test_the_limit_of_a_scheduler_comes_after_that_of_a_job(
    launcher: str, words: tuple[bytes, ...]
) -> None:
    """And before the job's own options, of which a later one wins."""
    own = (b"-p", b"long")
    build = find_launcher(launcher).build_options
    spec = Spec(b"true", launcher_args=own, timeout=62.5, kill_grace=10.0)
    assert build(spec) == words + own
    whole = Spec(b"true", launcher_args=own, timeout=110.0, kill_grace=10.0)
    shown = tuple(word.replace(b"133", b"180") for word in words)
    assert build(whole) == shown + own
    assert build(Spec(b"true", launcher_args=own)) == own
