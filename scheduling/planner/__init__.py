"""The pure core of the scheduler: it takes a snapshot and returns a plan.

It uses no Django, no database and no clock, and computes with integers only.
"""
