"""An instant as a person writes it: a span ago, a time of day, a date."""

from __future__ import annotations

from datetime import datetime, time, timedelta

from ..errors import SpecError
from ..model import seconds

_DAYS = {"today": 0, "yesterday": 1}


def read_past_instant(text: str, now: float) -> float:
    """Return an instant of the past as seconds since the epoch.

    Args:
        text: A span (``90``, ``15m``, ``7d``) counts back from now; a time of day is
            the last one that has passed; a date may have a time and an offset from
            UTC (ISO 8601). Without one it is local time.

    Raises:
        SpecError: it is none of these, or ahead.
    """
    try:
        at = _read_date(text.strip(), datetime.fromtimestamp(now))
    except (ValueError, OverflowError):
        try:
            return now - seconds(text)
        except SpecError as error:
            raise SpecError(
                f"not an instant: {text[:40]!r} (say 2h, 10:04, today, 2026-05-01 or "
                "2026-05-01T10:04)"
            ) from error
    if at > now:
        raise SpecError(f"not an instant of the past: {text[:40]!r}")
    return at


def _read_date(text: str, now: datetime) -> float:
    """Return the instant of a word for a day, a time of day or a date.

    Raises:
        ValueError: it is none of them.
    """
    if text in _DAYS:
        day = now.date() - timedelta(days=_DAYS[text])
        return datetime.combine(day, time()).timestamp()
    if len(text) in (5, 8) and ":" in text:
        at = datetime.combine(now.date(), time.fromisoformat(text))
        if at > now:
            at -= timedelta(days=1)
        return at.timestamp()
    if len(text) < 10 or "-" not in text:  # from 3.11 on, 20260501 is a date, too
        raise ValueError
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
