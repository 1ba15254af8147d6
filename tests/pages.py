"""What the pages print, block by block, for the tests that run it."""

from __future__ import annotations

import re
from pathlib import Path

TOP = Path(__file__).parent.parent


def read_blocks(page: str, kind: str = "sh") -> list[str]:
    """Return what a page prints in blocks of one kind, in their order.

    tests/test_docs.py wants each kind of each page read by some test.
    """
    text = (TOP / page).read_text("utf-8")
    return re.findall(rf"^```{kind}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
