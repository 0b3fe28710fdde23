"""The transport to the API server: encrypted, verified, and with timeouts."""

import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from django.utils import timezone

from clusters.drivers.base import Cause, DriverError
from clusters.drivers.kubernetes.access import Access
from clusters.drivers.kubernetes.driver import KubernetesDriver
from clusters.drivers.kubernetes.transport import Transport
from clusters.models import Connection
from tests.support.kube_api import KubeCluster
from tests.support.kube_api.status import ApiError
from tests.support.kubernetes import NAMESPACE, account


class Authority:
    """Signs certificates for servers and clients."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        self.pem = self._sign(self._name, self._key.public_key(), is_authority=True)

    def issue(self, name: str) -> tuple[str, str]:
        """Return a certificate for the name and 127.0.0.1, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return self._sign(subject, key.public_key(), hosts=name), pem.decode()

    def _sign(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePublicKey,
        *,
        is_authority: bool = False,
        hosts: str = "",
    ) -> str:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=1))
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
        )
        if hosts:
            names = [x509.DNSName(hosts), x509.IPAddress(ip_address("127.0.0.1"))]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        signed = builder.sign(self._key, hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.PEM).decode()


@pytest.fixture
def authority() -> Authority:
    return Authority()


@pytest.fixture
def kube(authority: Authority, tmp_path: Path) -> Iterator[KubeCluster]:
    """A fake that uses TLS and requires client certificates."""
    certificate, key = authority.issue("kube.example.org")
    (tmp_path / "server.pem").write_text(certificate + key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")
    context.load_verify_locations(cadata=authority.pem)
    context.verify_mode = ssl.CERT_OPTIONAL
    with KubeCluster(namespaces=(NAMESPACE,), tls=context) as cluster:
        cluster.accounts.append(account())
        yield cluster


def ask(connection: Connection, **credentials: str) -> None:
    connection.seal_credentials(credentials)
    KubernetesDriver(connection).observe(timezone.now())


def test_a_certificate_of_the_given_authority_is_trusted(
    connection: Connection, authority: Authority
) -> None:
    ask(connection, token="a-token", ca=authority.pem)


@pytest.mark.parametrize("given", [True, False])
def test_a_certificate_of_another_authority_is_not_trusted(
    kube: KubeCluster, connection: Connection, given: bool
) -> None:
    other = {"ca": Authority().pem} if given else {}

    with pytest.raises(DriverError, match="`ca`") as refused:
        ask(connection, token="a-token", **other)

    assert refused.value.cause is Cause.UNREACHABLE
    assert kube.server.requests == []


def test_a_client_certificate_is_presented_and_no_file_is_left(
    kube: KubeCluster,
    authority: Authority,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    certificate, key = authority.issue("client")
    access = Access(kube.url, authority=authority.pem, certificate=certificate, key=key)

    with pytest.raises(DriverError, match="does not accept the credentials"):
        Transport(access).request("GET", "/version/")

    assert kube.server.clients == ["client"]
    assert list((tmp_path / "temporary").iterdir()) == []


def test_the_name_in_the_server_s_certificate_may_be_given(
    kube: KubeCluster, authority: Authority
) -> None:
    right, wrong = (
        Transport(Access(kube.url, authority=authority.pem, server_name=name))
        for name in ("kube.example.org", "kube.example.com")
    )

    with pytest.raises(DriverError, match="does not accept the credentials"):
        right.request("GET", "/version/")
    with pytest.raises(DriverError, match="not trusted"):
        wrong.request("GET", "/version/")


@pytest.mark.parametrize("field", ["ca", "kubeconfig"])
def test_an_invalid_certificate_is_reported_without_quoting_it(
    connection: Connection, field: str
) -> None:
    with pytest.raises(DriverError) as refused:
        ask(connection, token="a-token", **{field: "not a PEM"})

    assert "not a PEM" not in str(refused.value)


def test_a_server_that_never_answers_times_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"

        with pytest.raises(DriverError, match="timed out") as refused:
            Transport(Access(url)).request("GET", "/version/", read_s=0.1)

    assert (refused.value.cause, refused.value.retriable) == (Cause.UNREACHABLE, True)


def test_a_redirection_is_not_followed(kube: KubeCluster, authority: Authority) -> None:
    away = ApiError(302, "Found", "elsewhere", {"Location": "http://127.0.0.1:1/"})
    kube.server.fail_next("GET", "/version/", away)

    with pytest.raises(DriverError, match="302"):
        Transport(Access(kube.url, authority=authority.pem)).request("GET", "/version/")
