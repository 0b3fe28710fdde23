"""The admin's two groups with their permissions, so that operators need not assemble them."""

from typing import Any

from django.contrib.auth.models import Group, Permission

VIEWERS = "Viewers"
OPERATORS = "Operators"

_OPERATE = frozenset(
    {
        "accounts.add_user",
        "accounts.change_user",
        "accounts.end_tokenfamily",
        "axes.delete_accessattempt",
        "clusters.add_cluster",
        "clusters.add_node",
        "clusters.change_cluster",
        "clusters.change_node",
        "clusters.connect_cluster",
        "clusters.delete_cluster",
        "clusters.delete_node",
        "clusters.resize_cluster",
        "clusters.steer_cluster",
        "deployments.add_registry",
        "deployments.change_deployment",
        "deployments.change_registry",
        "deployments.delete_deployment",
        "deployments.delete_registry",
        "deployments.hold_deployment",
        "deployments.preempt_deployment",
        "deployments.reprioritize_deployment",
        "deployments.start_deployment",
        "deployments.stop_deployment",
        "django_celery_beat.add_crontabschedule",
        "django_celery_beat.add_intervalschedule",
        "django_celery_beat.change_periodictask",
        "orgs.add_membership",
        "orgs.add_organization",
        "orgs.change_membership",
        "orgs.change_organization",
        "orgs.change_webhook",
        "orgs.delete_membership",
        "orgs.delete_organization",
        "orgs.replay_webhook",
        "orgs.revoke_apitoken",
        "scheduling.run_schedulingcycle",
    }
)
"""The permissions of operators besides viewing everything; superusers change permissions."""


def install(**_: Any) -> None:
    """Set both groups' permissions after `migrate`, exactly these.

    The groups belong to the product: an upgrade with a new action gives it to the operators. A
    permission is left out while its migration is not applied, as after `migrate` of one app.
    """
    permissions = {
        f"{permission.content_type.app_label}.{permission.codename}": permission
        for permission in Permission.objects.select_related("content_type")
    }
    see = {name for name in permissions if ".view_" in name}
    for group, names in ((VIEWERS, see), (OPERATORS, see | _OPERATE)):
        row, _created = Group.objects.get_or_create(name=group)
        row.permissions.set(permissions[name] for name in sorted(names & permissions.keys()))
