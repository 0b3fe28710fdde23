"""Rows are locked in one way, with the right kind of lock and in one order."""

import ast
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.db import transaction
from django.db.models import Model

from hypervisor.base import locks
from hypervisor.base.errors import NotFound
from hypervisor.base.locks import LockingQuerySet
from orgs.models import Organization

pytestmark = pytest.mark.django_db

APPS = ("accounts", "orgs", "clusters", "deployments", "scheduling", "hypervisor", "benchmarks")
ROOT = Path(__file__).parents[3]
LOCKING: list[type[Model]] = [
    model
    for model in apps.get_models()
    if issubclass(model._default_manager.get_queryset().__class__, LockingQuerySet)
]

each_model = pytest.mark.parametrize("model", LOCKING, ids=lambda model: model.__name__)


def test_no_other_module_locks_rows() -> None:
    own = Path(locks.__file__)
    sources = [path for app in APPS for path in (ROOT / app).rglob("*.py") if path != own]
    assert len(sources) > 200

    assert [str(path.relative_to(ROOT)) for path in sources if locks_rows(path)] == []
    assert locks_rows(own)


def locks_rows(source: Path) -> bool:
    """Return whether the module calls `select_for_update`."""
    return any(
        isinstance(node, ast.Attribute) and node.attr == "select_for_update"
        for node in ast.walk(ast.parse(source.read_text()))
    )


def test_every_model_whose_rows_are_locked_has_a_locking_queryset() -> None:
    assert {model.__name__ for model in LOCKING} >= {
        "Cluster", "Connection", "Deployment", "Organization", "Run", "TokenFamily",
    }  # fmt: skip


@each_model
@pytest.mark.parametrize(
    ("how", "lock"),
    [
        ({}, 'FOR NO KEY UPDATE OF "{}"'),
        ({"for_deletion": True}, 'FOR UPDATE OF "{}"'),
        ({"skip_locked": True}, 'FOR NO KEY UPDATE OF "{}" SKIP LOCKED'),
    ],
)
def test_only_the_rows_themselves_are_locked_in_the_order_of_their_ids(
    model: type[Model], how: dict[str, Any], lock: str
) -> None:
    rows: Any = model._default_manager.order_by("-pk")
    with transaction.atomic():
        sql = str(rows.locked(**how).query)

    table = model._meta.db_table
    key = model._meta.pk.column
    assert sql.endswith(f'ORDER BY "{table}"."{key}" ASC {lock.format(table)}')


@each_model
def test_a_deleted_row_is_not_found(model: type[Model]) -> None:
    rows: Any = model._default_manager
    gone = model._meta.pk.to_python("7" * 32) if model.__name__ == "TokenFamily" else 7

    with pytest.raises(NotFound, match="was deleted in the meantime"):
        rows.get_locked(gone)


def test_get_locked_reads_the_row_again(acme: Organization) -> None:
    Organization.objects.update(name="Acme 2")

    assert Organization.objects.get_locked(acme.pk).name == "Acme 2"
