"""Images that are fetched from a registry, which may refuse, be slow or be gone."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import pytest

from clusters.drivers.base import Cause, ContainerSpec, DriverError
from clusters.drivers.docker.driver import DockerDriver
from tests.support.docker_bench import DockerBench
from tests.support.docker_engine import Engine, wait_until
from tests.support.driver_contract import Program
from tests.support.registry import Registry

pytestmark = pytest.mark.docker


@pytest.fixture(autouse=True)
def unknown_image(engine: Engine, registry: Registry) -> Iterator[None]:
    yield
    registry.open_.set()
    engine.remove_image(registry.image)


@pytest.fixture
def spec(docker_bench: DockerBench, registry: Registry) -> ContainerSpec:
    """A container of an image that the registry has and the engine does not."""
    return replace(docker_bench.spec(Program.SLEEPS, docker_bench.next_run()), image=registry.image)


def refusal(driver: DockerDriver, bench: DockerBench, spec: ContainerSpec) -> DriverError:
    with pytest.raises(DriverError) as refused:
        driver.start(spec, bench.now())
    return refused.value


def final_refusal(bench: DockerBench, spec: ContainerSpec) -> DriverError:
    """Return what a start says when the fetch has come to its end."""
    found: list[DriverError] = []

    def is_final() -> bool:
        found.append(refusal(bench.driver, bench, spec))
        return found[-1].cause is not Cause.FETCHING_IMAGE

    wait_until(is_final, "the fetch has failed")
    return found[-1]


def starts(bench: DockerBench, spec: ContainerSpec) -> bool:
    with suppress(DriverError):
        bench.driver.start(spec, bench.now())
    return bench.see(spec.uid) is not None


def test_an_image_that_is_not_there_is_fetched_and_then_runs(
    docker_bench: DockerBench, spec: ContainerSpec
) -> None:
    first = refusal(docker_bench.driver, docker_bench, spec)
    assert (first.cause, first.retriable) == (Cause.FETCHING_IMAGE, True)
    assert f"Image {spec.image} is being fetched" in str(first)

    wait_until(lambda: starts(docker_bench, spec), "it starts")

    assert [o.uid for o in docker_bench.driver.observe(docker_bench.now())] == [spec.uid]


def test_a_slow_fetch_holds_up_nobody(
    docker_bench: DockerBench, spec: ContainerSpec, registry: Registry
) -> None:
    registry.open_.clear()
    refusal(docker_bench.driver, docker_bench, spec)

    other = docker_bench.start(Program.SLEEPS)

    assert docker_bench.see(other)
    assert refusal(docker_bench.driver, docker_bench, spec).cause is Cause.FETCHING_IMAGE
    registry.open_.set()
    wait_until(lambda: starts(docker_bench, spec), "it starts")


def test_an_image_is_fetched_once_for_all_workers(
    docker_bench: DockerBench, spec: ContainerSpec, registry: Registry
) -> None:
    registry.open_.clear()
    other_worker = DockerDriver(docker_bench.connection)

    refusal(docker_bench.driver, docker_bench, spec)
    # By then it has asked for the manifest, by its tag and by its digest.
    wait_until(lambda: any("blobs" in path for path in registry.asked), "the layers are fetched")
    asked = [path for path in registry.asked if "manifests" in path]
    for _ in range(3):
        assert refusal(other_worker, docker_bench, spec).cause is Cause.FETCHING_IMAGE

    assert [path for path in registry.asked if "manifests" in path] == asked


def test_what_a_worker_was_told_of_an_image_the_others_know(
    docker_bench: DockerBench, spec: ContainerSpec, registry: Registry
) -> None:
    missing = replace(spec, image=f"{registry.host}/missing:1")
    final_refusal(docker_bench, missing)
    asked = len(registry.asked)

    told = refusal(DockerDriver(docker_bench.connection), docker_bench, missing)

    assert told.cause is Cause.IMAGE_NOT_FOUND
    assert len(registry.asked) == asked


@pytest.mark.parametrize("status", [401, 403])
def test_a_registry_that_refuses_us_is_no_missing_image(
    docker_bench: DockerBench, spec: ContainerSpec, registry: Registry, status: int
) -> None:
    registry.refuse = status

    told = final_refusal(docker_bench, spec)

    assert (told.cause, told.retriable) == (Cause.IMAGE_NOT_PULLABLE, False)
    assert "ask an operator for access" in str(told)


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_registry_that_fails_may_answer_later(
    docker_bench: DockerBench, spec: ContainerSpec, registry: Registry, status: int
) -> None:
    registry.refuse = status

    told = final_refusal(docker_bench, spec)

    assert (told.cause, told.retriable) == (Cause.IMAGE_NOT_PULLABLE, True)


def test_an_image_for_another_kind_of_machine_is_none(
    docker_bench: DockerBench, spec: ContainerSpec, registry: Registry
) -> None:
    told = final_refusal(docker_bench, replace(spec, image=f"{registry.host}/foreign:1"))

    assert (told.cause, told.retriable) == (Cause.IMAGE_NOT_FOUND, False)


def test_an_image_that_disappears_is_not_asked_for_again_and_again(
    docker_bench: DockerBench, spec: ContainerSpec, registry: Registry, engine: Engine
) -> None:
    wait_until(lambda: starts(docker_bench, spec), "it starts")
    docker_bench.driver.remove(docker_bench.stopped(spec.uid, 0).uid)
    engine.remove_image(registry.image)
    asked = len(registry.asked)

    told = refusal(docker_bench.driver, docker_bench, spec)

    assert (told.cause, told.retriable) == (Cause.ENGINE_FAILED, True)
    assert len(registry.asked) == asked


def test_a_registry_that_cannot_be_reached_may_be_later(
    docker_bench: DockerBench, spec: ContainerSpec
) -> None:
    told = final_refusal(docker_bench, replace(spec, image="127.0.0.1:1/nobody/here:1"))

    assert (told.cause, told.retriable) == (Cause.IMAGE_NOT_PULLABLE, True)
    assert "cannot be fetched now" in str(told)
