"""The log of which deployments changed, by which a process keeps its copy of them up to date.

Triggers add a row for each deployment that a statement inserts, updates or deletes, for each whose
dependencies it changes, and for each whose array gets another limit, so that no writer can forget
it, nor a person with a line of SQL. A row has the id of the transaction that made the change. A
reader keeps the database's snapshot of its last reading: what it has not seen since are the rows of
the transactions that are not visible in that snapshot. A sequence would not do, because
transactions do not commit in the order of their numbers.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pgtrigger
from django.db import connection, models, transaction

from hypervisor.base.locks import LockingQuerySet

_XACT = "pg_current_xact_id()::text::bigint"


class DeploymentChange(models.Model):
    """Transaction `xact` changed the deployment, which may be deleted by now."""

    organization_id = models.BigIntegerField()
    deployment_id = models.BigIntegerField()
    xact = models.BigIntegerField()

    class Meta:
        ordering = ["id"]
        triggers = [
            # So that no copy relies on rows that are gone, whoever has deleted them.
            pgtrigger.Trigger(
                name="raise_limit",
                level=pgtrigger.Statement,
                when=pgtrigger.After,
                operation=pgtrigger.Delete,
                referencing=pgtrigger.Referencing(old="deleted"),  # type: ignore[no-untyped-call]
                func="""
                    INSERT INTO deployments_changelimit (kept_from, next_from)
                    SELECT 0, 0 WHERE NOT EXISTS (SELECT FROM deployments_changelimit);
                    UPDATE deployments_changelimit l SET kept_from = d.kept_from
                    FROM (SELECT max(xact) + 1 AS kept_from FROM deleted) d
                    WHERE d.kept_from > l.kept_from;
                    RETURN NULL;
                """,
            )
        ]
        indexes = [
            models.Index(fields=["organization_id", "xact"], name="change_of_organization"),
            models.Index(fields=["xact"], name="change_by_xact"),
        ]

    def __str__(self) -> str:
        return f"transaction {self.xact} changed deployment {self.deployment_id}"


class ChangeLimit(models.Model):
    """The only row: the log is complete from transaction `kept_from` on.

    The next purge deletes what is older than `next_from`.
    """

    kept_from = models.BigIntegerField(default=0)
    next_from = models.BigIntegerField(default=0)

    objects = LockingQuerySet["ChangeLimit"].as_manager()

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"changes are kept from transaction {self.kept_from} on"


def log_of_deployments() -> list[pgtrigger.Trigger]:
    """Return the triggers for the table of deployments."""
    former = _log_of_rows(
        "log_former", f"OLD.organization_id, OLD.id, {_XACT}", "organization_id", "id"
    )
    return [*_log("organization_id, id FROM {rows}"), former]


def log_of_dependencies() -> list[pgtrigger.Trigger]:
    """Return the triggers for the table of dependencies: their deployments count as changed."""
    former = (
        f"organization_id, id, {_XACT} FROM deployments_deployment WHERE id = OLD.deployment_id"
    )
    changed = (
        "d.organization_id, d.id FROM {rows} r"
        " JOIN deployments_deployment d ON d.id = r.deployment_id"
    )
    return [*_log(changed), _log_of_rows("log_former", former, "deployment_id")]


def log_of_arrays() -> pgtrigger.Trigger:
    """Return the trigger for the table of arrays: a limit concerns elements that have not ended."""
    elements = (
        f"organization_id, id, {_XACT} FROM deployments_deployment WHERE array_id = NEW.id"
        " AND status IN ('pending', 'starting', 'running', 'stopping')"
    )
    return _log_of_rows("log_elements", elements, "at_once")


def _log_of_rows(name: str, selected: str, *columns: str) -> pgtrigger.Trigger:
    """Return a trigger for each row of which an update changes one of the columns.

    It costs other updates nothing. PostgreSQL has no trigger for statements that change a column.
    """
    differs = " OR ".join(f"OLD.{column} IS DISTINCT FROM NEW.{column}" for column in columns)
    return pgtrigger.Trigger(
        name=name,
        when=pgtrigger.After,
        operation=pgtrigger.UpdateOf(*columns),  # type: ignore[no-untyped-call]
        condition=pgtrigger.Condition(differs),
        func=f"""
            INSERT INTO deployments_deploymentchange (organization_id, deployment_id, xact)
            SELECT {selected};
            RETURN NULL;
        """,
    )


def _log(selected: str) -> list[pgtrigger.Trigger]:
    """Return a trigger for each kind of statement: only such a one sees the statement's rows."""
    new = pgtrigger.Referencing(new="changed_rows")  # type: ignore[no-untyped-call]
    old = pgtrigger.Referencing(old="changed_rows")  # type: ignore[no-untyped-call]
    operations = {
        "insert": (pgtrigger.Insert, new),
        "update": (pgtrigger.Update, new),
        "delete": (pgtrigger.Delete, old),
    }
    return [
        pgtrigger.Trigger(
            name=f"log_{name}",
            level=pgtrigger.Statement,
            when=pgtrigger.After,
            operation=operation,
            referencing=referencing,
            func=f"""
                INSERT INTO deployments_deploymentchange (organization_id, deployment_id, xact)
                SELECT {selected.format(rows="changed_rows")};
                RETURN NULL;
            """.replace(" FROM changed_rows", f", {_XACT} FROM changed_rows"),
        )
        for name, (operation, referencing) in operations.items()
    ]


