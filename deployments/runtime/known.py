"""What a pass knows of each unfinished run on an engine.

Most runs need nothing, in every pass. So a pass reads only the columns that it needs to find that
out, and not as instances of the models, which take many times as long to create. It reads whole
rows of the runs that need a step.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from clusters.drivers.base import uid_by_run
from clusters.engines import Engine
from deployments.runtime.models import Run

_COLUMNS = (
    "pk", "deployment_id", "cluster_id", "node_id", "cpu_milli", "ram_mib", "gpu", "launched_at",
    "started_at", "released_at", "devices", "container_uid", "deployment__priority",
    "deployment__max_runtime_s", "deployment__status_code",
)  # fmt: skip


@dataclass(slots=True)
class KnownRun:
    """A row of a run, with three columns of its deployment."""

    pk: int
    deployment_id: int
    cluster_id: int | None
    node_id: int | None
    cpu_milli: int
    ram_mib: int
    gpu: int
    launched_at: datetime | None
    started_at: datetime | None
    released_at: datetime | None
    devices: list[str]
    container_uid: UUID | None
    priority: int
    max_runtime_s: int | None
    status_code: str

    @property
    def container(self) -> UUID | None:
        """The uid of its container, None if no container was ever requested."""
        if self.launched_at is None:
            return None
        return self.container_uid or uid_by_run(self.pk)

    def uid_to_launch(self) -> UUID:
        """Return the uid for its container: new at the first attempt, the same at every other."""
        return self.container_uid or self.container or uuid4()

    @property
    def expires_at(self) -> datetime | None:
        """When it reaches its longest run time, None if it has none or does not run."""
        if self.max_runtime_s is None or self.started_at is None or self.released_at is not None:
            return None
        return self.started_at + timedelta(seconds=self.max_runtime_s)


def unfinished(engine: Engine) -> list[KnownRun]:
    """Return the unfinished runs on the engine's nodes in the order of their placements."""
    runs = Run.objects.unfinished().filter(engine.placed).order_by("placed_at", "pk")
    return [KnownRun(*row) for row in runs.values_list(*_COLUMNS)]


def whole(runs: Iterable[KnownRun]) -> list[Run]:
    """Return these runs with their deployments as they are now, without those that were deleted."""
    ids = [run.pk for run in runs]
    if not ids:
        return []
    found = Run.objects.select_related("deployment").in_bulk(ids)
    return [found[pk] for pk in ids if pk in found]
