"""One scheduling cycle of one organization, in one transaction.

lanes           which workers run an organization's cycles
lock            allows one cycle of an organization at a time
snapshot        reads the planner's input
kept            keeps values of organizations, up to a limit
working_copy    keeps what was read of the deployments, and brings it up to date
competing       keeps which of them a plan is made of
array_limits    keeps elements beyond the limits of their arrays out of it
past            reads the recent evictions
next_plan       plans, unless the last plan is still right
run             lock, snapshot, plan, apply
apply           checks the rows again and writes the plan
explaining      writes why deployments wait, for most of many in the background
stored_reasons  finds which stored reasons differ, without reading those that cannot
recording       stores a cycle's snapshot and decisions, so that it can be planned again
deflating       compresses a text of which most is the same as before
"""
