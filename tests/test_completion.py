"""Completion: in a real bash, zsh and fish at a terminal, and word by word."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sshjobs import states
from sshjobs.cli import completion, manual
from sshjobs.cli.aliases import ALIASES
from sshjobs.cli.shell_line import quote_answer, split_line
from sshjobs.model import Job
from sshjobs.store import Store
from sshjobs.store.glimpse import glimpse_hosts, glimpse_jobs
from sshjobs.transports.identity.config_names import list_config_hosts
from tests.cli import eventually
from tests.terminal import Terminal

SHELLS = ("bash", "zsh", "fish")
BREAKS = " \t\n\"'@><=;|&(:"

#: Each shell without the files of the account, and its completion switched on.
STARTS = {
    "bash": "PS1='$ ' exec bash --noprofile --norc -i",
    "zsh": "PS1='$ ' exec zsh -f",
    "fish": "exec fish --no-config",
}
SWITCHES = {
    "bash": 'eval "$(real completion bash)"',
    "zsh": 'autoload -Uz compinit; compinit -D -u; eval "$(real completion zsh)"',
    "fish": "function fish_prompt; echo '$ '; end; real completion fish | source",
}

ODD = 'it\'s a "name" & so'
HOSTILE = (
    "evil $(touch pwned)",
    "evil `touch pwned`",
    "evil\ntouch pwned",
    "evil\ttouch pwned",
    "evil\x1b]0;pwned\x07",
    "-evil",
)
HARMLESS = ("evil; touch pwned", "evil!1", "evil' ; touch pwned", "evil*")


def fill_record(home: Path) -> list[str]:
    """Write a record of jobs with names of all sorts; return their ids."""
    store = Store(str(home))
    names = ("train", ODD, *HOSTILE, *HARMLESS, "sweep", "sweep")
    ids = []
    for place, name in enumerate(names):
        job_id = chr(ord("b") + place) * 16
        at = time.time() - 60 + place
        state = states.COMPLETED if name == "sweep" else states.RUNNING
        key = {"train": "exp7/a b", "sweep": "exp8"}.get(name, "")
        job = Job(job_id, "gpu1", "s1", state, name=name, key=key, submitted_at=at)
        store.jobs.add_jobs([job])
        ids.append(job_id)
    store.sites.ensure_site("s1", "gpu1")
    store.close()
    return ids


@pytest.fixture
def record(place: Path) -> dict[str, str]:
    """An environment with a record and an ssh_config, and its own HOME."""
    fill_record(place / "record")
    config = place / "ssh_config"
    config.write_text(
        f'Include "{place}/more*"\nHost node7 "node 8" *.lan !bad\nHost=node9\n'
        "Match host nowhere\n  User me\n# Host hidden\n"
    )
    (place / "more1").write_text("hOsT included\n  HostName 10.0.0.1\n")
    return {
        "SSHJOBS_HOME": str(place / "record"),
        "SSHJOBS_SSH_CONFIG": str(config),
        "HOME": str(place / "login"),
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
    }


class Shell:
    """A shell at a terminal, whose ``sshjobs`` notes the words that it was given."""

    def __init__(self, place: Path, name: str, env: dict[str, str]) -> None:
        if not shutil.which(name):
            if os.environ.get("CI") == "true":
                pytest.fail(f"CI must have {name}: apt-get install {name}")
            pytest.skip(f"no {name} here: apt-get install {name}")
        self._noted = place / "noted"
        programs, login = place / "bin", place / "login"
        programs.mkdir()
        login.mkdir()
        python = shlex.join([sys.executable, "-m", "sshjobs"])
        (programs / "real").write_text(f'#!/bin/sh\nexec {python} "$@"\n')
        (programs / "sshjobs").write_text(
            f'#!/bin/sh\ncase $1 in __complete) exec {python} "$@";; esac\n'
            f"for word; do printf '%s\\0' \"$word\"; done >{self._noted}.new\n"
            f"mv {self._noted}.new {self._noted}\n"
        )
        for program in programs.iterdir():
            program.chmod(0o755)
        env = env | {"PATH": f"{programs}:{env['PATH']}"}
        self.terminal = Terminal(place / "t", 100, env, 40)
        # What is typed while a shell starts, it reads once it has.
        self.terminal.type(f"unset -f sshjobs; clear; {STARTS[name]}")
        self.terminal.type(f"{SWITCHES[name]}; echo REA''DY")
        self.terminal.wait_for("READY")
        self.terminal.type("clear")

    def complete(self, line: str) -> list[str]:
        """Type a line, Tab and Enter; return the words that sshjobs was given."""
        self._noted.unlink(missing_ok=True)
        self.terminal.write(line)
        self.terminal.press("Tab")
        self.terminal.press("Enter")
        eventually(self._noted.exists, f"{line!r} was run:\n{self.terminal.screen}")
        return self._noted.read_text("utf-8").split("\0")[:-1]

    def offer(self, line: str, awaited: str) -> str:
        """Type a line and Tab, twice; return the screen, and leave the line."""
        self.terminal.write(line)
        self.terminal.press("Tab")
        self.terminal.press("Tab")
        return self.terminal.wait_for(awaited)


@pytest.fixture(params=SHELLS)
def shell(
    request: pytest.FixtureRequest, place: Path, record: dict[str, str]
) -> Iterator[Shell]:
    made = Shell(place, request.param, record)
    with made.terminal:
        yield made


def test_a_shell_completes_what_the_manual_and_the_record_have(
    shell: Shell, place: Path
) -> None:
    before = describe_files(place / "record")
    wanted = (
        ("sshjobs disc", ["disconnect"]),
        ("sshjobs canc", ["cancel"]),
        ("sshjobs logs --foll", ["logs", "--follow"]),
        ("sshjobs list --state canc", ["list", "--state", "CANCELLED"]),
        ("sshjobs list --state=FAILED,canc", ["list", "--state=FAILED,CANCELLED"]),
        ("sshjobs completion fi", ["completion", "fish"]),
        ("sshjobs submit incl", ["submit", "included"]),
        ("sshjobs submit gp", ["submit", "gpu1"]),
        (
            "sshjobs list --host gpu1,node7,inc",
            ["list", "--host", "gpu1,node7,included"],
        ),
        ("sshjobs kill bbb", ["kill", "b" * 16]),
        ("sshjobs kill tr", ["kill", "train"]),
        ("sshjobs show it", ["show", ODD]),
        ("sshjobs show key:exp7", ["show", "key:exp7/a b"]),
        ("sshjobs show train key:exp8", ["show", "train", "key:exp8"]),
        ("sshjobs list --key exp8", ["list", "--key", "exp8"]),
        ("sshjobs submit gpu1 --from noted-", ["submit", "gpu1", "--from", "noted-1"]),
        ("sshjobs run gpu1 -- mak", ["run", "gpu1", "--", "mak"]),
    )
    (place / "t" / "noted-1").write_text("")
    for line, words in wanted:
        assert shell.complete(line) == words, line
    assert describe_files(place / "record") == before


def test_a_shell_shows_the_words_that_it_offers(shell: Shell) -> None:
    screen = shell.offer("sshjobs list --s", "--since")
    assert "--state" in screen


def test_no_name_of_a_job_is_run_by_a_shell(shell: Shell, place: Path) -> None:
    assert shell.complete("sshjobs show evil\\;") == ["show", "evil; touch pwned"]
    assert shell.complete("sshjobs show evil\\!") == ["show", "evil!1"]
    assert shell.complete("sshjobs show evil\\'") == ["show", "evil' ; touch pwned"]
    assert shell.complete("sshjobs show evil\\*") == ["show", "evil*"]
    assert shell.complete("sshjobs show 'evil;") == ["show", "evil; touch pwned"]
    assert shell.complete('sshjobs show "evil;') == ["show", "evil; touch pwned"]
    assert not list(place.rglob("pwned"))


def describe_files(folder: Path) -> list[tuple[str, int, bytes]]:
    """Return each file below a folder, with its time of change and its contents."""
    return sorted(
        (str(path), path.stat().st_mtime_ns, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file()
    )


def complete(line: str, env: dict[str, str] | None = None) -> list[str]:
    """Return the words that are offered at the end of a line."""
    *words, current = line.split(" ")
    return [
        each.word for each in completion.complete_words(words, current, env or {})[1]
    ]


@pytest.mark.quick
def test_each_verb_alias_and_flag_is_offered() -> None:
    assert {verb.name for verb in manual.read_verbs()} <= set(complete(""))
    for alias, name in ALIASES.items():
        assert alias in complete(alias[:1])
        assert complete(f"{alias} --") == complete(f"{name} --")
    for verb in manual.read_verbs():
        flags = [arg for arg in verb.args if arg.name.startswith("--")]
        assert complete(f"{verb.name} --") == [arg.name for arg in flags] + ["--help"]
        assert complete(f"help {verb.name}")[0] == verb.name
        for arg in flags:
            if arg.choices:
                assert complete(f"{verb.name} {arg.name} ") == list(arg.choices)
                assert complete(f"{verb.name} {arg.name}=")[0].endswith(arg.choices[0])


@pytest.mark.quick
def test_the_place_of_a_word_decides() -> None:
    assert complete("nosuchverb ") == []
    assert complete("status --all --al") == ["--allow-empty"]  # --all stands there
    assert complete("list --state FAILED --sta") == ["--state"]  # and may, again
    assert complete("submit local --cleanup a") == ["always"]
    assert complete("submit local -- --cleanup a") == []
    assert complete("submit local -- --na") == []
    assert complete("submit loc") == ["local"]
    assert complete("submit -p 22 loc") == ["local"]
    assert complete("submit -p22 loc") == ["local"]
    assert complete("submit --name loc") == []
    assert complete("submit local loc") == []
    assert complete("disconnect local loc") == []
    assert complete("logs -fn 5 --o") == ["--offset"]
    assert complete("logs -fn --o") == []  # the value of -n
    assert complete("list --sort=na") == ["--sort=name"]
    assert complete("list --all=") == []
    assert complete("run local --env-from SO", {"SOME": "1"}) == ["SOME"]
    assert completion.complete_words(["submit", "x", "--from"], "a")[0] == "files"
    assert completion.complete_words(["ssh", "-i"], "")[0] == "files"


@pytest.mark.quick
def test_jobs_are_offered_as_the_record_has_them(record: dict[str, str]) -> None:
    found = completion.complete_words(["show"], "", record)[1]
    words = [each.word for each in found]
    assert words[:1] == ["sweep"] and found[0].hint == "2 jobs"
    assert {"train", ODD, "key:", *HARMLESS} <= set(words)
    assert not set(HOSTILE) & set(words)
    hints = {each.word: each.hint for each in found}
    assert hints["b" * 16] == "train  RUNNING  gpu1"
    assert all(each.hint.isprintable() for each in found)
    assert complete("kill sw", record) == []  # they have ended
    assert complete("reap sw", record) == ["sweep"]
    assert complete("reap tr", record) == []
    assert complete("show key:e", record) == ["key:exp8", "key:exp7/a b"]
    assert complete("list --name tr", record) == ["train"]


@pytest.mark.quick
def test_no_answer_that_bash_shares_ends_within_an_escape(
    record: dict[str, str], monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    for name, value in record.items():
        monkeypatch.setenv(name, value)
    completion.answer_shell(["bash", "sshjobs show evil", BREAKS])
    kind, *answers = capfd.readouterr().out.splitlines()
    assert kind == "words" and len(answers) == len(HARMLESS) + 1
    assert os.path.commonprefix(answers) == "evil"


@pytest.mark.quick
def test_hosts_are_offered_from_ssh_config_and_the_record(
    record: dict[str, str], place: Path
) -> None:
    assert complete("submit ", record) == [
        "local",
        "included",
        "node7",
        "node9",
        "gpu1",
    ]
    other = place / "other"
    other.write_text("Host elsewhere\n")
    words = ["submit", "-F", str(other)]
    found = completion.complete_words(words, "el", record)[1]
    assert [each.word for each in found] == ["elsewhere"]


@pytest.mark.quick
def test_a_configuration_that_never_ends_is_left(place: Path) -> None:
    config = place / "config"
    os.mkfifo(place / "fifo")
    config.write_text(f"Include {config} {place}/fifo {place}/none {place}\nHost a\n")
    assert list_config_hosts([str(config)], str(place)) == ["a"]


@pytest.mark.quick
def test_a_record_that_cannot_be_read_has_nothing_to_offer(
    place: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    env = {"SSHJOBS_HOME": str(place / "none")}
    assert complete("show ", env) == []
    assert not (place / "none").exists()
    fill_record(place / "home")
    path = place / "home" / "store.db"
    for data in (b"", b"x" * 9000, path.read_bytes()[:5000]):
        path.write_bytes(data)
        assert glimpse_jobs(str(place / "home"), "", states.STATES, 9) == []
        assert glimpse_hosts(str(place / "home")) == []
    path.unlink()
    path.symlink_to("/etc/passwd")
    assert glimpse_hosts(str(place / "home")) == []
    for words in ([], ["zsh"], ["bash", "x"], ["bash", "a", "b", "c"], ["fish", "x\0"]):
        assert completion.answer_shell(words) == 0
    assert capfd.readouterr().err == ""


@pytest.mark.quick
@pytest.mark.parametrize("at_work", [True, False])
def test_a_glimpse_sees_what_has_just_been_written(place: Path, at_work: bool) -> None:
    fill_record(place / "home")
    store = Store(str(place / "home"))
    store.jobs.add_jobs([Job("z" * 16, "h", "s1", states.RUNNING, name="new")])
    if not at_work:
        store.close()
    found = glimpse_jobs(str(place / "home"), "new", states.STATES, 9)
    assert [job.name for job in found] == ["new"]


@pytest.mark.quick
@pytest.mark.parametrize(
    ("line", "word", "answer"),
    [
        ("sshjobs show my", "my name", "my\\ name"),
        ("sshjobs show my\\ n", "my name", "my\\ name"),
        ("sshjobs show 'my n", "my name", "my name"),
        ("sshjobs show 'my n", "my n'ame", ""),
        ('sshjobs show "my n', 'my n"ame', 'my n\\"ame'),
        ('sshjobs show "my n', "my n!ame", ""),
        ('sshjobs show "my n"a', "my name", "ame"),
        ("sshjobs show key:a", "key:a b", "a\\ b"),
        ("sshjobs list --state=RUN", "--state=RUNNING", "RUNNING"),
        ("sshjobs show a;b", "a;b c", "b\\ c"),
        ("sshjobs show ü", "über\\x", "über\\\\x"),
        ('sshjobs show "a\\"b\\c', 'a"b\\cd', 'a\\"b\\\\cd'),
    ],
)
def test_an_answer_fits_the_place_where_bash_puts_it(
    line: str, word: str, answer: str
) -> None:
    found = split_line(line, BREAKS)
    assert found.words == ["sshjobs", line.split()[1]]
    assert word.startswith(found.current)
    assert quote_answer(word, found) == answer
