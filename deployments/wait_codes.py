"""The codes of the wait reasons that a row has although no cycle has looked at it.

The others are those of the planner.
"""

HELD = "held"
DEPENDENCY = "dependency"
DEPENDENCY_ENDED = "dependency_ended"
"""A dependency has ended without satisfying it, directly or through other deployments."""
BACKOFF = "backoff"
ARRAY_LIMIT = "array_limit"
"""As many elements of its array are active, or go before it, as may be active at once."""

NEVER = (
    DEPENDENCY_ENDED, "exceeds_capacity", "no_matching_node", "requested_cluster_gone",
    "no_cluster",
)  # fmt: skip
"""The wait reasons that do not end without a change by a person; an index has them."""
