"""What a login has in its environment: nothing to our tools, everything to the job."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sshjobs import protocol
from sshjobs.protocol import Check, Request
from tests.cli import Cli
from tests.hosts import AWKS, FUNCTIONS, HOSTILE, OPTIONS, install, without
from tests.remote.host import Host, an_order, end_all, of, reap_of

#: What a job has besides what the login has, and what a shell sets by itself.
OURS = {"SSHJOBS_JOB_ID", "SSHJOBS_KEY", "SSHJOBS_ATTEMPT", "PYTHONUNBUFFERED"}
BY_ITSELF = {"_", "SHLVL", "PWD", "OLDPWD"}
#: More bytes than blocks, whatever the size of a block is.
LINES = b"i=0; while [ $i -lt 3000 ]; do echo $i; i=$((i + 1)); done"
LOG = b"".join(b"%d\n" % i for i in range(3000))


def pairs(environ: bytes) -> dict[str, str]:
    """Return what ``env -0`` printed, by name."""
    words = environ.decode("utf-8", "surrogateescape").split("\0")
    return dict(word.split("=", 1) for word in words if "=" in word)


def test_nothing_of_a_login_changes_what_is_read(
    any_host: Host,
) -> None:
    any_host.env |= HOSTILE | FUNCTIONS | OPTIONS
    a_round_of_each_kind(any_host)


@pytest.mark.parametrize("awk", AWKS)
def test_every_awk(tmp_path: Path, awk: str) -> None:
    """gawk, mawk, that of BusyBox, and the one true awk."""
    with host_of(tmp_path, "dash", awk, "gnu") as host:
        a_round_of_each_kind(host)


UUTILS = Path("/usr/lib/cargo/bin/coreutils")


def test_coreutils_in_rust(tmp_path: Path) -> None:
    """As a host has them whose tools are all of uutils (0.0.17 in Debian 12)."""
    if not (UUTILS / "dd").exists():
        if os.environ.get("CI") == "true":
            pytest.fail("CI must have rust-coreutils")
        pytest.skip("no uutils here: apt-get install rust-coreutils")
    with host_of(tmp_path, "dash", "mawk", "gnu") as host:
        for tool in UUTILS.iterdir():
            (tmp_path / "tools" / tool.name).symlink_to(tool)
        a_round_of_each_kind(host)


@pytest.mark.parametrize("tool", ["awk", "mkdir", "tail"])
def test_a_host_without_a_tool_is_refused_with_that_word(
    tmp_path: Path, tool: str
) -> None:
    """Of anything that is asked, and nothing is done."""
    host = Host(tmp_path, without(tmp_path / "tools", tool))
    start = an_order(b"true")
    kills, checks = (start.job_id,), (Check(start.job_id, None, ""),)
    logs = (protocol.LogWant(start.job_id, 0, 9),)
    for request in (
        Request(),
        Request(starts=(start,)),
        Request(kills=kills, checks=checks),
        Request(reaps=(protocol.Reap(start.job_id, 0),)),
        Request(logs=logs, listing=True),
    ):
        said = host.run(request)
        (failed,) = of(protocol.Failed, said)
        assert (failed.code, failed.text) == (
            "ETOOL",
            f"there is no {tool} on the host",
        )
        assert len(said) == 2 and not host.jobs.exists()


@contextmanager
def host_of(folder: Path, shell: str, awk: str, tools: str) -> Iterator[Host]:
    """A home on a host with these tools."""
    try:
        path = install(folder / "tools", shell, awk, tools)
    except LookupError as error:
        if os.environ.get("CI"):
            pytest.fail(f"CI must have {error}")
        pytest.skip(f"no {error} here")
    host = Host(folder, path)
    host.env["SJTEST"] = str(host.base)
    yield host
    end_all(host)


@pytest.mark.slow
@pytest.mark.parametrize("name", HOSTILE)
def test_nor_does_each_alone(host: Host, name: str) -> None:
    host.env[name] = HOSTILE[name]
    a_round_of_each_kind(host)


def a_round_of_each_kind(host: Host) -> None:
    first = host.start(LINES, key="k")
    ended = host.end(first)
    assert (ended.exit_status, ended.log_bytes) == (0, len(LOG))
    assert ended.started_at and ended.finished_at
    assert abs(ended.finished_at - ended.started_at) < 60
    assert host.log(first) == LOG
    both = (protocol.LogWant(first, 7, 5), protocol.LogWant(first, 9000, 1 << 20))
    said = host.run(Request(logs=both))
    pieces = [event.data for event in of(protocol.LogData, said)]
    assert b"".join(pieces) == LOG[7:12] + LOG[9000:]
    listed = of(protocol.Listed, host.run(Request(listing=True)))
    assert [(one.job_id, one.state, one.log_bytes) for one in listed] == [
        (first, "COMPLETED", len(LOG))
    ]
    assert listed[0].age < 60
    started = host.running(b"sleep 100 & sleep 100")
    again = host.check(started.job_id, started.pid, started.start)
    assert again == []
    host.kill(started.job_id)
    assert host.end(started.job_id).cause == "cancelled"
    limited = host.start(b"sleep 100", timeout=0.3)
    assert host.end(limited).cause == "timeout"
    ids = (first, started.job_id, limited)
    reaps = tuple(reap_of(job_id, host.log(job_id)) for job_id in ids)
    reaped = of(protocol.Reaped, host.run(Request(reaps=reaps)))
    assert {event.job_id for event in reaped} == set(ids)
    assert list(host.jobs.iterdir()) == []


def test_a_job_has_the_environment_of_the_login(
    any_host: Host,
) -> None:
    """What is set aside for our tools comes back before the job begins."""
    any_host.env |= {n: v for n, v in HOSTILE.items() if n != "PS4"}  # bash of root
    any_host.env["POSIXLY_CORRECT"] = "y"  # as bash writes it
    del any_host.env["BASH_VERSION"]  # and that
    job_id = any_host.start((b"env", b"-0"), key="k")
    any_host.end(job_id)
    got = pairs(any_host.log(job_id))
    differ = {
        name
        for name in got.keys() | any_host.env.keys()
        if got.get(name) != any_host.env.get(name)
    }
    assert differ - OURS <= BY_ITSELF


def test_a_job_in_an_environment_without_a_locale_has_none(
    any_host: Host,
) -> None:
    job_id = any_host.start((b"env", b"-0"), env=(("LC_ALL", b"C.UTF-8"),))
    any_host.end(job_id)
    assert pairs(any_host.log(job_id))["LC_ALL"] == "C.UTF-8"
    job_id = any_host.start((b"env", b"-0"))
    any_host.end(job_id)
    assert not {"LC_ALL", "POSIXLY_CORRECT"} & pairs(any_host.log(job_id)).keys()


def test_over_a_real_sshd(new_box: Callable[..., Cli]) -> None:
    """Every verb that reads what a tool prints; the same environment as with ssh.

    Some sh (dash 0.5.12) hand on no names that a shell variable cannot have.
    """
    words = " ".join('"%s=%s"' % pair for pair in (HOSTILE | FUNCTIONS).items())
    cli = new_box(SetEnv=words)
    ended = cli.ok("run", cli.host, "--key", "k", "--", LINES.decode())
    assert ended.raw == LOG
    given = pairs(cli.ok("run", cli.host, "--", "env -0").raw)
    theirs = pairs(by_ssh(cli, "env -0"))
    differ = {
        name
        for name in given.keys() | theirs.keys()
        if given.get(name) != theirs.get(name) and "%%" not in name
    }
    assert differ - OURS <= BY_ITSELF | {"SSH_CLIENT", "SSH_CONNECTION"}
    assert {"LS_BLOCK_SIZE", "POSIXLY_CORRECT"} <= given.keys()
    twin = cli.twin(cli.home.parent / "other")
    assert len(twin.ok("reap", "--host", cli.host, "--orphans", "--json").objects) == 2
    twin.close()
    assert " MiB are free" in cli.ok("doctor", cli.host).out
    cli.ok("reap")
    assert list((cli.base / "jobs").iterdir()) == []


def by_ssh(cli: Cli, line: str, check: bool = True) -> bytes:
    """Return what ssh itself prints of a command."""
    assert cli.sshd is not None
    ran = subprocess.run(
        ["ssh", "-F", cli.sshd.config, cli.host, line],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        env={"PATH": "/usr/bin:/bin"},
        check=check,
    )
    return ran.stdout
