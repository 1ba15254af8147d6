"""Values of the wrong kind, wherever they come from: named, and nothing is done."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from sshjobs import settings
from sshjobs.cli import main
from sshjobs.errors import SpecError
from sshjobs.settings import SETTINGS, resolve
from sshjobs.verbs.context import Context
from tests.cli import Cli, Ended


class Call:
    """The command line in this process, with an environment of its own."""

    def __init__(self, home: Path, monkeypatch: Any, capsys: Any) -> None:
        self.home = home
        self._monkeypatch = monkeypatch
        self._capsys = capsys
        monkeypatch.setenv("SSHJOBS_HOME", str(home))

    def __call__(self, *words: str | Path, env: dict[str, str] | None = None) -> Ended:
        with self._monkeypatch.context() as patch:
            for name, value in (env or {}).items():
                patch.setenv(name, value)
            try:
                status = main.main([str(word) for word in words])
            except SystemExit as ended:
                status = int(str(ended.code))
        out, err = self._capsys.readouterr()
        return Ended(status, out.encode(), err.encode())


@pytest.fixture
def call(tmp_path: Path, monkeypatch: Any, capsys: Any) -> Call:
    return Call(tmp_path / "home", monkeypatch, capsys)


_NUMBERS = [s.name for s in SETTINGS if s.kind in ("seconds", "count", "bytes")]
_TEXTS = [s.name for s in SETTINGS if s.kind in ("text", "words", "choice")]
_NO_NUMBER = [True, False, float("nan"), [], {}, [1], "", "x", "nan", "1e3", "１", b"1"]
_NO_TEXT = [True, 5, 1.5, {}, [{}], b"x", "a\0b", "a\nb"]


@pytest.mark.parametrize("name", _NUMBERS)
@pytest.mark.parametrize("value", _NO_NUMBER, ids=repr)
def test_what_is_no_number_is_refused(name: str, value: Any) -> None:
    with pytest.raises(SpecError, match=f"{name}: not a"):
        resolve("h", {name: value}, {}, {})


@pytest.mark.parametrize("name", _NUMBERS)
@pytest.mark.parametrize(
    ("value", "text"),
    [
        (-1, "is below"),
        (1e11, "is above 10,000,000,000"),
        (10**400, "is above|not a span"),
        (float("inf"), "is above|not a"),
        ("9" * 400, "is above|not a span of time"),
        ("9" * 5000, "is above|not a span of time"),
    ],
    ids=lambda value: repr(value)[:12],
)
def test_a_number_out_of_bounds_is_told_which_way(
    name: str, value: Any, text: str
) -> None:
    with pytest.raises(SpecError, match=f"{name}: .*({text})|{text}"):
        resolve("h", {name: value}, {}, {})


@pytest.mark.parametrize("name", _TEXTS)
@pytest.mark.parametrize("value", _NO_TEXT, ids=repr)
def test_what_is_no_text_is_refused(name: str, value: Any) -> None:
    with pytest.raises(SpecError, match=f"{name}: not a"):
        resolve("h", {name: value}, {}, {})


def test_a_list_of_words_is_a_text(tmp_path: Path) -> None:
    found = resolve("h", {"ssh_options": ["A=1", "B=2"]}, {}, {})
    assert found.ssh_options == "A=1 B=2"


@pytest.mark.parametrize(
    "base", ["$SCRATCH/x", "/x/$USER", "${HOME}/x", "/x/$(id)", "/x/`id`", "~ann", " "]
)
def test_a_base_that_no_host_expands_is_refused(base: str) -> None:
    with pytest.raises(SpecError, match="remote_base_dir: not a directory"):
        resolve("h", {"remote_base_dir": base}, {}, {})


@pytest.mark.parametrize("base", ["~", "~/x", "/x/a$", "x", "/x/$$", "/with blank"])
def test_a_base_that_a_host_can_make_out_is_taken(base: str) -> None:
    assert resolve("h", {"remote_base_dir": base}, {}, {}).remote_base_dir == base


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("SSHJOBS_POLL_INTERVALL", "3", "is it poll_interval"),
        ("SSHJOBS_NOTHING_LIKE_IT", "3", "settings.md"),
        ("SSHJOBS_persist", "3", "SSHJOBS_PERSIST"),
        ("SSHJOBS_", "3", "no such setting"),
        ("SSHJOBS_PERSIST", "soon", "persist"),
        ("SSHJOBS_CONN_RETRY_ATTEMPTS", "1e999", "conn_retry_attempts"),
        ("SSHJOBS_MAX_HOSTS", "1.5", "max_hosts"),
        ("SSHJOBS_CLEANUP", "maybe", "cleanup"),
        ("SSHJOBS_REMOTE_BASE_DIR", "$SCRATCH/x", "remote_base_dir"),
    ],
)
@pytest.mark.parametrize("verb", ["list", "hosts", "submit"])
def test_the_environment_is_looked_at_by_every_verb(
    call: Call, verb: str, name: str, value: str, text: str
) -> None:
    words = ["h", "--", "true"] if verb == "submit" else []
    ended = call(verb, *words, env={name: value})
    assert ended.status == 64, ended
    assert text in ended.err and len(ended.err.splitlines()) == 1


def test_what_a_job_is_told_of_itself_is_no_setting(call: Call) -> None:
    told = {"SSHJOBS_JOB_ID": "a" * 16, "SSHJOBS_KEY": "k", "SSHJOBS_ATTEMPT": "1"}
    assert call("list", env=told | {"SSHJOBS_TEST_ANY": "x"}).status == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("no_such = 1\n", "no such setting: no_such"),
        ("persist = 'soon'\n", "persist"),
        ("persist = nan\n", "persist"),
        ("persist = inf\n", "persist"),
        ("persist = 1e999\n", "persist"),
        ("persist = true\n", "persist"),
        ("persist = 1\npersist = 2\n", "overwrite"),
        ("host = 3\n", "host"),
        ("[host]\ncluster = 3\n", 'host."cluster"'),
        ('[host."cluster"]\npoll_interval = 0\n', 'host."cluster".*poll_interval'),
        ('[host."cluster"]\npolls = 0\n', 'host."cluster".*polls'),
        ('[host."x$(id)"]\npersist = 3\n', "not a host name"),
        ('[host."-x"]\npersist = 3\n', "not a host name"),
        ("a = " + "[" * 50000 + "]" * 50000, "config.toml"),
        ("\ufeffpersist = 3\n", "config.toml"),
        ("persist = \udcff\n", "config.toml"),
        ("persist = \0\n", "config.toml"),
    ],
)
def test_a_config_file_is_looked_at_by_every_verb(
    call: Call, tmp_path: Path, text: str, said: str
) -> None:
    import re

    config = tmp_path / "config.toml"
    config.write_bytes(text.encode("utf-8", "surrogateescape"))
    ended = call("list", env={"SSHJOBS_CONFIG": str(config)})
    assert ended.status == 64, ended
    assert re.search(said, ended.err) and len(ended.err.splitlines()) == 1


def test_a_config_with_other_ends_of_lines_is_read(place: Path) -> None:
    config = place / "config.toml"
    config.write_bytes(b'persist = 5\r\n[host."h"]\r\npersist = 6\r\n')
    ctx = Context({"SSHJOBS_CONFIG": str(config), "SSHJOBS_HOME": str(place / "h")})
    assert ctx.settings("h").persist == 6.0


def test_a_table_of_options_is_looked_at(cli: Cli, place: Path) -> None:
    """A host's table reaches ssh as the command line does."""
    assert cli.sshd is not None
    config = place / "config.toml"
    config.write_text(f"[host.\"{cli.host}\"]\nssh_options = 'ProxyJump=x$(id)'\n")
    cli.env["SSHJOBS_CONFIG"] = str(config)
    ended = cli("submit", cli.host, "--", "true")
    assert ended.status == 64 and "not a jump host" in ended.err, ended
    config.write_text(f'[host."{cli.host}"]\nssh_options = "User=\'open"\n')
    ended = cli("submit", cli.host, "--", "true")
    assert ended.status == 64 and "ssh_options" in ended.err, ended
    assert cli.sshd.connections == 0


