"""Clients that are generated from the document of a running service, and used with it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.service import Service

CLIENTS = Path(__file__).parent / "clients"


def run(*command: object, cwd: Path, **environment: str) -> str:
    """Run a command and return what it prints. Fails with its output if it fails."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def python_client(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Generate the Python client `api_client`; return the folder that contains it."""
    folder = tmp_path_factory.mktemp("python")
    (folder / "config.yaml").write_text("post_hooks: []\n")
    generator = Path(sys.executable).with_name("openapi-python-client")
    printed = run(
        generator, "generate", "--url", f"{service.url}/openapi.json", "--meta", "none",
        "--output-path", folder / "api_client", "--config", folder / "config.yaml",
        "--fail-on-warning", cwd=folder,
    )  # fmt: skip
    assert "Warning" not in printed
    shutil.copy(CLIENTS / "session.py", folder)
    return folder


def test_every_module_of_the_python_client_can_be_imported(python_client: Path) -> None:
    script = """if True:
        import importlib, pkgutil, api_client
        for module in pkgutil.walk_packages(api_client.__path__, "api_client."):
            importlib.import_module(module.name)
    """

    run(sys.executable, "-W", "error", "-c", script, cwd=python_client)


def test_the_python_client_and_its_use_have_strict_types(python_client: Path) -> None:
    pytest.importorskip("mypy")
    # This file is the generator's own, whatever the document says.
    (python_client / "mypy.ini").write_text(
        "[mypy]\nstrict = true\n[mypy-api_client.client]\ndisable_error_code = arg-type\n"
    )

    run(sys.executable, "-m", "mypy", "api_client", "session.py", cwd=python_client)


def test_the_python_client_goes_through_the_readmes_session(
    python_client: Path, service: Service
) -> None:
    changed = run(sys.executable, "session.py", service.url, "pia", cwd=python_client)

    assert json.loads(changed) == {"name": "renamed"}


def test_the_typescript_client_has_strict_types_and_goes_through_the_readmes_session(
    node_tools: Path, service: Service, tmp_path: Path
) -> None:
    for name in ("session.ts", "tsconfig.json"):
        shutil.copy(CLIENTS / name, tmp_path)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "node_modules").symlink_to(node_tools.parent)

    run(
        node_tools / "openapi-typescript", f"{service.url}/openapi.json",
        "--default-non-nullable", "false", "--output", "api.d.ts", cwd=tmp_path,
    )  # fmt: skip
    run(node_tools / "tsc", cwd=tmp_path)
    changed = run("node", "session.js", service.url, "tessa", cwd=tmp_path)

    assert json.loads(changed) == {"name": "renamed"}
