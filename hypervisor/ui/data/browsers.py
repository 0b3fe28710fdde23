"""The browser of a session as people know it."""

import re

from accounts.models import BrowserSession

_BROWSERS = {
    "Edg/": "Edge", "OPR/": "Opera", "Firefox/": "Firefox", "Chrome/": "Chrome",
    "Safari/": "Safari", "curl/": "curl",
}  # fmt: skip
_SYSTEMS = {
    "iPhone|iPad": "iOS", "Android": "Android", "Windows": "Windows", "Mac OS X": "macOS",
    "Linux": "Linux",
}  # fmt: skip


def browser_of(session: BrowserSession) -> str:
    """Return the browser in words, such as `Firefox on Linux`."""
    agent = session.browser
    browser = next((name for mark, name in _BROWSERS.items() if mark in agent), "")
    system = next((name for mark, name in _SYSTEMS.items() if re.search(mark, agent)), "")
    if browser and system:
        return f"{browser} on {system}"
    return browser or system or agent[:40] or "Unknown browser"
