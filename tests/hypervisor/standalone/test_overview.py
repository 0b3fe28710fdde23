"""`manage.py` describes its commands before anything is installed or started."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from django.core.management import get_commands, load_command_class

from hypervisor.base.commands import Command
from hypervisor.standalone import overview
from hypervisor.standalone.bootstrap import ROOT

OF_PEOPLE = (
    "accounts",
    "orgs",
    "clusters",
    "deployments",
    "scheduling",
    "hypervisor",
    "benchmarks",
)


def bare(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run it with only the standard library, in a home where nothing has run yet."""
    return subprocess.run(
        [sys.executable, "-S", "-E", "manage.py", *arguments],
        cwd=ROOT, env={"PATH": "", "COLUMNS": "80"}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def managed(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"HYPERVISOR_HOME": str(home), "DATABASE_URL": "", "REDIS_URL": ""}
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


def listed(text: str) -> list[str]:
    return re.findall(r"^  ([a-z_]+)\b", text, re.MULTILINE)


@pytest.mark.parametrize("arguments", [[], ["help"], ["--help"], ["-h"]], ids=" ".join)
def test_the_products_commands_are_shown_in_groups_with_one_line_each(
    arguments: list[str],
) -> None:
    done = bare(*arguments)

    assert (done.returncode, done.stderr) == (0, "")
    assert {"up", "status", "demo", "test"} <= set(listed(done.stdout))
    assert set(listed(done.stdout)) == overview.NAMES
    assert [group for group in overview.GROUPS if f"\n{group}\n" not in done.stdout] == []
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_no_command_of_the_product_is_missing() -> None:
    own = {name for name, app in get_commands().items() if app in OF_PEOPLE}

    assert own <= overview.NAMES
    assert overview.NAMES - {"up", "test"} <= set(get_commands())


@pytest.mark.parametrize("name", sorted(n for n, a in get_commands().items() if a in OF_PEOPLE))
def test_the_help_of_a_command_shows_only_its_own_options(name: str) -> None:
    command = load_command_class(get_commands()[name], name)

    assert isinstance(command, Command)
    text = command.create_parser("manage.py", name).format_help()
    assert "--pythonpath" not in text
    assert str(command.help).split()[0] in text


def test_help_all_lists_djangos_commands(tmp_path: Path) -> None:
    done = managed(tmp_path, "help", "--all")

    assert done.returncode == 0, done.stderr
    own, _, others = done.stdout.partition("Django and its packages")
    assert set(listed(own)) == overview.NAMES
    words = set(re.findall(r"\w+", others))
    assert {"makemigrations", "shell"} <= words
    assert not {"explain", "up", "migrate"} & words


@pytest.mark.parametrize("arguments", [["help", "{}"], ["{}", "--help"], ["{}", "-h"]])
@pytest.mark.parametrize(
    ("command", "part"), [("up", "Ctrl-C"), ("test", ".venv/bin/pytest --help")]
)
def test_the_help_of_up_and_test_installs_and_starts_nothing(
    command: str, part: str, arguments: list[str]
) -> None:
    done = bare(*(word.format(command) for word in arguments))

    assert (done.returncode, done.stderr) == (0, "")
    assert f"usage: manage.py {command}" in done.stdout
    assert part in done.stdout


def test_an_unknown_argument_of_up_is_refused_before_anything_is_installed() -> None:
    done = bare("up", "--port", "8001")

    assert done.returncode == 2
    assert "unrecognized arguments: --port 8001" in done.stderr


def test_the_help_of_other_commands_needs_no_service(tmp_path: Path) -> None:
    done = managed(tmp_path, "help", "explain")

    assert (done.returncode, done.stderr) == (0, "")
    assert "usage: manage.py explain [-h] [--json]" in done.stdout


@pytest.mark.parametrize("word", ["--version", "version"])
def test_the_version_is_that_of_the_product(word: str) -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        version = tomllib.load(file)["project"]["version"]

    done = bare(word)

    assert (done.returncode, done.stdout) == (0, f"MLOps Hypervisor {version}\n")


def test_the_image_contains_the_file_with_the_version() -> None:
    assert "!pyproject.toml" in (ROOT / ".dockerignore").read_text().splitlines()


@pytest.mark.parametrize(("level", "seen"), [("", {"late"}), ("INFO", {"late", "cycle"})])
def test_the_log_of_a_command_is_plain_text_on_standard_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, level: str, seen: set[str]
) -> None:
    monkeypatch.setenv("LOG_LEVEL", level)
    monkeypatch.setenv("LOG_FORMAT", "")
    code = "import structlog as s; l = s.get_logger('x'); l.info('cycle'); l.warning('late')"

    done = managed(tmp_path, "shell", "--no-imports", "-c", code)

    assert (done.returncode, done.stdout) == (0, "")
    lines = done.stderr.splitlines()
    assert {word for word in ("late", "cycle") if word in done.stderr} == seen
    assert not [line for line in lines if line.startswith("{") or "\x1b" in line]


def test_a_refusal_is_one_sentence_after_the_word_error(tmp_path: Path) -> None:
    done = managed(tmp_path, "plan", "nowhere.json")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: nowhere.json: ")
    assert len(done.stderr.splitlines()) == 1


def test_the_image_has_no_benchmarks() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()

    assert "*" in ignored
    assert [line for line in ignored if line.startswith(("!benchmarks", "!tests"))] == []