@dataclass(frozen=True, slots=True)
class Moment:
    """What a statement saw of the database.

    `snapshot` is PostgreSQL's text for the transactions that it saw. `source` identifies the
    tables: it differs after a restore or a TRUNCATE. `kept_from` is the first transaction from
    which the log is complete. `xact` is the transaction of the statement, None before its first
    write or lock: the snapshot has it among those that have ended, although it may still change
    deployments.
    """

    snapshot: str
    source: str
    kept_from: int
    xact: int | None

    def leads_to(self, later: "Moment") -> bool:
        """Return whether the log has every change between this moment and the later one."""
        return (
            self.source == later.source
            and self._oldest >= later.kept_from
            and self.next <= later.next
        )

    @property
    def next(self) -> int:
        """The first transaction that had not begun."""
        return int(self.snapshot.split(":")[1])

    @property
    def running(self) -> list[int]:
        """The transactions before `next` of which the statement did not see all changes."""
        others = self.snapshot.split(":")[2].split(",")
        return [*map(int, filter(None, others)), *([] if self.xact is None else [self.xact])]

    @property
    def _oldest(self) -> int:
        return int(self.snapshot.split(":")[0])


@dataclass(frozen=True, slots=True)
class Changes:
    """The deployments that changed before a moment, by organization.

    `own` are those that this transaction itself has changed: nothing that it reads of their
    organizations may outlast it.
    """

    moment: Moment
    deployments: Mapping[int, set[int]]
    own: Mapping[int, set[int]]


def since(moments: Mapping[int, Moment | None]) -> Changes:
    """Return what changed since a moment for each organization; without a moment, nothing.

    The deployments that wait for a changed one are included, because it decides whether they are
    ready. One statement reads all, because what it saw is what `moment` says. If an organization's
    moment does not lead to it, its changes are incomplete.
    """
    sql = """
        WITH changed AS (
            SELECT organization_id, deployment_id
            FROM unnest(%(organizations)s::bigint[], %(nexts)s::bigint[])
                     AS seen(organization_id, next)
            JOIN deployments_deploymentchange c USING (organization_id)
            WHERE c.xact >= next AND c.xact >= %(first)s::bigint
            UNION
            SELECT organization_id, deployment_id
            FROM unnest(%(organizations_of)s::bigint[], %(running)s::bigint[])
                     AS unseen(organization_id, xact)
            JOIN deployments_deploymentchange c USING (organization_id, xact)
            WHERE c.xact = ANY(%(running)s::bigint[])
        ), affected AS (
            SELECT organization_id, deployment_id FROM changed
            UNION
            SELECT organization_id, w.deployment_id
            FROM changed JOIN deployments_dependency w ON w.on_id = changed.deployment_id
        ), changed_here AS (
            SELECT DISTINCT organization_id, deployment_id
            FROM deployments_deploymentchange
            WHERE xact = pg_current_xact_id_if_assigned()::text::bigint
              AND organization_id = ANY(%(wanted)s::bigint[])
        ), own AS (
            SELECT organization_id, deployment_id FROM changed_here
            UNION
            SELECT organization_id, w.deployment_id
            FROM changed_here JOIN deployments_dependency w ON w.on_id = changed_here.deployment_id
        )
        SELECT pg_current_snapshot()::text, pg_current_xact_id_if_assigned()::text::bigint,
               (SELECT oid FROM pg_database WHERE datname = current_database()) || '/'
                   || pg_relation_filenode('deployments_deployment') || '/'
                   || pg_relation_filenode('deployments_dependency') || '/'
                   || pg_relation_filenode('deployments_deploymentchange'),
               (SELECT max(kept_from) FROM deployments_changelimit),
               (SELECT array_agg(ARRAY[organization_id, deployment_id]) FROM own),
               (SELECT array_agg(ARRAY[organization_id, deployment_id]) FROM affected)
    """
    # What is written as >= first and = ANY, too, keeps the search in an index however many changes
    # are kept, which are many while a transaction that writes stays open.
    known = {pk: moment for pk, moment in moments.items() if moment}
    nexts = [moment.next for moment in known.values()]
    running = [(pk, xact) for pk, moment in known.items() for xact in moment.running]
    arguments = {
        "wanted": list(moments),
        "organizations": list(known),
        "nexts": nexts,
        "first": min(nexts, default=None),
        "organizations_of": [pk for pk, _ in running],
        "running": [xact for _, xact in running],
    }
    with connection.cursor() as cursor:
        cursor.execute(sql, arguments)
        snapshot, xact, source, kept_from, own, affected = cursor.fetchone()
    moment = Moment(snapshot, source, kept_from or 0, xact)
    return Changes(moment, _by_organization(affected or ()), _by_organization(own or ()))


def _by_organization(pairs: Iterable[Sequence[int]]) -> dict[int, set[int]]:
    deployments: dict[int, set[int]] = defaultdict(set)
    for organization, deployment in pairs:
        deployments[organization].add(deployment)
    return dict(deployments)


@transaction.atomic
def purge() -> int:
    """Delete the changes from before the purge before this one; return their number.

    A copy that was brought up to date since then needs none of them.
    """
    limit = ChangeLimit.objects.locked().first()
    if limit is None:
        limit = ChangeLimit.objects.create()
    deleted, _ = DeploymentChange.objects.filter(xact__lt=limit.next_from).delete()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
        limit.next_from = cursor.fetchone()[0]
    limit.save(update_fields=["next_from"])  # the deletion has raised `kept_from`
    return deleted
