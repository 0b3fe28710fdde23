"""The web server: an event loop that serves connections, and threads that run Django.

A thread gets complete requests and returns complete responses, so a slow caller occupies a
connection but no thread. `__main__` starts the processes, `connections` limits the time, number and
memory of connections, `bridge` passes requests from the loop to Django and responses back.
"""
