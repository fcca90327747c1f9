# SPDX-License-Identifier: Apache-2.0
"""Sessions with a service elsewhere over TLS: whose certificate is taken, and whose is not."""

import datetime as dt
import ipaddress
import ssl
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

import qpher_core
from qpher_backends.policies.remote import RemoteEngine
from qpher_core import (
    OutcomeUnknown,
    PolicyUnavailable,
    RemoteSettings,
    Unavailable,
    ValidationError,
)
from qpher_core.api_key_format import make_secret
from qpher_core.asgi import create_app
from qpher_core.service import Qpher
from tests.contract.served import quiet_key
from tests.http.server import serving
from tests.unit.test_policy import REQUEST

KEM = "ML-KEM-768"


def certificate(folder: Path, address: str) -> tuple[Path, Path]:
    """Write a self-signed certificate for an address and its private key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"of {address}")])
    now = dt.datetime.now(dt.UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / f"{address}.pem", folder / f"{address}.key"
    paths[0].write_bytes(signed.public_bytes(Encoding.PEM))
    paths[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return paths


@pytest.fixture
def kms() -> Iterator[Qpher]:
    """Open a service with a tenant and a key."""
    with qpher_core.open("memory:") as opened:
        opened.tenants.create("acme")
        opened.session("acme", actor="before").keys.generate(KEM)
        yield opened


def over_tls(kms: Qpher, tmp_path: Path, *, ca: object, address: str = "127.0.0.1") -> bytes:
    """Encrypt over TLS with a server whose certificate is for an address."""
    cert, key = certificate(tmp_path, address)
    chosen = str(cert) if ca == "its own" else ca
    settings = RemoteSettings(attempts=2, deadline=30, ca=chosen)
    api_key = quiet_key(kms, "acme", "remote")
    with serving(create_app(kms), ssl_certfile=str(cert), ssl_keyfile=str(key)) as url:
        secure = url.replace("http:", "https:")
        with qpher_core.open(secure, api_key=api_key, remote=settings) as service:
            session = service.session()
            return session.kem.decrypt(session.kem.encrypt(b"x").ciphertext, 1).plaintext


def test_a_certificate_that_is_trusted(kms: Qpher, tmp_path: Path) -> None:
    """A CA file, or a context that has it, is all that it takes."""
    assert over_tls(kms, tmp_path, ca="its own") == b"x"


def test_certificates_that_are_not(kms: Qpher, tmp_path: Path) -> None:
    """Nothing is sent to a server with an unknown certificate, or one of another host."""
    before = kms.audit.verify("acme").entries
    other, _ = certificate(tmp_path, "127.0.0.3")
    for ca, address in (
        (None, "127.0.0.1"),
        (str(other), "127.0.0.1"),
        ("its own", "127.0.0.2"),
    ):
        with pytest.raises(Unavailable) as caught:
            over_tls(kms, tmp_path, ca=ca, address=address)
        assert not isinstance(caught.value, OutcomeUnknown)
    assert kms.audit.verify("acme").entries == before


def test_verification_cannot_be_turned_off(tmp_path: Path) -> None:
    """Neither by a context that does not verify, nor by a CA file that is none."""
    lax = ssl.create_default_context()
    lax.check_hostname = False
    laxer = ssl.create_default_context()
    laxer.check_hostname = False
    laxer.verify_mode = ssl.CERT_NONE
    (tmp_path / "empty").write_text("")
    for ca in (lax, laxer, str(tmp_path / "empty"), str(tmp_path / "missing")):
        with pytest.raises(ValidationError) as caught:
            qpher_core.open(
                "https://localhost", api_key=make_secret()[1], remote=RemoteSettings(ca=ca)
            )
        assert caught.value.parameter == "ca"


def test_a_policy_engine_is_known_by_the_same_certificates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system's, wherever OpenSSL finds them, or those that are given; no others."""
    cert, key = certificate(tmp_path, "127.0.0.1")

    async def app(
        _scope: object, _receive: object, send: Callable[[object], Awaitable[None]]
    ) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b'{"allow":true}'})

    with serving(app, ssl_certfile=str(cert), ssl_keyfile=str(key), lifespan="off") as url:
        secure = url.replace("http:", "https:")

        def allows(**chosen: object) -> bool:
            with closing(RemoteEngine(secure, deadline=30, **chosen)) as engine:
                return engine.decide(REQUEST).allow

        with pytest.raises(PolicyUnavailable):
            allows()
        assert allows(verify=str(cert))
        assert allows(verify=ssl.create_default_context(cafile=str(cert)))
        monkeypatch.setenv("SSL_CERT_FILE", str(cert))
        assert allows()
