import io
import json

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command
from django.utils import timezone
from pytest_django import Settings

from accounts.models import User
from clusters.models import Cluster, Connection
from deployments.environment import opened, plain, seal
from deployments.models import Deployment, NoticeRule, Registry
from deployments.notices import services as notices
from deployments.registries import services as registries
from hypervisor.base.secrets import decrypt, encrypt
from orgs.models import Webhook
from orgs.webhooks import services as webhooks
from tests.fixtures.deployments import Submit

pytestmark = pytest.mark.django_db

OLD, NEW = (Fernet.generate_key().decode() for _ in range(2))


@pytest.fixture
def sealed(forge: Cluster, alice: User, submit: Submit, settings: Settings) -> Deployment:
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
    webhook, _ = webhooks.add(forge.organization, by=alice, url="https://hooks.example.org")
    for _ in range(2):
        webhooks.rotate_secret(webhook, actor="alice", keep_hours=24)
    notices.add(
        by=alice, user=alice, organization=None, channel="webhook", url="https://hooks.example.org"
    )
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
    assert "1 webhooks" in out
    assert "1 rules for notices" in out
    settings.CREDENTIALS_KEYS = [NEW]
    row = Deployment.objects.get(pk=sealed.pk)
    assert opened(row.env) == {"TOKEN": "s3cret"}
    assert plain(row.env) == {"PLAIN": "text"}
    assert row.revision == sealed.revision
    assert Connection.objects.get().open_credentials() == {"token": "t"}
    assert Registry.objects.get().open_login().password == "hunter2"
    rule = NoticeRule.objects.get()
    assert decrypt(rule.url) == "https://hooks.example.org"
    assert decrypt(rule.secret).startswith("whsec_")
    webhook = Webhook.objects.get()
    assert decrypt(webhook.secret).startswith("whsec_")
    former = webhook.former_secrets(timezone.now())
    assert [decrypt(secret)[:6] for secret, _until in former] == ["whsec_", "whsec_"]


def test_without_the_old_key_nothing_changes(sealed: Deployment, settings: Settings) -> None:
    settings.CREDENTIALS_KEYS = [NEW]

    with pytest.raises(CommandError, match="Nothing was changed"):
        rotate()

    settings.CREDENTIALS_KEYS = [OLD]
    assert opened(Deployment.objects.get(pk=sealed.pk).env)["TOKEN"] == "s3cret"