_COMMAND = '"command": "true"'

_LINES = [
    ('"once": "false"', '"once"'),
    ('"once": 1', '"once"'),
    ('"once": []', '"once"'),
    ('"key": 5', "key is not a text"),
    ('"key": ""', "key is empty"),
    ('"name": true', "name is not a text"),
    ('"name": "a\\u0000"', "name or key"),
    ('"name": "\\ud800"', "surrogate"),
    ('"cwd": {}', "cwd is not a text"),
    ('"cwd": "a\\u0000"', "NUL"),
    ('"shell": ["sh"]', "shell is not a text"),
    ('"shell": "a b;c"', "shell"),
    ('"cleanup": "maybe"', "cleanup|maybe"),
    ('"cleanup": 1', "cleanup"),
    ('"max_log_bytes": -1', "max_log_bytes"),
    ('"max_log_bytes": true', "max_log_bytes"),
    ('"max_log_bytes": "1"', "max_log_bytes"),
    ('"max_log_bytes": 1.5', "max_log_bytes"),
    ('"max_log_bytes": 99999999999999999999', "max_log_bytes"),
    ('"timeout": true', "timeout"),
    ('"timeout": []', "timeout"),
    ('"timeout": -1', "timeout"),
    ('"timeout": 0', "timeout"),
    ('"timeout": 1e999', "timeout"),
    ('"timeout": NaN', "NaN"),
    ('"timeout": -Infinity', "Infinity"),
    ('"timeout": ' + "9" * 400, "timeout"),
    ('"timeout": ' + "9" * 5000, "line 2"),
    ('"timeout": "soon"', "span of time"),
    ('"env": []', '"env"'),
    ('"env": false', '"env"'),
    ('"env": ""', '"env"'),
    ('"env": {"A": 1}', "value of A"),
    ('"env": {"A": "1", "A": "2"}', "'A' stands twice"),
    ('"env": {"A\\u0000": "1"}', "environment variable"),
    ('"env": {"\\ud800": "1"}', "environment variable"),
    ('"stdin": 5', "stdin is not a text"),
    ('"stdin": "\\udfff"', "surrogate"),
    ('"unknown": 1', "unknown"),
    ('"name": "a", "name": "b"', "'name' stands twice"),
    ('"name": ' + "[" * 100_000 + "]" * 100_000, "nested too deeply"),
]


