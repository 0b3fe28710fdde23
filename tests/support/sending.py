"""A sender of webhooks in a thread of the tests, or as a process that a test may kill."""

import asyncio
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def sending() -> Iterator[None]:
    """Send webhooks in this block, as the process does that serves followers."""
    # Not at the top, because `main` sets up Django first.
    from orgs.webhooks.sender import Sender

    made: list[tuple[asyncio.AbstractEventLoop, Sender]] = []
    started = threading.Event()

    async def run() -> None:
        sender = Sender()
        made.append((asyncio.get_running_loop(), sender))
        started.set()
        await sender.run()

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    assert started.wait(20)
    try:
        yield
    finally:
        loop, sender = made[0]
        loop.call_soon_threadsafe(sender.stop)
        thread.join(30)
        assert not thread.is_alive()


def main() -> None:
    """Send webhooks until the process is killed: `python -m tests.support.sending`."""
    import django

    django.setup()
    with sending():
        sys.stdout.write("sending\n")
        sys.stdout.flush()
        threading.Event().wait()


if __name__ == "__main__":
    main()
