"""What a web process does besides serving: it begins and ends with the server."""

import asyncio

from hypervisor.web.messages import Application, Receive, Scope, Send
from orgs.webhooks.sender import Sender


class Lifespan:
    """An ASGI application that sends webhooks while the server runs, if `sends` says so."""

    def __init__(self, application: Application, *, sends: bool) -> None:
        self._application = application
        self._sends = sends

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await self._application(scope, receive, send)
            return
        await receive()
        sender = Sender() if self._sends else None
        running = asyncio.create_task(sender.run()) if sender else None
        await send({"type": "lifespan.startup.complete"})
        await receive()
        if sender and running:
            sender.stop()
            await running
        await send({"type": "lifespan.shutdown.complete"})
