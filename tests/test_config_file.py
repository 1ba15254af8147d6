"""The config file is parsed once, and read again when it has changed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sshjobs.errors import SpecError
from sshjobs.verbs import config_text
from sshjobs.verbs.config import read_config

pytestmark = pytest.mark.quick

TEXT = 'persist = 7\npoll_interval = 0.5\n[host."a b"]\ncleanup = "always"\n[host.c]\n'
MEANT = {"persist": 7, "poll_interval": 0.5, "host": {"a b": {"cleanup": "always"}}}
MEANT["host"]["c"] = {}  # type: ignore[index]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir(0o700)
    return tmp_path / "home"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have a config file that was written long ago."""
    path = tmp_path / "config.toml"
    path.write_text(TEXT)
    later = time.time() + 60.0
    monkeypatch.setattr(time, "time", lambda: later)
    return path


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Have what the parser was given."""
    texts: list[str] = []
    parse = config_text.parse_toml

    def parse_and_note(path: str, text: bytes) -> dict[str, Any]:
        texts.append(text.decode())
        return parse(path, text)

    monkeypatch.setattr(config_text, "parse_toml", parse_and_note)
    return texts


def read(file: Path, home: Path) -> Mapping[str, Any]:
    return read_config({"SSHJOBS_CONFIG": str(file)}, str(home))


def test_a_file_is_parsed_once(file: Path, home: Path, parsed: list[str]) -> None:
    assert [read(file, home) for _ in range(3)] == [MEANT] * 3
    assert parsed == [TEXT]
    assert os.listdir(home) == ["config.parsed"]
    assert (home / "config.parsed").stat().st_mode & 0o777 == 0o600


def test_a_file_that_has_changed_is_parsed(
    file: Path, home: Path, parsed: list[str]
) -> None:
    read(file, home)
    found = file.stat()
    file.write_text(TEXT.replace("7", "8"))
    os.utime(file, ns=(found.st_mtime_ns, found.st_mtime_ns))  # as of a restore
    assert read(file, home)["persist"] == 8
    other = file.with_name("other.toml")
    other.write_text(TEXT.replace("7", "9"))
    assert read(other, home)["persist"] == 9
    assert read(file, home)["persist"] == 8
    assert len(parsed) == 4


def test_a_file_that_was_just_written_is_not_kept(
    tmp_path: Path, home: Path, parsed: list[str]
) -> None:
    path = tmp_path / "new.toml"
    path.write_text(TEXT)
    assert read(path, home) == read(path, home) == MEANT
    assert len(parsed) == 2 and os.listdir(home) == []


def test_without_a_home_nothing_is_kept(
    file: Path, tmp_path: Path, parsed: list[str]
) -> None:
    assert read(file, tmp_path / "none") == MEANT
    assert read_config({"SSHJOBS_CONFIG": str(file)}) == MEANT
    assert len(parsed) == 2 and not (tmp_path / "none").exists()


@pytest.mark.parametrize("how", ["cut", "link", "writable", "noise", "kind", "home"])
def test_values_that_are_not_as_we_kept_them_do_not_count(
    how: str, file: Path, home: Path, parsed: list[str]
) -> None:
    read(file, home)
    kept = home / "config.parsed"
    data = kept.read_bytes()
    if how == "cut":
        kept.write_bytes(data[:-1])
    elif how == "link":
        kept.rename(home / "elsewhere")
        kept.symlink_to(home / "elsewhere")
    elif how == "writable":
        kept.chmod(0o666)
    elif how == "noise":
        kept.write_bytes(b"\xff\xfe")
    elif how == "kind":
        kept.write_bytes(data.replace(b"\x1fint\x1f", b"\x1feval\x1f"))
    else:
        home.chmod(0o777)
    assert read(file, home) == MEANT
    assert len(parsed) == 2


def test_a_file_that_is_refused_is_refused_each_time(file: Path, home: Path) -> None:
    file.write_text("persist = = 7\n")
    for _ in range(2):
        with pytest.raises(SpecError, match="config.toml"):
            read(file, home)
    assert os.listdir(home) == []
    file.chmod(0o666)
    with pytest.raises(Exception, match="others can write"):
        read(file, home)


@pytest.mark.parametrize(
    "text", ["a = 1979-05-27", "a = [1]", "host = 3", "host.x = 1"]
)
def test_values_that_no_setting_has_are_not_kept(
    text: str, file: Path, home: Path, parsed: list[str]
) -> None:
    file.write_text(text)
    assert read(file, home) == read(file, home)
    assert len(parsed) == 2 and os.listdir(home) == []


NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5)
VALUES = st.one_of(NAMES, st.integers(), st.booleans(), st.floats(allow_nan=False))
TABLES = st.dictionaries(NAMES, VALUES, max_size=4)


@settings(max_examples=200, deadline=None)
@given(top=TABLES, hosts=st.dictionaries(NAMES, TABLES, min_size=1, max_size=3))
def test_what_is_kept_is_what_was_parsed(
    top: dict[str, Any],
    hosts: dict[str, Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    home = str(tmp_path_factory.mktemp("home"))
    meant = {**top, "host": hosts}
    config_text.keep_values(home, "stamp", meant)
    found = config_text.load_kept(home, "stamp")
    assert found is None or found == meant
    plain = all(ch not in str(meant.items()) for ch in ("\\x1d", "\\x1e", "\\x1f"))
    assert found is not None or not plain


def test_a_start_with_a_kept_file_has_no_parser(file: Path, home: Path) -> None:
    read(file, home)
    code = (
        "import sys, time; late = time.time() + 60.0; time.time = lambda: late\n"
        "from sshjobs.verbs.config import read_config\n"
        f"print(read_config({{'SSHJOBS_CONFIG': {str(file)!r}}}, {str(home)!r}))\n"
        "print(sorted({'tomllib', 'tomli', 'json', 're'} & set(sys.modules)))"
    )
    out = subprocess.check_output([sys.executable, "-S", "-c", code], text=True)
    assert out.splitlines() == [str(MEANT), "[]"]
