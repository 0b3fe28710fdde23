"""How much of the capacity reservations kept idle, from the samples of each minute."""

from datetime import datetime, timedelta

from django.db import connection

from clusters.models import DIMENSIONS

SPAN = timedelta(hours=24)
"""The span whose share pages and alarms show. It has many turns of most periods."""

SHARE = (
    f"greatest({', '.join(f'sum(idle_{name}) / nullif(sum({name}), 0)' for name in DIMENSIONS)})"
)
"""SQL over samples: the share, 0 to 1, of the resource of which the largest share was kept idle.

The limit holds for each resource of each organization, so it holds for this share of several
organizations too, which a sum over the resources could exceed.
"""


def share(
    since: datetime,
    until: datetime,
    *,
    cluster: int | None = None,
    organization: int | None = None,
) -> float | None:
    """Return the share of the capacity, 0 to 1, that reservations kept idle in that time.

    The capacity is that of the cluster, the organization or, without either, of all clusters. None
    if there is no sample, or no capacity.
    """
    table, condition, of = "scheduling_sample", "true", cluster or organization
    if of is not None:
        table = "scheduling_clustersample"
        condition = "cluster_id = %(of)s" if cluster else (
            "cluster_id IN (SELECT id FROM clusters_cluster WHERE organization_id = %(of)s)"
        )  # fmt: skip
    sql = (
        f"SELECT {SHARE} FROM {table} WHERE {condition}"  # noqa: S608
        " AND time > %(since)s AND time <= %(until)s"
    )
    with connection.cursor() as cursor:
        cursor.execute(sql, {"of": of, "since": since, "until": until})
        (found,) = cursor.fetchone()
    return None if found is None else float(found)
