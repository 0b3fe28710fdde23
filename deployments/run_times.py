"""How long the latest deployments of users ran."""

from collections import defaultdict
from collections.abc import Collection, Mapping

from django.db import connection

_LATEST = """
    SELECT given.organization_id, given.user_id,
        extract(epoch FROM past.finished_at - past.started_at)::bigint
    FROM unnest(%s::bigint[], %s::bigint[]) AS given(organization_id, user_id)
    CROSS JOIN LATERAL (
        SELECT started_at, finished_at FROM deployments_deployment
        WHERE organization_id = given.organization_id AND created_by_id = given.user_id
            AND finished_at IS NOT NULL AND started_at IS NOT NULL
        ORDER BY finished_at DESC LIMIT %s
    ) past
"""
"""An index has the ended deployments of each user by time, so others are not read."""


def latest_run_times(
    users: Mapping[int, Collection[int]], number: int
) -> dict[tuple[int, int], list[int]]:
    """Return the last run times, in seconds, of up to `number` ended deployments of each user.

    `users` are given by organization; the run times are by organization and user, and users without
    any are left out. It does not matter how the deployments ended.
    """
    pairs = [(organization, user) for organization, ids in users.items() for user in ids]
    found: dict[tuple[int, int], list[int]] = defaultdict(list)
    with connection.cursor() as cursor:
        cursor.execute(_LATEST, [[o for o, _ in pairs], [u for _, u in pairs], number])
        for organization, user, seconds in cursor.fetchall():
            found[organization, user].append(max(seconds, 0))
    return dict(found)