@pytest.mark.parametrize(("field", "said"), _LINES, ids=[f[:24] for f, _ in _LINES])
def test_a_field_of_a_line_has_its_type(
    call: Call, tmp_path: Path, field: str, said: str
) -> None:
    import re

    path = tmp_path / "jobs.txt"
    path.write_text(f"true\n{{{_COMMAND}, {field}}}\n")
    ended = call("submit", "h", "--from", path)
    assert ended.status == 64, ended
    assert "line 2" in ended.err and re.search(said, ended.err), ended
    assert len(ended.err.splitlines()) <= 2
    assert call("list").out == ""


@pytest.mark.parametrize(
    "line",
    [
        b'{"command": []}',
        b'{"command": 5}',
        b'{"command": ["a", 5]}',
        b'{"command": null}',
        b"{}",
        b'{"command": "a\xff"}',
        '{"command": "true"}'.encode("utf-16"),
        b'{"command": "true"',
        b'{"command": "true"} x',
        b'{"command": "tr\\u0000ue"}',
    ],
)
def test_what_is_no_job_names_its_line(call: Call, tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "jobs.txt"
    path.write_bytes(b"# one\n\n" + line + b"\n")
    ended = call("submit", "h", "--from", path)
    assert ended.status == 64 and "line 3" in ended.err, ended
    assert call("list").out == ""


def test_a_null_leaves_a_field_to_the_flags(cli: Cli, place: Path) -> None:
    path = place / "jobs.txt"
    fields = {"name": None, "once": None, "timeout": None, "env": None}
    path.write_text(json.dumps({"command": "true", "key": "k"} | fields) + "\r\n")
    job = cli.ok("submit", cli.host, "--name", "n", "--once", "--from", path).id
    record = cli.job(job)
    assert (record["name"], record["once"]) == ("n", True)


@pytest.mark.parametrize(
    "words",
    [
        ["--name", "a", "--name", "b"],
        ["--name=a", "--name", "a"],
        ["--key", "a", "--key", "b"],
        ["--timeout", "1", "--timeout", "2"],
        ["--cwd", "/", "--cwd", "/"],
        ["-p", "1", "-p", "2"],
        ["--env", "A=1", "--env", "A=2"],
        ["--env", "HOME=1", "--env-from", "HOME"],
    ],
)
def test_a_flag_that_is_given_twice_is_refused(call: Call, words: list[str]) -> None:
    ended = call("submit", "h", *words, "--", "true")
    assert ended.status == 64 and "given twice" in ended.err, ended


@pytest.mark.parametrize("verb", ["wait", "poll", "list"])
def test_a_host_that_was_never_used_is_a_slip(cli: Cli, verb: str) -> None:
    cli.submit("--", "true")
    ended = cli(verb, "--host", "typo")
    assert ended.status == 64 and "typo" in ended.err, ended
    assert cli(verb, "--host", cli.host).status == 0


@pytest.mark.parametrize("verb", ["submit", "run"])
def test_a_command_is_never_taken_for_the_host(call: Call, verb: str) -> None:
    ended = call(verb, "--", "true")
    assert ended.status == 64 and "HOST is missing" in ended.err, ended
    ended = call(verb, "--", "true", "-x")
    assert ended.status == 64, ended
    assert call("hosts", "--json").out == ""


def test_a_name_that_does_not_exist_is_not_kept(cli: Cli) -> None:
    ended = cli("submit", "typo.invalid", "--", "true")
    assert ended.status == 69, ended
    assert cli.ok("hosts", "--json").out == ""
    cli.submit("--", "true")
    assert [row["host"] for row in cli.ok("hosts", "--json").objects] == [cli.host]


def test_a_host_that_never_answered_is_forgotten_in_time(cli: Cli) -> None:
    """Not at once: a cooldown counts for others, too."""
    closed = ["-o", "HostName=127.0.0.1", "-p", "1"]
    cli.env["SSHJOBS_WAIT_HOST"] = "0"
    assert cli("submit", *closed, "closed", "--", "true").status == 69
    assert [row["host"] for row in cli.ok("hosts", "--json").objects] == ["closed"]
    with closing(sqlite3.connect(cli.home / "store.db")) as db:
        db.execute("UPDATE sites SET since = 1, cooldown_until = 1")
        db.commit()
    assert cli.ok("hosts", "--json").out == ""


@pytest.mark.parametrize("number", ["9" * 30, "9" * 5000])
def test_a_count_that_no_file_has_is_refused(cli: Cli, number: str) -> None:
    job = cli.submit("--", "true")
    for flag in ("--offset", "--tail"):
        ended = cli("logs", job, flag, number)
        assert ended.status == 64 and "not a count" in ended.err, ended


def test_every_setting_has_a_kind_that_is_looked_at() -> None:
    kinds = {setting.kind for setting in SETTINGS}
    assert kinds <= {"seconds", "count", "bytes", "text", "words", "choice", "switch"}
    assert settings.Settings().given == frozenset()
