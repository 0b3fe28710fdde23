import pytest

from accounts.throttles import ScopedThrottle


@pytest.fixture(autouse=True)
def rates(monkeypatch: pytest.MonkeyPatch) -> dict[str, str | None]:
    """The rate limits by scope; there are none until a test sets one."""
    limits: dict[str, str | None] = dict.fromkeys(("register", "token", "join"))
    monkeypatch.setattr(ScopedThrottle, "THROTTLE_RATES", limits)
    return limits
