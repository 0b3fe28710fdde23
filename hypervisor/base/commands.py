"""The base of the product's commands: options, JSON, and rows found by name or id."""

import json
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser, SystemCheckError
from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import Model, QuerySet

from hypervisor.base.numbers import whole

M = TypeVar("M", bound=Model)

_LISTED = 10
"""The most rows that an error lists."""


class Command(BaseCommand):
    """A command whose help lists only its own options, not those of every Django command."""

    suppressed_base_arguments = {
        "--version", "--verbosity", "--settings", "--pythonpath", "--traceback", "--no-color",
        "--force-color",
    }  # fmt: skip

    _called_from_command_line: bool  # Django's attribute, missing in its stubs

    def execute(self, *args: Any, **options: Any) -> str | None:
        try:
            return super().execute(*args, **options)
        except SystemCheckError:
            raise
        except CommandError as error:
            if not self._called_from_command_line or options["traceback"]:
                raise
            # Django would begin the line with the class name.
            self.stderr.write(f"error: {error}")
            sys.exit(error.returncode)

    def get_version(self) -> str:
        product = settings.SPECTACULAR_SETTINGS
        return f"{product['TITLE']} {product['VERSION']}"

    def write_json(self, value: Any) -> None:
        self.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, cls=DjangoJSONEncoder))


def add_json(parser: CommandParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")


def named(rows: "QuerySet[M]", text: str, about: Callable[[M], str]) -> M:
    """Return the row with this id, or else the row with this name.

    `about` describes a row so that it differs from others with its name. Raises CommandError if
    several rows have the name, and lists them, or if no row has it, and lists similar names or the
    first of `rows`.
    """
    what = rows.model._meta.verbose_name
    pk = whole(text)
    found = list(rows.filter(pk=pk)) if pk is not None else []
    found = found or list(rows.filter(name=text)[: _LISTED + 1])
    if len(found) == 1:
        return found[0]
    if found:
        many = f"{len(found)} {what}s are" if len(found) <= _LISTED else f"Many {what}s are"
        raise CommandError(f"{many} named {text}. Give the id:\n{_lines(found, about)}")
    there = list(rows.filter(name__icontains=text)[: _LISTED + 1]) or list(rows[: _LISTED + 1])
    if not there:
        raise CommandError(f"There is no {what} {text}. There are no {what}s at all.")
    raise CommandError(f"There is no {what} {text}. Existing {what}s:\n{_lines(there, about)}")


def _lines(rows: list[M], about: Callable[[M], str]) -> str:
    lines = [f"  {row.pk}  {getattr(row, 'name', '')} ({about(row)})" for row in rows[:_LISTED]]
    return "\n".join([*lines, *(["  ... and more"] if len(rows) > _LISTED else [])])
