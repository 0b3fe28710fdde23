"""The scheduler's pure core: a snapshot goes in, a plan comes out.

It knows no Django, no database and no clock, and it computes with integers only.
"""
