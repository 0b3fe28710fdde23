"""How the platform is, and how it was.

health          whether processes and servers work
heartbeats      which processes are at work, as they report it
beat_scheduler  Celery beat, with a heartbeat of its own
clocks          clocks that disagree with the database's
queue_metrics   who waits, for how long, and whether rightly so
histogram       waits in steps, from which quantiles are read
minutes, days   samples of each minute, rolled up into days
alarms          what an operator should look at first
"""
