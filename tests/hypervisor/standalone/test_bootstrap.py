import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from hypervisor.standalone import bootstrap


def make_wheel(folder: Path, name: str, version: str) -> str:
    """Build an installable wheel; return its line for a lock file."""
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(f"{name}.py", f"version = {version!r}\n")
        archive.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return f"{name}=={version} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}"


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty checkout with the locks `up` and `test`, installable without a network."""
    locks = tmp_path / "requirements"
    locks.mkdir()
    monkeypatch.setattr(bootstrap, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(bootstrap, "LOCKS", locks)
    write_lock(tmp_path, "up", make_wheel(tmp_path, "served", "1.0"))
    write_lock(
        tmp_path, "test",
        make_wheel(tmp_path, "served", "1.0"), make_wheel(tmp_path, "tested", "1.0"),
    )  # fmt: skip
    return tmp_path


def write_lock(checkout: Path, lock: str, *requirements: str) -> None:
    lines = ["--no-index", f"--find-links {checkout}", *requirements]
    (checkout / "requirements" / f"{lock}.txt").write_text("\n".join(lines) + "\n")


def run_python(checkout: Path, code: str) -> str:
    python = checkout / ".venv" / "bin" / "python"
    return subprocess.run([python, "-c", code], capture_output=True, text=True).stdout.strip()


def test_bootstrap_imports_only_the_standard_library() -> None:
    code = f"import sys; sys.path.insert(0, {str(bootstrap.ROOT)!r});"
    code += " import hypervisor.standalone.bootstrap"
    subprocess.run([sys.executable, "-S", "-E", "-c", code], check=True)


def test_the_first_use_creates_an_environment_with_the_lock(checkout: Path) -> None:
    bootstrap.install("up")

    assert run_python(checkout, "import served; print(served.version)") == "1.0"


def test_a_second_use_installs_nothing(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bootstrap.install("up")
    capsys.readouterr()

    bootstrap.install("up")

    assert capsys.readouterr().err == ""


def test_a_changed_lock_is_installed_again(checkout: Path) -> None:
    bootstrap.install("up")
    write_lock(checkout, "up", make_wheel(checkout, "served", "2.0"))

    bootstrap.install("up")

    assert run_python(checkout, "import served; print(served.version)") == "2.0"


def test_an_environment_of_a_larger_lock_also_serves_a_smaller_one(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bootstrap.install("test")
    capsys.readouterr()

    bootstrap.install("up")

    assert capsys.readouterr().err == ""


def test_an_interrupted_installation_is_repeated(checkout: Path) -> None:
    bootstrap.install("up")
    (checkout / ".venv" / bootstrap.STAMP).unlink()
    next((checkout / ".venv").glob("lib/*/site-packages/served.py")).unlink()
    write_lock(checkout, "up", make_wheel(checkout, "served", "1.1"))

    bootstrap.install("up")

    assert run_python(checkout, "import served; print(served.version)") == "1.1"


def test_an_environment_without_its_python_is_created_again(checkout: Path) -> None:
    bootstrap.install("up")
    (checkout / ".venv" / "bin" / "python").unlink()

    bootstrap.install("up")

    assert run_python(checkout, "import served; print(served.version)") == "1.0"


def test_a_package_that_was_tampered_with_is_refused(checkout: Path) -> None:
    write_lock(checkout, "up", f"served==1.0 --hash=sha256:{'0' * 64}")

    with pytest.raises(bootstrap.SetUpError, match=r"(?s)up.txt.*HASHES.*run this again"):
        bootstrap.install("up")


@pytest.fixture(params=["pip 20.3.4 from /usr/lib", None])
def python_with_unusable_pip(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "python"
    answer = f"echo {request.param}" if request.param else "exit 1"
    python.write_text(f"#!/bin/sh\n{answer}\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setattr(sys, "_base_executable", str(python))


@pytest.mark.usefixtures("python_with_unusable_pip")
def test_the_error_about_a_missing_or_old_pip_names_the_remedy(checkout: Path) -> None:
    with pytest.raises(bootstrap.SetUpError, match="apt-get install python3-pip"):
        bootstrap.install("up")


def test_an_environment_that_has_the_packages_is_used_unchanged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bootstrap, "VENV", Path("/nonexistent"))
    monkeypatch.setattr(os, "execv", lambda *_: pytest.fail("changed the interpreter"))

    bootstrap.ensure("test")
