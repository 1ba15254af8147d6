"""A real terminal of a given size, that shows what a person would see: tmux."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.cli import Cli, eventually


class Terminal:
    """A shell in a tmux of its own.

    Args:
        folder: An empty directory, with a short path.
        columns: Its width.
        env: The environment of the shell.
    """

    def __init__(
        self, folder: Path, columns: int, env: Mapping[str, str], rows: int = 24
    ) -> None:
        if not shutil.which("tmux"):
            if os.environ.get("CI") == "true":
                pytest.fail("CI must have tmux: apt-get install tmux")
            pytest.skip("no tmux here: apt-get install tmux")
        folder.mkdir()
        self._socket = folder / "tmux"
        wanted = ("SSHJOBS_", "PATH", "HOME", "LANG", "LC_")
        lines = [
            f"export {name}={shlex.quote(value)}\n"
            for name, value in env.items()
            if name.startswith(wanted)
        ]
        lines += ["export LC_ALL=C.UTF-8 PS1='$ '\n", f"cd {folder}\n"]
        program = shlex.join([sys.executable, "-m", "sshjobs"])
        lines += [f'sshjobs() {{ {program} "$@"; }}\n']
        (folder / "rc").write_text("".join(lines))
        size = ("-x", str(columns), "-y", str(rows))
        shell = ("bash", "--noprofile", "--rcfile", str(folder / "rc"), "-i")
        self._tmux("-f", "/dev/null", "new-session", "-d", *size, shlex.join(shell))
        self.wait_for("$")

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self._tmux("kill-server")

    def _tmux(self, *words: str) -> str:
        command = ["tmux", "-u", "-S", str(self._socket), *words]
        environ = {k: v for k, v in os.environ.items() if not k.startswith("TMUX")}
        return subprocess.run(
            command,
            check=True,
            env=environ | {"LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
        ).stdout

    def type(self, line: str) -> None:
        """Type a line, and Enter."""
        self.write(line)
        self._tmux("send-keys", "Enter")

    def write(self, text: str) -> None:
        """Type a text."""
        if text.endswith(";"):  # tmux would end its own command there
            text = f"{text[:-1]}\\;"
        self._tmux("send-keys", "-l", "--", text)

    def press(self, key: str) -> None:
        """Press a key, by tmux's name for it."""
        self._tmux("send-keys", key)

    @property
    def screen(self) -> str:
        """What is on the screen now, a line a row, without trailing spaces."""
        rows = self._tmux("capture-pane", "-p").splitlines()
        return "\n".join(row.rstrip() for row in rows).rstrip()

    def wait_for(self, text: str) -> str:
        """Wait until a text is on the screen; return the screen."""
        found: list[str] = []

        def look() -> bool:
            found[:] = [self.screen]
            return text in found[0]

        try:
            eventually(look, text)
        except AssertionError as error:
            raise AssertionError(f"no {text!r} on the screen:\n{found[0]}") from error
        return found[0]


def open_terminal(cli: Cli, folder: Path, columns: int, rows: int = 24) -> Terminal:
    """Return a terminal in which ``sshjobs`` works with the host of a test."""
    return Terminal(folder, columns, cli.env, rows)
