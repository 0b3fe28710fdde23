"""A worker that dies by SIGKILL while it starts a container: `python -m tests.support.dying …`.

Arguments: the cluster's id, and the point at which the worker dies: before the engine is called,
after the container was created, or after it was started but before that is recorded.
"""

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import django


def main(cluster_id: int, where: str) -> None:
    django.setup()
    from clusters.drivers.docker.driver import DockerDriver
    from tests.support.reconcile import reconcile

    original = getattr(DockerDriver, _VERBS[where])

    def die(*arguments: Any) -> None:
        if where != "before":
            original(*arguments)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(DockerDriver, _VERBS[where], die)
    reconcile(cluster_id)


_VERBS = {"before": "start", "created": "_create", "started": "_start"}

if __name__ == "__main__":
    run: Callable[[int, str], None] = main
    run(int(sys.argv[1]), sys.argv[2])
