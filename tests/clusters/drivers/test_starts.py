from threading import Barrier
from uuid import uuid4

import pytest
from django.utils import timezone

from clusters.drivers.base import ContainerSpec, DriverError
from clusters.drivers.starts import in_threads


def specs(*images: str) -> list[ContainerSpec]:
    return [ContainerSpec(uuid4(), image, (), {}, 100, 64, 0) for image in images]


def test_the_starts_run_at_the_same_time() -> None:
    all_called = Barrier(3, timeout=10)

    def start(spec: ContainerSpec, now: object) -> None:
        all_called.wait()

    errors = in_threads(start, specs("a", "b", "c"), timezone.now())

    assert errors == [None, None, None]


def test_each_start_has_its_own_error() -> None:
    refused = DriverError("no", retriable=False)

    def start(spec: ContainerSpec, now: object) -> None:
        if spec.image == "bad":
            raise refused

    assert in_threads(start, specs("a", "bad", "c"), timezone.now()) == [None, refused, None]
    assert in_threads(start, specs("bad"), timezone.now()) == [refused]


def test_an_error_of_the_program_is_not_hidden() -> None:
    def start(spec: ContainerSpec, now: object) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        in_threads(start, specs("a", "b"), timezone.now())
