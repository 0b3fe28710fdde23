"""The option `--cluster cpu=64,ram=512Gi,gpu=8` of commands that run in simulated time."""

from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Sequence

from clusters.resources import parse_cpu, parse_ram_mib
from hypervisor.base.numbers import read_whole
from scheduling.planner.resources import Resources
from scheduling.planner.snapshot import Cluster

_FORM = "cpu=64,ram=512Gi,gpu=8"


def add_cluster(parser: ArgumentParser, *, required: bool, about: str) -> None:
    """Add the repeatable option; its value is a list of capacities, None without any."""
    parser.add_argument(
        "--cluster",
        type=_capacity,
        action="append",
        required=required,
        metavar=_FORM,
        help=f"{about}; may be repeated",
    )


def numbered(capacities: Sequence[Resources]) -> tuple[Cluster, ...]:
    """Return clusters of these capacities, with the ids 1, 2, and so on."""
    return tuple(Cluster(number, capacity) for number, capacity in enumerate(capacities, start=1))


def _capacity(text: str) -> Resources:
    parts = dict(part.partition("=")[::2] for part in text.split(","))
    if not {"cpu", "ram"} <= set(parts) <= {"cpu", "ram", "gpu"}:
        raise ArgumentTypeError(f"{text}: expected the form {_FORM}")
    try:
        return Resources(
            parse_cpu(parts["cpu"]), parse_ram_mib(parts["ram"]), read_whole(parts.get("gpu", "0"))
        )
    except ValueError as error:
        raise ArgumentTypeError(f"{text}: {error}") from error
