"""The platform's health, now and over time.

health          whether processes and servers work
heartbeats      when each process last reported that it works
beat_scheduler  Celery beat, with a heartbeat that does not pass the broker, and a lease
lease           of several processes, one works and the others wait
clocks          clocks that differ from the database's
queue_metrics   pending deployments, their waits, and priority inversions
idle            how much of the capacity reservations kept idle
histogram       waits in steps, for quantiles
minutes, days   samples of each minute, rolled up into days
totals          what has happened, counted once, in figures that only grow
usage           the capacity of each cluster: allocated, reserved, free
alarms          the problems that need an operator's attention; `alarm` is what they are made of
cycle_alarms    the alarms about cycles that are missing, fail or take long
"""
