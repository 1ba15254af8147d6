"""What Python prints in a job is in the log at once, unless somebody says otherwise."""

from __future__ import annotations

import pytest

from sshjobs.errors import SpecError
from sshjobs.model import Spec, pack, unpack
from sshjobs.settings import resolve
from tests.cli import Cli

LINE = 'echo "[${PYTHONUNBUFFERED-none}]"; exec sh -c \'echo "[$PYTHONUNBUFFERED]"\''


def test_a_job_has_it_unless_it_says_otherwise(cli: Cli) -> None:
    run = ("run", cli.host)
    assert cli.ok(*run, "--", LINE).lines == ["[1]", "[1]"]
    assert cli.ok(*run, "--", "env").out.count("PYTHONUNBUFFERED=1\n") == 1
    assert cli.ok(*run, "--env", "PYTHONUNBUFFERED=", "--", LINE).lines == ["[]", "[]"]
    assert cli.ok(*run, "--env", "PYTHONUNBUFFERED=x", "--", LINE).lines[0] == "[x]"
    assert cli.ok(*run, "--env", "IFS=1", "--", LINE).lines[0] == "[1]"
    vector = cli.ok(*run, "--", "sh", "-c", LINE)
    assert vector.lines == ["[1]", "[1]"]
    off = cli(*run, "--", LINE, env={"SSHJOBS_UNBUFFERED": "false"})
    assert off.lines == ["[none]", "[]"]
    job = cli.ok("list", "--json").objects[0]["id"]
    assert cli.job(job)["env_names"] == ""


def test_what_python_prints_is_in_the_log_at_once(cli: Cli) -> None:
    code = "import time; print('begun'); time.sleep(1000)"
    job = cli.submit("--", "python3", "-c", code)
    follow = cli.start("logs", job, "--follow")
    assert follow.stdout is not None
    assert follow.stdout.readline() == b"begun\n"
    cli.ok("kill", job)
    assert follow.wait(60) == 0
    follow.communicate()


def test_the_same_work_is_the_same_with_it_and_without(cli: Cli) -> None:
    """A key that a job of an older version holds names the same command."""
    assert Spec(b"true").digest() == Spec(b"true", unbuffered=False).digest()
    words = ("submit", cli.host, "--key", "night", "--", "sleep 100")
    first = cli(*words, env={"SSHJOBS_UNBUFFERED": "0"})
    again = cli.ok(*words)
    assert (again.out, again.err) == (first.out, "")


def test_an_older_version_reads_the_spec_of_a_job() -> None:
    """It refuses a field that it does not know, and sees none."""
    assert "unbuffered" not in unpack(Spec(b"true").dumps())
    for spec in (Spec(b"true"), Spec(b"true", unbuffered=False)):
        assert Spec.loads(spec.dumps()) == spec
    assert Spec.loads(pack({"command": b"true"})).unbuffered
    with pytest.raises(SpecError, match="unbuffered"):
        Spec(b"true", unbuffered=1)  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="kill_grace"):
        Spec(b"true", kill_grace=True)


@pytest.mark.parametrize(
    ("given", "value"),
    [(True, True), (False, False), ("1", True), ("NO", False), ("off", False)],
)
def test_a_switch_is_on_or_off(given: object, value: bool) -> None:
    assert resolve("", {"unbuffered": given}, {}, {}).unbuffered is value


@pytest.mark.parametrize("given", ["maybe", 1.5, [], None, 2, "\0"])
def test_another_word_is_no_switch(given: object) -> None:
    if given is None:
        assert resolve("", {"unbuffered": given}, {}, {}).unbuffered
        return
    with pytest.raises(SpecError, match="unbuffered: not true or false"):
        resolve("", {"unbuffered": given}, {}, {})
