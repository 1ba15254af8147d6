"""Draw docs/terminal.svg: a terminal, with what sshjobs really printed there.

Run as ``inv docs --picture``, where there are tmux and an sshd. An sshd of the
demonstration is the host; tmux is the terminal, so that a line that sshjobs
rewrites shows as it stood at the end; rich makes text with colours into an SVG.
"""

from __future__ import annotations

import html
import io
import re
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from sshjobs.cli.demo_sshd import start_demo_sshd
from sshjobs.cli.demo_stage import Stage

_PICTURE = Path(__file__).with_name("terminal.svg")
_COLUMNS, _ROWS = 100, 40

#: Each command, as a reader would type it.
_LINES = (
    "sshjobs submit gpu1 --from sweep.txt --name sweep",
    "sshjobs wait sweep",
    "sshjobs logs --state FAILED --tail 1",
    "sshjobs submit gpu1 --name train -- './train.sh --epochs 90'",
    "sshjobs",
    "sshjobs hosts",
)
_SWEEP = (
    "".join(
        f"sleep 0.{seed}; echo seed {seed}: loss 0.{70 - 7 * seed}\n"
        for seed in range(1, 4)
    )
    + "echo seed 4: out of memory; exit 1\n"
)

#: The colours of a dark terminal; the picture brings its own ground.
_THEME = TerminalTheme(
    (24, 26, 31),
    (214, 218, 226),
    [
        (60, 64, 72),
        (232, 110, 110),
        (126, 200, 120),
        (222, 184, 100),
        (110, 160, 240),
        (196, 140, 220),
        (96, 196, 204),
        (214, 218, 226),
    ],
)


def main() -> None:
    """Write the picture."""
    with ExitStack() as stack:
        top = stack.enter_context(tempfile.TemporaryDirectory(dir="/tmp"))
        stage = Stage(top, quiet=True)
        if start_demo_sshd(stage, stack) is None:
            sys.exit("draw_terminal: no sshd can be used here")
        screen = _play_in_tmux(stage)
        for words in (("kill", "train"), ("disconnect", "gpu1")):
            stage.run(*words, good=(0, 1))
    _PICTURE.write_text(_draw_screen(screen), "utf-8")


def _play_in_tmux(stage: Stage) -> str:
    """Type the lines at a shell in tmux; return the screen, with its colours."""
    home = Path(stage.top, "login")
    Path(stage.top, "sweep.txt").write_text(_SWEEP)
    (home / "train.sh").write_text("#!/bin/sh\necho epoch 1 of 90\nsleep 600\n")
    (home / "train.sh").chmod(0o755)
    config = Path(stage.top, "ssh_config")
    config.write_text(config.read_text().replace("Host demo", "Host gpu1"))
    path = f"{Path(sys.executable).parent}:{stage.env['PATH']}"
    env = stage.env | {"PATH": path, "LC_ALL": "C.UTF-8"}
    env = {name: text for name, text in env.items() if name != "TMUX"}

    def tmux(*words: str) -> str:
        argv = ["tmux", "-f", "/dev/null", "-S", f"{stage.top}/tmux", *words]
        done = subprocess.run(argv, env=env, cwd=stage.top, check=True, stdout=-1)
        return done.stdout.decode()

    size = ("-x", str(_COLUMNS), "-y", str(_ROWS))
    tmux("new-session", "-d", *size, "env PS1='$ ' bash --norc --noprofile")
    try:
        for line in _LINES:
            _wait_for_prompt(tmux)
            tmux("send-keys", "-l", line)
            tmux("send-keys", "Enter")
            time.sleep(0.5)
        _wait_for_prompt(tmux)
        return tmux("capture-pane", "-e", "-p")
    finally:
        tmux("kill-server")


def _wait_for_prompt(tmux: object) -> None:
    """Wait until the shell asks for its next line."""
    assert callable(tmux)
    for _ in range(600):
        lines = tmux("capture-pane", "-p").rstrip("\n").splitlines()
        if lines and lines[-1].rstrip() == "$":
            return
        time.sleep(0.1)
    sys.exit("draw_terminal: a command did not end within a minute")


def _draw_screen(screen: str) -> str:
    """Return the screen as an SVG that needs nothing of the network."""
    lines = screen.rstrip().splitlines()[:-1]  # without the last prompt
    console = Console(record=True, width=_COLUMNS, file=io.StringIO())
    for line in lines:
        text = Text.from_ansi(line)
        if text.plain.startswith("$ "):
            text.stylize("bold", 2)
        console.print(text, soft_wrap=True)
    svg = console.export_svg(title="sshjobs", theme=_THEME, unique_id="terminal")
    svg = re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.DOTALL)
    words = html.escape("A terminal. " + "; ".join(_LINES))
    label = f'role="img" aria-label="{words}"'
    return svg.replace("<svg ", f"<svg {label} ", 1)


if __name__ == "__main__":
    main()
