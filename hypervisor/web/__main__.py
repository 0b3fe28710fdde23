"""`python -m hypervisor.web`: run the processes of the web server until a signal."""

import argparse
import os
import socket

from uvicorn import Config
from uvicorn.supervisors import Multiprocess

from hypervisor.web.connections import HEADER_BYTES, IDLE_S, Connection

_GRACE_S = 8


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m hypervisor.web", description=__doc__)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--bind", metavar="HOST:PORT", help="the address to listen on")
    where.add_argument("--fd", type=int, help="a socket that already listens")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument(
        "--events",
        action="store_true",
        help="serve followers of events and send webhooks, whatever EVENTS_URL says",
    )
    options = parser.parse_args()
    if options.events:
        os.environ["EVENTS_URL"] = ""
    if options.fd is None:
        host, _, port = options.bind.rpartition(":")
        descriptor = socket.create_server((host, int(port)), backlog=1024).detach()
    else:
        descriptor = options.fd
    # Read the socket's family and protocol from the system: asyncio disables Nagle's algorithm only
    # for a known protocol.
    listener = socket.socket(fileno=descriptor)
    config = Config(
        "hypervisor.web.application:application",
        http=Connection, ws="none", loop="asyncio", lifespan="on", workers=options.processes,
        backlog=1024, timeout_keep_alive=IDLE_S, timeout_graceful_shutdown=_GRACE_S,
        # A process that gets no CPU for a while must not count as hung.
        timeout_worker_healthcheck=60,
        h11_max_incomplete_event_size=HEADER_BYTES,
        proxy_headers=False, server_header=False, access_log=False,
        log_config=None, log_level="warning",
    )  # fmt: skip
    Multiprocess(config, sockets=[listener]).run()


if __name__ == "__main__":
    main()
