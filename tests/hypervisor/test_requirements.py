"""The lock files agree with pyproject.toml; `bash requirements/compile` compiles them."""

import re
import tomllib
from functools import cache

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from hypervisor.standalone.bootstrap import LOCKS, ROOT

EXTRAS = {
    "production": ["engines", "traces"],
    "up": ["engines", "embedded"],
    "test": ["engines", "traces", "embedded", "test"],
    "dev": ["engines", "traces", "embedded", "test", "lint"],
    "bench": ["engines", "traces", "embedded", "test", "lint", "bench"],
}


@cache
def pins(lock: str) -> dict[str, set[str]]:
    """Return the lock's versions by package (several where they differ by platform)."""
    found: dict[str, set[str]] = {}
    for name, version in re.findall(
        r"^([\w.-]+)==([^\s;]+)", (LOCKS / f"{lock}.txt").read_text(), re.M
    ):
        found.setdefault(canonicalize_name(name), set()).add(version)
    return found


def wanted(lock: str) -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [line for extra in EXTRAS[lock] for line in project["optional-dependencies"][extra]]
    return [Requirement(line) for line in (*project["dependencies"], *extras)]


@pytest.mark.parametrize("lock", EXTRAS)
def test_the_lock_satisfies_pyproject(lock: str) -> None:
    unsatisfied = [
        f"{requirement}: {versions or 'absent'}"
        for requirement in wanted(lock)
        if not (versions := pins(lock).get(canonicalize_name(requirement.name), set()))
        or not all(map(requirement.specifier.contains, versions))
    ]

    assert unsatisfied == []


@pytest.mark.parametrize("lock", ["production", "up", "test", "dev"])
def test_every_way_to_install_gives_the_same_versions(lock: str) -> None:
    assert {name: pins("bench").get(name) for name in pins(lock)} == pins(lock)


@pytest.mark.parametrize("lock", EXTRAS)
def test_no_lock_names_an_index(lock: str) -> None:
    text = (LOCKS / f"{lock}.txt").read_text()

    assert "://" not in text
    assert "--index-url" not in text


def test_every_extra_is_in_a_lock() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert set(project["optional-dependencies"]) == set(EXTRAS["bench"])
