"""The host's own words, to find out why nothing of ours ran there.

An expired password, a restricted shell, a forced command, a limit of processes: each
says so in a line of its own, mostly on stderr.
"""

from __future__ import annotations

from ..model import printable
from ..transports import Completed

#: Of longer words the head and the tail are shown, of so many characters each.
_PART = 240


def words_of_session(preamble: bytes, ran: Completed) -> str:
    """Return a session's words and its end, on one line, safe to show.

    Args:
        preamble: Bytes on stdout before our own reply.
        ran: How the session ended, with the head of its stderr.
    """
    said = [_quote(preamble), _quote(ran.stderr)]
    text = f"it said {said[0] or said[1] or 'nothing'}"
    if all(said):
        text += f", and on stderr {said[1]}"
    status = "no status" if ran.exit_status is None else f"status {ran.exit_status}"
    return f"{text}, and ended with {status}"


def _quote(data: bytes) -> str:
    """Return words in quotes, or nothing."""
    lines = data.decode("utf-8", "backslashreplace").replace("\r", "").splitlines()
    text = "; ".join(line.strip() for line in lines if line.strip())
    if len(text) > 2 * _PART:
        text = f"{text[:_PART]} ... {text[-_PART:]}"
    return f'"{printable(text)}"' if text else ""
