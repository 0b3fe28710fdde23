"""Durations in words."""


def in_words(seconds: float) -> str:
    """Return `3 d 4 h`, `2 h 5 min`, `7 min`, `12 s` or `less than 1 s`: two units at most."""
    if 0 < seconds < 1:
        return "less than 1 s"
    whole = int(seconds)
    days, hours, minutes = whole // 86400, whole // 3600 % 24, whole // 60 % 60
    if days:
        return f"{days} d {hours} h" if hours else f"{days} d"
    if hours:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    if minutes >= 10 or (minutes and not whole % 60):
        return f"{minutes} min"
    return f"{minutes} min {whole % 60} s" if minutes else f"{whole} s"


def with_milliseconds(seconds: float) -> str:
    """Return `40 ms` for less than a second: for the work of programs, which people compare."""
    return f"{1000 * seconds:.0f} ms" if 0 < seconds < 1 else in_words(seconds)
