"""The place of the demonstration: a directory, a host, and commands run as a user."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..quoting import join_words

#: A command of ours that takes longer than this has failed, whatever it waits for.
COMMAND_BOUND = 90.0


class DemoFailed(Exception):
    """The demonstration could not show one of its scenes; the text names it."""


class Stage:
    """Where the demonstration plays: a directory, a host, and a way to speak."""

    def __init__(self, top: str, quiet: bool) -> None:
        self.top = top
        self.quiet = quiet
        self.host = "local"
        self.processes = 0
        self.bold = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("SSHJOBS_")}
        self.env["SSHJOBS_HOME"] = f"{top}/record"
        self.env["SSHJOBS_REMOTE_BASE_DIR"] = f"{top}/host"
        self.env["SSHJOBS_SSH_CONFIG"] = f"{top}/ssh_config"
        self.env["SSHJOBS_CONFIG"] = os.devnull
        # The user's own ~/.bashrc may take a minute, say much, or fail; where an sshd
        # serves, the home that it gives is empty as well, for the shell of a session.
        self.env["SSHJOBS_SHELL_STARTUP"] = "none"
        # python -m sshjobs is to find this very package, wherever it is run.
        here = os.path.dirname(
            os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        )
        paths = (here, self.env.get("PYTHONPATH"))
        self.env["PYTHONPATH"] = os.pathsep.join(filter(None, paths))

    def say(self, text: str) -> None:
        """Tell the audience something."""
        if not self.quiet:
            print(f"\n\x1b[1m{text}\x1b[0m" if self.bold else f"\n{text}", flush=True)

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """Start ``sshjobs WORDS`` and return at once."""
        self.processes += 1
        return subprocess.Popen(
            [sys.executable, "-m", "sshjobs", *words],
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, *words: str, show: int = 10**9, good: tuple[int, ...] = (0,)) -> str:
        """Run ``sshjobs WORDS`` as a user would, show it, and return its output.

        Args:
            show: How many lines of its output to show, as they come; 0 hides it all.
            good: The exit statuses that it may have.

        Raises:
            DemoFailed: it ended with another one.
        """
        show = 0 if self.quiet else show
        if show:
            print(f"$ sshjobs {join_words(words)}", flush=True)
        process = self.start(*words)
        with _end_if_too_long(process):
            text = _read_output(process, show)
        if process.returncode not in good:
            assert process.stderr
            said = process.stderr.read().decode("utf-8", "replace").strip()
            end = f"status {process.returncode}: {said}"
            raise DemoFailed(f"sshjobs {words[0]}: {end}")
        return text

    def objects(
        self, *words: str, good: tuple[int, ...] = (0,)
    ) -> list[dict[str, Any]]:
        """Run ``sshjobs WORDS --json``, unseen, and return its output."""
        text = self.run(*words, "--json", show=0, good=good)
        return [json.loads(line) for line in text.splitlines()]


@contextmanager
def _end_if_too_long(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """End a command that takes longer than it may, even after an exception."""
    timer = threading.Timer(COMMAND_BOUND, process.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        if process.poll() is None:
            process.kill()
            process.wait()


def _read_output(process: subprocess.Popen[bytes], show: int) -> str:
    """Return a command's output, showing so many lines of it as they come."""
    assert process.stdout
    lines = []
    for line in process.stdout:
        lines.append(line.decode("utf-8", "replace"))
        if len(lines) <= show:
            print(lines[-1], end="", flush=True)
    if 0 < show < len(lines):
        print(f"... and {len(lines) - show} more", flush=True)
    process.wait()
    return "".join(lines)
