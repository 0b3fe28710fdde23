"""The web server: an event loop that talks to callers, and threads that run Django.

A thread works only on what has arrived whole, and hands over its answer whole, so a slow caller
costs a connection and no thread. `__main__` starts the processes, `connections` limits what callers
may take in time and number, `bridge` leads from the loop to Django and back.
"""
