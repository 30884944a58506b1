"""Durations and trials in words."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """Seconds as h:mm:ss, or m:ss below an hour.

    >>> duration(59.6), duration(3725)
    ('1:00', '1:02:05')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
