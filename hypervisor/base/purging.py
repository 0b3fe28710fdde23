"""Delete rows that are older than a limit, without keeping other work waiting.

A purge deletes in small transactions, skips rows that another transaction has locked, and ends
after a while: the next purge continues. So it waits for no lock, and nothing waits long for it.
"""

import time
from collections.abc import Callable, Collection
from datetime import datetime
from typing import Any

import structlog
from django.db import transaction
from django.db.models import QuerySet

from hypervisor.base.locks import locked

BATCH = 2000
"""How many rows one transaction reads at most, and deletes those of them that are due."""

LONGEST_S = 300.0
"""How long one purge may take: a worker serves no other request in the meantime."""

Delete = Callable[[Collection[int]], object]
"""Deletes the rows with these ids, which the transaction has locked."""

log = structlog.get_logger(__name__)


def purge(
    rows: "QuerySet[Any]",
    column: str,
    before: datetime,
    *,
    order: str = "pk",
    delete: Delete | None = None,
) -> int:
    """Delete the rows whose `column` has a time before the limit; return how many.

    The table is read in the `order` of an indexed column, and only up to the first batch without a
    time before the limit. So the times have to grow roughly with that column, as they do in a
    history with the id. Old rows that are not among `rows` are passed over. Rows whose position is
    that of a batch's last row are left to the next purge.
    """
    table = rows.model._base_manager.all()
    deadline = time.monotonic() + LONGEST_S
    deleted, position = 0, None
    while time.monotonic() < deadline:
        after: dict[str, Any] = {} if position is None else {f"{order}__gt": position}
        page = table.filter(**after).order_by(order).values_list("pk", order, column)[:BATCH]
        found = list(page)
        due = [pk for pk, _, at in found if at < before]
        if not due:
            return deleted
        deleted += _delete(rows.filter(pk__in=due, **{f"{column}__lt": before}), delete)
        position = found[-1][1]
    log.warning("purge_unfinished", table=rows.model._meta.db_table, deleted=deleted)
    return deleted


@transaction.atomic
def _delete(rows: "QuerySet[Any]", delete: Delete | None) -> int:
    found = locked(rows, for_deletion=True, skip_locked=True)
    ids = list(found.values_list("pk", flat=True))
    if delete is not None:
        delete(ids)
    else:
        rows.model._base_manager.filter(pk__in=ids).delete()
    return len(ids)
