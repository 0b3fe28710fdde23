"""One scheduling cycle of one organization, in one transaction.

lock       one cycle of an organization at a time
snapshot   reads what the planner decides on
run        lock, snapshot, plan, apply
apply      writes the plan, each row checked again
recording  keeps what a cycle saw and decided, to be planned again
"""
