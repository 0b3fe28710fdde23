"""The building blocks of the pages: badge, figure, resource bar, plot."""

from datetime import UTC, datetime, timedelta
from html import escape
from typing import Any

from django import template
from django.conf import settings
from django.utils import timezone
from django.utils.safestring import SafeString

from hypervisor.base.durations import in_words
from hypervisor.ui.charts import Bar, Plot

register = template.Library()

_NOTHING = "\u2013"

# The tone, and a symbol with the same meaning for people who cannot see the colour.
_LOOKS = {
    "ok": ("good", "check_circle"),
    "running": ("good", "play_circle"),
    "active": ("good", "check_circle"),
    "completed": ("good", "task_alt"),
    "sent": ("good", "check_circle"),
    "delivered": ("good", "check_circle"),
    "placed": ("good", "arrow_circle_right"),
    "starting": ("info", "pending"),
    "stopping": ("info", "stop_circle"),
    "moved": ("info", "move_down"),
    "info": ("info", "info"),
    "pending": ("waits", "schedule"),
    "scheduled": ("waits", "schedule"),
    "requeued": ("waits", "undo"),
    "held": ("warn", "pause_circle"),
    "cordoned": ("warn", "block"),
    "draining": ("warn", "logout"),
    "evicted": ("warn", "eject"),
    "warning": ("warn", "warning"),
    "degraded": ("warn", "warning"),
    "failed": ("bad", "error"),
    "critical": ("bad", "error"),
    "unreachable": ("bad", "cloud_off"),
    "down": ("bad", "cancel"),
}


@register.inclusion_tag("ui/badge.html")
def badge(state: str, text: str = "") -> dict[str, str]:
    """Draw a state in its colour, with its symbol and its name."""
    tone, symbol = _LOOKS.get(state, ("plain", "circle"))
    name = "on hold" if state == "held" else state.replace("_", " ")
    return {"tone": tone, "symbol": symbol, "text": text or name}


@register.inclusion_tag("ui/figure.html")
def figure(
    label: str, value: Any, note: str = "", tone: str = "plain", href: str = ""
) -> dict[str, Any]:
    """Draw a card with one number; `href` links to what it counts."""
    return {"label": label, "value": value, "note": note, "tone": tone, "href": href}


@register.inclusion_tag("ui/bar.html")
def resource_bar(bar: Bar) -> dict[str, Any]:
    """Draw what is allocated, reserved and free of one resource, also in words."""
    return {"bar": bar}


_SMALL_BAR = (
    '<div class="c-small-bar"><svg viewBox="0 0 100 1" preserveAspectRatio="none"'
    ' aria-hidden="true" focusable="false"><rect class="c-bar-free" width="100" height="1"></rect>'
    '<rect class="c-bar-allocated" width="{0}" height="1"></rect>'
    '<rect class="c-bar-reserved" x="{0}" width="{1}" height="1"></rect></svg>'
    "<span><strong>{2}</strong>/{3}{4}</span></div>"
)


@register.filter
def small_bar(bar: Bar) -> SafeString:
    """Draw the same in a cell of a table.

    Here and in `table_rows`, a template would take ten times as long for hundreds of cells.
    """
    if not bar.capacity:
        return SafeString('<span class="c-note">none</span>')
    allocated, reserved, _, capacity = map(escape, bar.texts)
    note = f' <span class="c-note">{reserved} reserved</span>' if bar.reserved else ""
    percents = bar.allocated_percent, bar.reserved_percent
    return SafeString(_SMALL_BAR.format(*percents, allocated, capacity, note))


@register.filter
def table_rows(plot: Plot) -> SafeString:
    """Return the rows of a plot's table."""
    rows = [
        f'<tr><th scope="row">{time.astimezone(UTC):%Y-%m-%d %H:%M}</th>'
        f"{''.join([f'<td>{number(value)}</td>' for value in values])}</tr>"
        for time, values in plot.rows
    ]
    return SafeString("".join(rows))


@register.inclusion_tag("ui/plot.html")
def plot(plot: Plot, key: str) -> dict[str, Any]:
    """Draw values over time, with a hidden table of them; `key` is unique on the page."""
    return {"plot": plot, "key": key}


@register.simple_tag
def reservation_limit() -> str:
    """Return in words how much of the capacity the turns of rule 9 may keep idle."""
    return f"limit of the turns: {settings.SCHEDULER_POLICY.reservation_percent}%"


@register.filter
def duration(seconds: float | timedelta | None) -> str:
    """Return `3 d 4 h`, `2 h 5 min`, `7 min`, `12 s` or `less than 1 s`: two units at most."""
    if seconds is None:
        return _NOTHING
    if isinstance(seconds, timedelta):
        seconds = seconds.total_seconds()
    return in_words(seconds)


@register.filter
def ago(time: datetime | None) -> str:
    """Return the time since then, such as `7 min ago` or `just now`, or `never` for None."""
    if time is None:
        return "never"
    seconds = (timezone.now() - time).total_seconds()
    return "just now" if seconds < 1 else f"{duration(seconds)} ago"


@register.filter
def number(value: float | None) -> str:
    """Format a number with separated thousands and without trailing zeros."""
    if value is None:
        return _NOTHING
    if abs(value) >= 100 or float(value).is_integer():
        return f"{value:,.0f}"
    return f"{value:.2f}".rstrip("0").rstrip(".")


@register.filter
def percent(part: float | None) -> str:
    """Format a share between 0 and 1 as `87%`; below 1% and above 99% with a decimal."""
    if part is None:
        return _NOTHING
    value = 100 * part
    edge = 0 < value < 1 or 99 < value < 100
    return f"{value:.1f}%" if edge else f"{value:.0f}%"
