"""``inv scale --small``, and the places of its figures in the page."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.pages import TOP
from tests.scale.page import put_block
from tests.scale.simulation import simulate

PAGE = TOP / "docs" / "explanation" / "scale.md"


def test_rounds_grow_with_hosts_and_not_with_jobs(tmp_path: Path) -> None:
    """Each job runs to its end; a round a host starts all, and one looks at all."""
    phases = {phase.name: phase for phase in simulate(tmp_path, 3, 40, print)}
    assert phases["submit"].rounds == 3
    assert phases["poll, nothing changed"].rounds == 3
    assert 3 <= phases["wait to the end"].rounds <= 3 * 7


@pytest.mark.slow
def test_the_small_run_writes_its_figures(tmp_path: Path, need_sshd: None) -> None:
    page = tmp_path / "scale.md"
    page.write_text(PAGE.read_text("utf-8"), "utf-8")
    words = (sys.executable, "-m", "tests.scale", "--small", "--out", page)
    done = subprocess.run(words, cwd=TOP, stdout=subprocess.PIPE, text=True, check=True)
    text = page.read_text("utf-8")
    for part in ("20 hosts with 50 jobs each", "5 client machines", "submits that"):
        assert part in done.stdout and part in text


def test_a_page_without_a_place_is_refused() -> None:
    text = PAGE.read_text("utf-8")
    for name in ("simulation", "clients"):
        assert "\n\nfigures\n\n" in put_block(text, name, "figures")
    with pytest.raises(ValueError, match="0 blocks other"):
        put_block(text, "other", "figures")
