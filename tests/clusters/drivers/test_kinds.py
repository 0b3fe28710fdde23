"""Rules for every registered kind of engine."""

import os
import subprocess
import sys

import pytest
from django.core.management import load_command_class
from django.utils.module_loading import import_string

from clusters.drivers.forms import ConnectForm
from clusters.drivers.kinds import KINDS, UNCONNECTED, choices, connectable, kind_of
from clusters.drivers.options import ConnectOptions
from clusters.models import Cluster
from hypervisor.settings import BASE_DIR

each_kind = pytest.mark.parametrize("name", KINDS)


@each_kind
def test_the_import_paths_of_a_kind_are_correct(name: str) -> None:
    kind = kind_of(name)

    assert import_string(kind.driver).__module__.startswith(KINDS[name].removesuffix("KIND"))
    assert bool(kind.form) == bool(kind.options)
    if kind.needs_connection:
        assert issubclass(kind.form_class(), ConnectForm)
        assert isinstance(kind.make_options(), ConnectOptions)


@each_kind
def test_the_name_of_a_kind_fits_into_the_column(name: str) -> None:
    assert len(name) <= (Cluster._meta.get_field("driver").max_length or 0)


def test_an_unconnected_cluster_needs_no_connection() -> None:
    assert not Cluster().kind.needs_connection
    assert UNCONNECTED not in connectable()


def test_released_kinds_keep_their_names_and_their_order() -> None:
    assert choices()[:3] == [
        ("simulated", "Simulated"),
        ("docker", "Docker"),
        ("kubernetes", "Kubernetes"),
    ]


def test_the_options_of_the_kinds_do_not_collide() -> None:
    parser = load_command_class("clusters", "connect_cluster").create_parser("manage.py", "x")

    assert all(f"--{name}" in parser.format_help() for name in connectable())


def test_listing_the_kinds_imports_neither_clients_nor_forms() -> None:
    program = (
        "import django, sys; django.setup();"
        " import deployments.runtime.reconcile; from django.contrib import admin;"
        " admin.autodiscover();"
        " from clusters.drivers import kinds;"
        " kinds.choices(), kinds.connectable();"
        " own = [f'clusters.drivers.{name}.{part}' for name in kinds.KINDS"
        " for part in ('driver', 'form', 'options')];"
        " sys.exit(str([name for name in ('docker', 'kubernetes', *own) if name in sys.modules]"
        " or ''))"
    )
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "hypervisor.settings"}

    done = subprocess.run(
        [sys.executable, "-c", program], cwd=BASE_DIR, env=environment, capture_output=True
    )

    assert done.stderr.decode().strip() == ""
