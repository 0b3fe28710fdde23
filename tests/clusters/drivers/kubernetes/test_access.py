"""The credentials that operators may give, and those that are refused."""

import base64
import json
from typing import Any

import pytest
import yaml

from clusters.drivers.base import DriverError
from clusters.drivers.kubernetes.access import read

SERVER = "https://kube.example.org:6443"


def kubeconfig(cluster: dict[str, Any] | None = None, user: dict[str, Any] | None = None) -> str:
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "here",
            "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": SERVER, **(cluster or {})}}],
            "users": [{"name": "u", "user": {"token": "secret-token", **(user or {})}}],
        }
    )


def test_a_token_and_the_authority_are_enough() -> None:
    access = read(f"{SERVER}/", {"token": "t", "ca": "-----BEGIN"})

    assert (access.server, access.token, access.authority) == (SERVER, "t", "-----BEGIN")


@pytest.mark.parametrize("token", ["one\ntwo", "two words", "t\u00f6ken", "zero\0"])
def test_an_invalid_token_is_refused_and_not_quoted(token: str) -> None:
    for credentials in ({"token": token}, {"kubeconfig": kubeconfig(user={"token": token})}):
        with pytest.raises(DriverError, match="`token` must be a single word") as refused:
            read(SERVER, credentials)
        assert token not in str(refused.value)


def test_the_server_and_user_of_a_kubeconfig_s_current_context_are_used() -> None:
    encoded = base64.b64encode(b"PEM").decode()
    text = kubeconfig({"certificate-authority-data": encoded}, {"client-key-data": encoded})

    access = read("", {"kubeconfig": text})

    assert (access.server, access.token) == (SERVER, "secret-token")
    assert (access.authority, access.key) == ("PEM", "PEM")


@pytest.mark.parametrize(
    ("user", "named"),
    [
        ({"exec": {"command": "touch", "args": ["/tmp/owned"]}}, "`exec`"),
        ({"auth-provider": {"name": "gcp", "config": {"cmd-path": "/bin/sh"}}}, "`auth-provider`"),
        ({"tokenFile": "/etc/shadow"}, "`tokenFile`"),
        ({"client-certificate": "/etc/ssl/cert.pem"}, "`client-certificate`"),
        ({"client-key": "/root/.ssh/id_rsa"}, "`client-key`"),
        ({"username": "admin", "password": "pw"}, "`username`"),
        ({"as": "system:admin"}, "`as`"),
    ],
)
def test_a_user_that_runs_programs_or_reads_files_is_refused(
    user: dict[str, Any], named: str
) -> None:
    with pytest.raises(DriverError, match=named):
        read("", {"kubeconfig": kubeconfig(user=user)})


@pytest.mark.parametrize(
    "cluster",
    [
        {"certificate-authority": "/etc/hostname"},
        {"insecure-skip-tls-verify": True},
        {"proxy-url": "http://proxy:3128"},
    ],
)
def test_a_cluster_that_reads_files_or_skips_verification_is_refused(
    cluster: dict[str, Any],
) -> None:
    with pytest.raises(DriverError, match=f"`{next(iter(cluster))}` is not accepted"):
        read("", {"kubeconfig": kubeconfig(cluster)})


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://kube.example.org",
        "https://",
        "file:///etc/passwd",
        "",
        "https://a:b@kube.example.org",
    ],
)
def test_an_address_must_use_https_and_have_only_host_port_and_path(endpoint: str) -> None:
    with pytest.raises(DriverError, match="address"):
        read(endpoint, {"token": "t"})


def test_a_proxy_on_this_machine_needs_no_encryption() -> None:
    assert read("http://127.0.0.1:8001", {"token": "t"}).server == "http://127.0.0.1:8001"


def test_an_address_that_differs_from_the_kubeconfig_s_is_refused() -> None:
    with pytest.raises(DriverError, match=r"server is .*6443, but the given API server is .*other"):
        read("https://other.example.org", {"kubeconfig": kubeconfig()})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "a: [",
        "kind: Config",
        "!!python/object/apply:os.system ['true']",
        "current-context: x",
    ],
)
def test_a_text_that_is_not_a_kubeconfig_is_refused(text: str) -> None:
    with pytest.raises(DriverError):
        read("", {"kubeconfig": text})


def test_a_missing_token_is_reported() -> None:
    with pytest.raises(DriverError, match="`token`"):
        read(SERVER, {"ca": "x"})


def test_secrets_appear_in_neither_messages_nor_representations() -> None:
    access = read("", {"kubeconfig": kubeconfig()})
    with pytest.raises(DriverError) as refused:
        read("", {"kubeconfig": kubeconfig(user={"exec": {"command": "x"}})})

    assert "secret-token" not in repr(access) + str(refused.value) + json.dumps(str(access))
