"""Where settings come from, and which values are refused."""

import os
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from hypervisor import env


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a checkout whose .env has only the required settings; the environment is empty."""
    for setting in env.SETTINGS:
        # Because it is set first, monkeypatch also removes the value that `env.read` sets.
        monkeypatch.setenv(setting.name, "")
        monkeypatch.delenv(setting.name)
    monkeypatch.setattr(env, "ROOT", tmp_path)
    write(
        tmp_path / ".env",
        ENVIRONMENT="development",
        DATABASE_URL="postgres://a@b/c",
        REDIS_URL="redis://d",
    )
    return tmp_path


def write(file: Path, **values: str) -> None:
    file.parent.mkdir(exist_ok=True)
    with file.open("a") as stream:
        stream.writelines(f"{name}={value}\n" for name, value in values.items())


def test_the_environment_wins_over_the_file_and_the_file_over_the_running_service(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORT", "1001")
    write(root / ".env", PORT="1002", SCHEDULER_INTERVAL="12")
    write(
        root / ".hypervisor" / "env", PORT="1003", SCHEDULER_INTERVAL="13", STOP_GRACE_SECONDS="3"
    )

    values = env.read()

    read = [values[name] for name in ("PORT", "SCHEDULER_INTERVAL", "STOP_GRACE_SECONDS")]
    assert read == [1001, 12, 3]


def test_the_file_may_name_the_home(root: Path) -> None:
    write(root / ".env", HYPERVISOR_HOME="elsewhere")
    write(root / "elsewhere" / "env", PORT="1234")

    assert env.read()["PORT"] == 1234


def test_an_empty_variable_counts_as_missing_and_hides_the_file(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORT", "")
    write(root / ".env", PORT="1002")

    assert env.read()["PORT"] == 8000


def test_child_processes_inherit_the_files_values(root: Path) -> None:
    write(root / ".env", PORT="1002")

    env.read()

    assert os.environ["PORT"] == "1002"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "0"),
        ("PORT", "http"),
        ("PORT", "8_000"),
        ("PORT", "+80"),
        ("STOP_GRACE_SECONDS", "٣"),
        ("STOP_GRACE_SECONDS", " 3"),
        ("ENVIRONMENT", "staging"),
        ("SCHEDULER_INTERVAL", "often"),
        ("SCHEDULER_ORDER", "lifo"),
        ("DEBUG", "perhaps"),
        ("MAX_CLUSTERS_PER_ORGANIZATION", "-1"),
        ("RATE_LIMIT_TOKEN", "60"),
        ("RATE_LIMIT_TOKEN", "60/min\n"),
        ("PUBLIC_URL", "hypervisor.example.org"),
        ("PUBLIC_URL", "https://example.org/hypervisor"),
        ("MAIL_URL", "mail.example.org"),
        ("MAIL_URL", "smtp://mail.example.org?tls=no"),
        ("MAIL_URL", "smtp://mail.example.org/inbox"),
        ("OIDC_ISSUER", "login.example.org"),
        ("OIDC_ISSUER", "http://login.example.org"),
        ("LOCAL_SIGN_IN", "superusers"),
    ],
)
def test_a_bad_value_is_refused_by_name(
    root: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(ImproperlyConfigured, match=f"{name}: "):
        env.read()


@pytest.mark.parametrize(
    ("name", "value", "read"),
    [
        ("DEBUG", "On", True),
        ("DEBUG", "no", False),
        ("MAX_CLUSTERS_PER_ORGANIZATION", "0", 0),
        ("ALLOWED_HOSTS", "a.example,b.example", ["a.example", "b.example"]),
        ("CSRF_TRUSTED_ORIGINS", "", []),
        ("RATE_LIMIT_TOKEN", "5/hour", "5/hour"),
    ],
)
def test_a_value_is_read_as_its_kind(
    root: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, read: object
) -> None:
    monkeypatch.setenv(name, value)

    assert env.read()[name] == read


def test_all_bad_values_are_reported_at_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "http")
    monkeypatch.setenv("LOG_FORMAT", "xml")

    with pytest.raises(
        ImproperlyConfigured, match=r"(?s)PORT: .*LOG_FORMAT: |LOG_FORMAT: .*PORT: "
    ):
        env.read()


@pytest.mark.parametrize("missing", ["DATABASE_URL", "REDIS_URL"])
def test_a_missing_server_is_reported_by_name(
    root: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.setenv(missing, "")

    with pytest.raises(ImproperlyConfigured, match=f"{missing}: "):
        env.read()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SECRET_KEY", ""),
        ("SECRET_KEY", "short"),
        ("SECRET_KEY", env.DEVELOPMENT_KEY),
        ("CREDENTIALS_KEYS", ""),
        ("CREDENTIALS_KEYS", "short"),
        ("CREDENTIALS_KEYS", env.DEVELOPMENT_CREDENTIALS_KEY),
        ("DEBUG", "1"),
    ],
)
def test_production_refuses_debug_and_weak_keys(
    root: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv("ENVIRONMENT", "production")
    monkeypatch.setenv("SECRET_KEY", "k" * 50)
    monkeypatch.setenv("CREDENTIALS_KEYS", "k" * 43 + "=")
    monkeypatch.setenv(name, value)

    with pytest.raises(ImproperlyConfigured, match=f"{name}: "):
        env.read()


def test_production_starts_with_its_own_keys(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENVIRONMENT", "production")
    monkeypatch.setenv("SECRET_KEY", "k" * 50)
    monkeypatch.setenv("CREDENTIALS_KEYS", "k" * 43 + "=")

    assert env.read()["SECRET_KEY"] == "k" * 50


@pytest.mark.parametrize(
    ("needed", "starts_without"),
    [
        ("none", {"SECRET_KEY", "CREDENTIALS_KEYS"}),
        ("credentials", {"SECRET_KEY"}),
        ("all", set()),
    ],
)
def test_a_process_starts_only_with_the_secrets_that_it_needs(
    root: Path, monkeypatch: pytest.MonkeyPatch, needed: str, starts_without: set[str]
) -> None:
    keys = {"SECRET_KEY": "k" * 50, "CREDENTIALS_KEYS": "k" * 43 + "="}
    monkeypatch.setenv("ENVIRONMENT", "production")
    monkeypatch.setenv("SECRETS_NEEDED", needed)
    for missing in keys:
        for name, key in keys.items():
            monkeypatch.setenv(name, "" if name == missing else key)

        if missing in starts_without:
            assert not env.read()[missing]
        else:
            with pytest.raises(ImproperlyConfigured, match=f"{missing}: "):
                env.read()
