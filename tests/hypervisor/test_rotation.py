import io
import json

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command
from django.utils import timezone
from pytest_django import Settings

from clusters.models import Cluster, Connection
from deployments.environment import opened, plain, seal
from deployments.models import Deployment, Registry
from deployments.registries import services as registries
from hypervisor.base.secrets import encrypt
from tests.fixtures.deployments import Submit

pytestmark = pytest.mark.django_db

OLD, NEW = (Fernet.generate_key().decode() for _ in range(2))


@pytest.fixture
def sealed(forge: Cluster, submit: Submit, settings: Settings) -> Deployment:
    """Create a connection and a deployment with secrets encrypted by the old key."""
    settings.CREDENTIALS_KEYS = [OLD]
    credentials = encrypt(json.dumps({"token": "t"}))
    Connection.objects.create(
        cluster=forge, endpoint="tcp://h:1", credentials=credentials, probed_at=timezone.now()
    )
    registries.add(
        actor="alice", organization=forge.organization, host="ghcr.io", username="ci",
        password="hunter2",
    )  # fmt: skip
    submit()
    return submit(env={"TOKEN": seal("s3cret"), "PLAIN": "text"})


def rotate() -> str:
    out = io.StringIO()
    call_command("rotate_credentials", stdout=out)
    return out.getvalue()


def test_after_a_rotation_the_new_key_decrypts_all_secrets(
    sealed: Deployment, settings: Settings
) -> None:
    settings.CREDENTIALS_KEYS = [NEW, OLD]

    out = rotate()

    assert "1 connections" in out
    assert "1 deployments" in out
    assert "1 registries" in out
    settings.CREDENTIALS_KEYS = [NEW]
    row = Deployment.objects.get(pk=sealed.pk)
    assert opened(row.env) == {"TOKEN": "s3cret"}
    assert plain(row.env) == {"PLAIN": "text"}
    assert row.revision == sealed.revision
    assert Connection.objects.get().open_credentials() == {"token": "t"}
    assert Registry.objects.get().open_login().password == "hunter2"


def test_without_the_old_key_nothing_changes(sealed: Deployment, settings: Settings) -> None:
    settings.CREDENTIALS_KEYS = [NEW]

    with pytest.raises(CommandError, match="Nothing was changed"):
        rotate()

    settings.CREDENTIALS_KEYS = [OLD]
    assert opened(Deployment.objects.get(pk=sealed.pk).env)["TOKEN"] == "s3cret"
