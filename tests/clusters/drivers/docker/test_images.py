"""Pulling images from a registry that may refuse, be slow or be gone."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import pytest

from clusters.drivers.base import Cause, ContainerSpec, DriverError, RegistryLogin
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
    registry.login = None
    engine.remove_image(registry.image)


@pytest.fixture
def spec(docker_bench: DockerBench, registry: Registry) -> ContainerSpec:
    """A container with an image that the registry has but the engine does not."""
    return replace(docker_bench.spec(Program.SLEEPS, docker_bench.next_run()), image=registry.image)


def refusal(driver: DockerDriver, bench: DockerBench, spec: ContainerSpec) -> DriverError:
    with pytest.raises(DriverError) as refused:
        driver.start(spec, bench.now())
    return refused.value


def final_refusal(bench: DockerBench, spec: ContainerSpec) -> DriverError:
    """Return the error of a start once the pull has ended."""
    found: list[DriverError] = []

    def is_final() -> bool:
        found.append(refusal(bench.driver, bench, spec))
        return found[-1].cause is not Cause.FETCHING_IMAGE

    wait_until(is_final, "the pull has failed")
    return found[-1]


def starts(bench: DockerBench, spec: ContainerSpec) -> bool:
    with suppress(DriverError):
        bench.driver.start(spec, bench.now())
    return bench.see(spec.uid) is not None


def test_a_missing_image_is_pulled_and_then_run(
    docker_bench: DockerBench, spec: ContainerSpec
) -> None:
    first = refusal(docker_bench.driver, docker_bench, spec)
    assert (first.cause, first.retriable) == (Cause.FETCHING_IMAGE, True)
    assert f"Image {spec.image} is being pulled" in str(first)

    wait_until(lambda: starts(docker_bench, spec), "it starts")

    assert [o.uid for o in docker_bench.driver.observe(docker_bench.now())] == [spec.uid]


def test_a_slow_pull_delays_no_other_container(
    docker_bench: DockerBench, spec: ContainerSpec, registry: Registry
) -> None:
    registry.open_.clear()
    refusal(docker_bench.driver, docker_bench, spec)

    other = docker_bench.start(Program.SLEEPS)

    assert docker_bench.see(other)
    assert refusal(docker_bench.driver, docker_bench, spec).cause is Cause.FETCHING_IMAGE
    registry.open_.set()
    wait_until(lambda: starts(docker_bench, spec), "it starts")


def test_an_image_is_pulled_once_for_all_workers(
    docker_bench: DockerBench, spec: ContainerSpec, registry: Registry
) -> None:
    registry.open_.clear()
    other_worker = DockerDriver(docker_bench.connection)

    refusal(docker_bench.driver, docker_bench, spec)
    # By then the engine has requested the manifest, by its tag and by its digest.
    wait_until(lambda: any("blobs" in path for path in registry.asked), "the layers are pulled")
    asked = [path for path in registry.asked if "manifests" in path]
    for _ in range(3):
        assert refusal(other_worker, docker_bench, spec).cause is Cause.FETCHING_IMAGE

    assert [path for path in registry.asked if "manifests" in path] == asked


def test_all_workers_get_the_error_of_a_failed_pull(
    docker_bench: DockerBench, spec: ContainerSpec, registry: Registry
) -> None:
    missing = replace(spec, image=f"{registry.host}/missing:1")
    final_refusal(docker_bench, missing)
    asked = len(registry.asked)

    error = refusal(DockerDriver(docker_bench.connection), docker_bench, missing)

    assert error.cause is Cause.IMAGE_NOT_FOUND
    assert len(registry.asked) == asked


@pytest.mark.parametrize("status", [401, 403])
def test_a_pull_without_access_is_distinguished_from_a_missing_image(
    docker_bench: DockerBench, spec: ContainerSpec, registry: Registry, status: int
) -> None:
    registry.refuse = status

    error = final_refusal(docker_bench, spec)

    assert (error.cause, error.retriable) == (Cause.IMAGE_NOT_PULLABLE, False)
    assert "store or correct the log-in to its registry (`/registries`)" in str(error)


def test_an_image_is_pulled_with_the_log_in_to_its_registry(
    docker_bench: DockerBench, spec: ContainerSpec, registry: Registry
) -> None:
    registry.login = ("ci", "hunter2")
    login = RegistryLogin(registry.host, *registry.login)

    wait_until(lambda: starts(docker_bench, replace(spec, login=login)), "it starts")


@pytest.mark.parametrize("password", ["wrong-one", None])
def test_without_the_right_log_in_the_image_is_not_pullable(
    docker_bench: DockerBench, spec: ContainerSpec, registry: Registry, password: str | None
) -> None:
    registry.login = ("ci", "hunter2")
    login = RegistryLogin(registry.host, "ci", password) if password else None

    error = final_refusal(docker_bench, replace(spec, login=login))

    assert (error.cause, error.retriable) == (Cause.IMAGE_NOT_PULLABLE, False)
    assert "(`/registries`)" in str(error)
    assert "wrong-one" not in str(error)


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_fault_of_the_registry_is_retriable(
    docker_bench: DockerBench, spec: ContainerSpec, registry: Registry, status: int
) -> None:
    registry.refuse = status

    error = final_refusal(docker_bench, spec)

    assert (error.cause, error.retriable) == (Cause.IMAGE_NOT_PULLABLE, True)


def test_an_image_for_another_architecture_counts_as_missing(
    docker_bench: DockerBench, spec: ContainerSpec, registry: Registry
) -> None:
    error = final_refusal(docker_bench, replace(spec, image=f"{registry.host}/foreign:1"))

    assert (error.cause, error.retriable) == (Cause.IMAGE_NOT_FOUND, False)


def test_an_image_that_disappears_is_not_pulled_repeatedly(
    docker_bench: DockerBench, spec: ContainerSpec, registry: Registry, engine: Engine
) -> None:
    wait_until(lambda: starts(docker_bench, spec), "it starts")
    docker_bench.driver.remove(docker_bench.stopped(spec.uid, 0).uid)
    engine.remove_image(registry.image)
    asked = len(registry.asked)

    error = refusal(docker_bench.driver, docker_bench, spec)

    assert (error.cause, error.retriable) == (Cause.ENGINE_FAILED, True)
    assert len(registry.asked) == asked


def test_an_unreachable_registry_is_retriable(
    docker_bench: DockerBench, spec: ContainerSpec
) -> None:
    error = final_refusal(docker_bench, replace(spec, image="127.0.0.1:1/nobody/here:1"))

    assert (error.cause, error.retriable) == (Cause.IMAGE_NOT_PULLABLE, True)
    assert "cannot be pulled at present" in str(error)
