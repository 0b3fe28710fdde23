"""The option `--set NAME=VALUE` of commands that plan with other thresholds."""

from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Sequence

from hypervisor.base.numbers import whole
from scheduling.planner.policy import Threshold

Assignment = tuple[str, int | str]
"""The name of a threshold and its value."""


def add_set(parser: ArgumentParser, thresholds: Sequence[Threshold]) -> None:
    """Add the repeatable option; its value is a list of assignments."""
    known = "; ".join(f"{each.name}: {each.allowed}" for each in thresholds)
    parser.add_argument(
        "--set",
        type=reader(thresholds),
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help=f"change a threshold; may be repeated. {known}.",
    )


def reader(thresholds: Sequence[Threshold]) -> Callable[[str], Assignment]:
    """Return the `type` of an option that takes one assignment to one of these thresholds."""
    by_name = {each.name: each for each in thresholds}

    def read(text: str) -> Assignment:
        name, equals, value = text.partition("=")
        threshold = by_name.get(name)
        if not equals or threshold is None:
            known = ", ".join(by_name)
            raise ArgumentTypeError(f"{text}: expected NAME=VALUE with one of {known}")
        number = None if threshold.choices else whole(value)
        given = value if number is None else number
        try:
            threshold.check(given)
        except ValueError as error:
            raise ArgumentTypeError(str(error)) from error
        return name, given

    return read
