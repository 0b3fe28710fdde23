from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import DataError, connection, transaction

from hypervisor.base import arrays

pytestmark = pytest.mark.django_db

TEXTS = [
    "", "plain", "NULL", "null", None, '"quoted"', "it's", "back\\slash", "\\", "{1,2}", "a,b",
    " blank ", "line\nbreak", "tab\t", "Übermut ☃ 🚀", "%s %(x)s", '{"json": "\\"x\\""}',
]  # fmt: skip


def stored(array: str, kind: str) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT %s::{kind}[]", [array])
        return list(cursor.fetchone()[0])


def test_texts_arrive_as_they_are() -> None:
    assert stored(arrays.texts(TEXTS), "text") == TEXTS


def test_numbers_arrive_as_they_are() -> None:
    values = [0, -1, None, 2**63 - 1]

    assert stored(arrays.numbers(values), "bigint") == values


def test_times_arrive_to_the_microsecond() -> None:
    values = [datetime(2026, 1, 2, 3, 4, 5, 678901, UTC), None]

    assert stored(arrays.times(values), "timestamptz") == values


@pytest.mark.parametrize("make", [arrays.texts, arrays.numbers, arrays.times])
def test_an_array_may_be_empty(make: Any) -> None:
    assert stored(make([]), "text") == []


def test_a_text_that_postgresql_cannot_store_is_refused() -> None:
    with pytest.raises(DataError), transaction.atomic():
        stored(arrays.texts(["a\0b"]), "text")
