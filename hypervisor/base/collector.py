"""When Python's collector of reference cycles works.

The planner allocates hundreds of thousands of objects, and nearly no reference cycles. With
Python's own threshold of 700, the collector looks through them again and again, for a quarter of
the time of a scheduling cycle, of a page of the console and of the tests. Each time, it also looks
at all that new objects refer to: a plan for 100,000 deployments refers to each of them, which takes
20 to 60 ms.

What a process imports lives as long as the process. While it is imported, and at the end of the
process, the collector would look through it for nothing, for a third of the time that a short
command takes.
"""

import atexit
import gc

_COLLECT_AFTER = (200_000, 20, 20)


def pause() -> None:
    """Collect nothing while the process imports its modules."""
    gc.disable()


def resume() -> None:
    """Collect rarely from now on, nothing that exists now, and nothing when the process ends."""
    gc.freeze()
    gc.set_threshold(*_COLLECT_AFTER)
    gc.enable()
    atexit.register(gc.freeze)
