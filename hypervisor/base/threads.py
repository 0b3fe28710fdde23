"""Calls that use the database, from an event loop."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from django.db import close_old_connections

T = TypeVar("T")


async def in_thread(pool: ThreadPoolExecutor, call: Callable[[], T]) -> T:
    """Run the call in a thread of the pool, whose session is replaced if it was lost."""
    return await asyncio.get_running_loop().run_in_executor(pool, _on_good_connection, call)


def _on_good_connection(call: Callable[[], T]) -> T:
    close_old_connections()
    return call()
