"""A container's output, streamed from the API server."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import urllib3

from clusters.drivers.kubernetes.transport import unreachable
from clusters.drivers.pipe import relayed

SILENCE_S = 1.0
"""After this time without output, a follower gets an empty piece."""

_PIECE = 1 << 16


def whole(response: Any) -> Iterator[bytes]:
    """Yield the response in large pieces."""
    try:
        while piece := response.read(_PIECE):
            yield piece
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise unreachable(error) from error
    finally:
        response.close()


def followed(response: Any) -> Iterator[bytes]:
    """Yield the output as it arrives, until the container ends."""

    def hang_up() -> None:
        with suppress(Exception):
            response.shutdown()

    try:
        yield from relayed(response.stream(None), silence_s=SILENCE_S, hang_up=hang_up)
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise unreachable(error) from error
    finally:
        response.close()
