"""Find the code that all members of a group have in common, without a wait reason for each.

Most deployments that wait for free capacity have the same code. This file proves that from what
their requests have in common: all are eligible for the same nodes, none fits into the sum of what
is free on a cluster, and of the freest nodes the same one is the closest for each of them.
"""

from scheduling.planner.packed import pack
from scheduling.planner.reasons.supply import Supplies
from scheduling.planner.reasons.wait_reason import Reason
from scheduling.planner.shortlist import Group


def common_code(supplies: Supplies, group: Group) -> str | None:
    """Return the code of all members that wait and have neither a reservation nor a suspension.

    None if that is not certain without a look at each of them.
    """
    problem, first = supplies.problem, group.members[0]
    d = problem.index_of(first)
    if not problem.eligibility.are_all_eligible(first, group.most):
        return None
    supply = supplies.at(first.priority, d)
    if not supply.nodes or supply.may_scatter(pack(group.least)):
        return None
    if not supply.reservations:
        return "no_free_capacity"
    if not group.is_alike:
        return None
    return Reason(supplies, d, None).common_code()
