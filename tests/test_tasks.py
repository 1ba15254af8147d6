"""The Invoke tasks: the manual's verbs, its flags, its values, and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from invoke.parser import Parser

from sshjobs import tasks
from sshjobs.cli import manual
from sshjobs.cli.arguments import Verb
from sshjobs.errors import SpecError
from tests.cli import VERBS, give_empty_home


def parsed(*words: str) -> dict[str, Any]:
    """Return the values that Invoke's own parser and ours make of a command line."""
    parser = Parser(contexts=tasks.ns.to_contexts())
    result = parser.parse_argv(list(words))[0]
    verb = VERBS[words[0]]
    return tasks.read_values(verb, result.as_kwargs)


def test_every_verb_is_a_task() -> None:
    assert list(tasks.ns.task_names) == [verb.name for verb in manual.read_verbs()]


@pytest.mark.parametrize("verb", manual.read_verbs(), ids=lambda verb: verb.name)
def test_a_task_has_the_flags_of_its_verb(verb: Verb) -> None:
    arguments = tasks.ns[verb.name].get_arguments()
    flags = {name for argument in arguments for name in argument.names}
    assert flags == {arg.name.lstrip("-") for arg in verb.args}
    assert all(argument.help for argument in arguments)


@pytest.mark.parametrize("verb", manual.read_verbs(), ids=lambda verb: verb.name)
def test_every_argument_of_a_verb_has_a_value(verb: Verb) -> None:
    needed = [a for a in verb.args if a.is_positional and not a.takes_many]
    needed += [arg for arg in verb.args if arg.required]
    given = [f"--{arg.dest}={[*arg.choices, 'x'][0]}" for arg in needed]
    values = parsed(verb.name, *given)
    assert list(values) == [arg.dest for arg in verb.args]
    for arg in verb.args:
        if arg not in needed:
            assert values[arg.dest] == arg.default


@pytest.mark.parametrize(
    "words, name, value",
    [
        ("submit --host h --command=true", "command", ["true"]),
        ("submit --host h --command a --command b", "command", ["a", "b"]),
        ("submit --host h", "command", []),
        ("submit --host h --from jobs.txt", "from", "jobs.txt"),
        ("submit --host h --timeout 15m", "timeout", 900.0),
        ("submit --host h --env A=1 --env B=x=y", "env", ["A=1", "B=x=y"]),
        ("submit --host h --env-from A --env-from B", "env_from", ["A", "B"]),
        ("submit --host h --cleanup ALWAYS", "cleanup", "always"),
        ("submit --host h --once --key k", "once", True),
        ("submit --host h --wait-host 2h", "wait_host", 7200.0),
        ("run --host h --detach-on-signal", "detach_on_signal", True),
        ("kill --job a --job b", "job", ["a", "b"]),
        ("logs --job a --offset 12", "offset", 12),
        ("list --state running", "state", ["RUNNING"]),
        ("list --state failed,lost", "state", ["FAILED", "LOST"]),
        ("wait --host a,b --host c", "host", ["a", "b", "c"]),
        ("reap --older-than 7d", "older_than", 604800.0),
        ("reap --dry-run", "dry_run", True),
    ],
)
def test_values(words: str, name: str, value: Any) -> None:
    assert parsed(*words.split())[name] == value


@pytest.mark.parametrize(
    "words, said",
    [
        ("submit --command true", "--host"),
        ("logs --job a --offset=-1", "--offset: not a count"),
        ("logs --job a --tail ten", "--tail: not a count"),
        ("list --state done", "--state"),
        ("submit --host h --timeout soon", "soon"),
    ],
)
def test_wrong_values_are_refused_by_name(words: str, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        parsed(*words.split())


def test_importing_the_tasks_imports_nothing_but_invoke() -> None:
    code = (
        "import json, sys; import invoke.collection, invoke.tasks, invoke.exceptions;"
        "before = set(sys.modules); import sshjobs.tasks;"
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-c", code], stdout=-1, check=True)
    loaded = json.loads(done.stdout)
    ground = (
        "cli cli.arguments cli.manual cli.manual_hosts cli.manual_jobs "
        "cli.manual_views errors model startup startup.records states tasks"
    )
    ours = {"sshjobs"} | {f"sshjobs.{room}" for room in ground.split()}
    assert {name for name in loaded if name.startswith("sshjobs")} == ours
    heavy = {"fabric", "paramiko", "rich", "asyncio", "backoff", "sqlite3"}
    assert not heavy & {name.partition(".")[0] for name in loaded}


def inv(project: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    """Run ``inv WORDS`` in a project whose ``tasks.py`` takes in our tasks."""
    (project / "tasks.py").write_text(
        "from invoke.collection import Collection\n"
        "from sshjobs import tasks\n"
        "ns = Collection.from_module(tasks)\n"
    )
    env = {name: text for name, text in os.environ.items() if "SSHJOBS" not in name}
    env["SSHJOBS_HOME"] = str(project / "record")
    env["SSHJOBS_REMOTE_BASE_DIR"] = str(project / "host")
    env["PYTHONPATH"] = str(Path(tasks.__file__).parent.parent)
    give_empty_home(env, project / "login")
    return subprocess.run(
        [sys.executable, "-m", "invoke", *words],
        cwd=project,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=120,
    )


def test_a_project_shows_every_verb(tmp_path: Path) -> None:
    done = inv(tmp_path, "--list")
    assert done.returncode == 0
    shown = {line.split()[0] for line in done.stdout.decode().splitlines() if line}
    assert {verb.name for verb in manual.read_verbs()} <= shown


def test_inv_run_ends_as_its_job_did(tmp_path: Path) -> None:
    line = "printf 'one\\000two'; exit 7"
    done = inv(tmp_path, "run", "--host", "local", "--command", line, "--shell", "sh")
    assert (done.returncode, done.stdout) == (7, b"one\0two")


def test_a_vector_arrives_word_by_word(tmp_path: Path) -> None:
    vector = [f"--command={word}" for word in ("printf", "%s|", "a b", "$HOME", "'")]
    done = inv(tmp_path, "run", "--host", "local", *vector)
    assert (done.returncode, done.stdout) == (0, b"a b|$HOME|'|")


def test_tasks_follow_each_other_until_one_fails(tmp_path: Path) -> None:
    first = ["run", "--host", "local", "--command", "echo first"]
    fails = ["run", "--host", "local", "--command", "false"]
    never = ["run", "--host", "local", "--command", "echo never"]
    done = inv(tmp_path, *first, *fails, *never)
    assert (done.returncode, done.stdout) == (1, b"first\n")


def test_wrong_usage_is_64(tmp_path: Path) -> None:
    done = inv(tmp_path, "submit", "--command", "true")
    assert (done.returncode, done.stdout) == (64, b"")
    assert b"--host is missing" in done.stderr
