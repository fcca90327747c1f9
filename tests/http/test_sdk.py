# SPDX-License-Identifier: Apache-2.0
"""The published SDK and its CLI work with nothing changed but the base URL."""

import base64
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from attrs import field, frozen

import qpher_core
from qpher_core.asgi import create_app
from qpher_core.service import Qpher
from tests.http.sdk import VERSIONS, installed, run_cli, run_program
from tests.http.server import serving

PROGRAM: Final = Path(__file__).with_name("sdk_program.py")
TEXT: Final = "the text of these tests"


@pytest.fixture
def service(kms: Qpher) -> Qpher:
    """Return the service with a rule that denies one algorithm, and a tenant of a small plan."""
    kms.policies.set('[{"rule": "deny", "algorithms": ["ML-KEM-512"]}]', tenant="acme")
    kms.tenants.create("small", plan="free")
    return kms


@pytest.mark.parametrize("version", VERSIONS)
def test_the_whole_sdk(service: Qpher, base: str, api_key: str, version: str) -> None:
    """Every public method of the SDK, every algorithm it offers, every error it has a type for."""
    _, other = service.api_keys.create("small", scopes=("kem", "signatures", "keys"))
    gone, revoked = service.api_keys.create("acme")
    service.api_keys.revoke("acme", gone.id)
    done = run_program(version, PROGRAM, base, api_key, other, revoked)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == version
    assert service.audit.verify("acme").ok


def test_slh_dsa_is_refused_at_once_where_it_is_missing(
    service: Qpher, base: str, api_key: str, tmp_path: Path
) -> None:
    """An algorithm that the provider lacks is ERR_SIG_022, which the SDK does not retry."""
    if "SLH-DSA-SHA2-128f" in {row.name for row in service.algorithms}:
        pytest.skip("the default provider has SLH-DSA")
    program = tmp_path / "slh.py"
    program.write_text(
        "import sys, time, qpher\n"
        "client = qpher.Qpher(sys.argv[2], base_url=sys.argv[1])\n"
        "begun = time.monotonic()\n"
        "try:\n"
        "    client.keys.generate('SLH-DSA-SHA2-128f')\n"
        "except qpher.ServerError as error:\n"
        "    print(error.status_code, error.error_code, time.monotonic() - begun < 0.5)\n"
    )
    done = run_program("1.4.0", program, base, api_key)
    assert done.stdout.split() == ["503", "ERR_SIG_022", "True"], done.stderr


def test_slh_dsa_works_where_a_provider_has_it(tmp_path: Path) -> None:
    """With a provider that has SLH-DSA the SDK signs and verifies with it."""
    pytest.importorskip("pqcrypto", reason="the provider of SLH-DSA is not installed")
    program = tmp_path / "slh.py"
    program.write_text(
        "import sys, qpher\n"
        "client = qpher.Qpher(sys.argv[2], base_url=sys.argv[1])\n"
        "name = 'SLH-DSA-SHA2-128f'\n"
        "client.keys.generate(name)\n"
        "signed = client.signatures.sign(b'x', 1, algorithm=name)\n"
        "print(len(signed.signature), signed.algorithm)\n"
        "print(client.signatures.verify(b'x', signed.signature, 1, algorithm=name).valid)\n"
    )
    with qpher_core.open("memory:", primitives="rustcrypto") as kms:
        kms.tenants.create("acme")
        _, key = kms.api_keys.create("acme")
        with serving(create_app(kms)) as base:
            done = run_program("1.4.0", program, base, key)
    assert done.stdout.split() == ["17088", "SLH-DSA-SHA2-128f", "True"], done.stderr


@frozen
class Cli:
    """The CLI of one version, and which of its commands were used."""

    version: str
    home: Path
    used: set[str] = field(factory=set)

    def __call__(self, *arguments: str, answer: str | None = None, status: int = 0) -> str:
        """Run a command and return what it printed."""
        group = arguments[0] in {"auth", "keys"}
        self.used.add(" ".join(arguments[: 2 if group else 1]))
        done = run_cli(self.version, self.home, *arguments, answer=answer)
        assert done.returncode == status, (arguments, done.stdout, done.stderr)
        return done.stdout + done.stderr

    def commands(self) -> set[str]:
        """Return all commands that this version has."""
        code = (
            "import click\n"
            "from qpher.cli.main import cli\n"
            "for name, command in cli.commands.items():\n"
            "    inner = getattr(command, 'commands', None)\n"
            "    print(*([f'{name} {i}' for i in inner] if inner else [name]), sep='\\n')\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            env={"PYTHONPATH": str(installed(self.version))},
            check=True,
        )
        return set(done.stdout.splitlines())


@pytest.fixture(params=VERSIONS)
def cli(request: pytest.FixtureRequest, base: str, api_key: str, tmp_path: Path) -> Iterator[Cli]:
    """Return the CLI of each version, with the server's URL and an API key in its configuration."""
    home = tmp_path / "home"
    (home / ".qpher").mkdir(parents=True)
    (home / ".qpher" / "config.toml").write_text(f'[api]\nurl = "{base}"\n')
    opened = Cli(request.param, home)
    opened("auth", "set-key", api_key)
    yield opened
    assert opened("auth", "logout")


def test_every_command_of_the_cli(cli: Cli, tmp_path: Path) -> None:
    """Each command of the CLI does its work against the server."""
    assert cli("auth", "whoami")
    _keys(cli)
    _encryption(cli, tmp_path)
    _signatures(cli, tmp_path)
    if cli.version != "1.0.0":
        _encapsulation(cli)
        _wrapping(cli, tmp_path)
        _digests(cli, tmp_path)
    status = cli("status")
    assert "acme" in status
    assert "unlimited" in status
    assert cli.used | {"auth logout"} == cli.commands()


def _keys(cli: Cli) -> None:
    for algorithm in ("Kyber768", "Dilithium3"):
        assert "version 1" in cli("keys", "generate", "-a", algorithm)
    assert "v1 (retired)" in cli("keys", "rotate", "-a", "Kyber768")
    listed = json.loads(cli("keys", "list", "--format", "json"))
    assert listed["total"] == 3
    assert "Kyber768" in cli("keys", "list", "-a", "Kyber768")
    assert "Retired" in cli("keys", "retire", "-a", "Kyber768", "-v", "2", "--yes")
    cli("keys", "generate", "-a", "Kyber768")


def _encryption(cli: Cli, folder: Path) -> None:
    file = folder / "plain.txt"
    file.write_text(TEXT)
    box = cli("encrypt", "-t", TEXT, "-k", "3").split()[0]
    assert TEXT in cli("decrypt", "-t", box, "-k", "3")
    cli("encrypt", "-f", str(file), "-k", "3", "-o", str(folder / "out.enc"))
    cli("decrypt", "-f", str(folder / "out.enc"), "-k", "3", "-o", str(folder / "again.txt"))
    assert (folder / "again.txt").read_text() == TEXT
    salt = base64.b64encode(bytes(range(32))).decode()
    same = {
        cli("encrypt", "-t", TEXT, "-k", "3", "--mode", "deterministic", "--salt", salt)
        for _ in range(2)
    }
    assert len(same) == 1
    assert "not found" in cli("encrypt", "-t", TEXT, "-k", "99", status=1)


def _signatures(cli: Cli, folder: Path) -> None:
    file = folder / "plain.txt"
    signature = cli("sign", "-t", TEXT, "-k", "1").split()[0]
    assert "valid" in cli("verify", "-t", TEXT, "-s", signature, "-k", "1")
    assert "INVALID" in cli("verify", "-t", TEXT + ".", "-s", signature, "-k", "1", status=1)
    cli("sign", "-f", str(file), "-k", "1")
    cli("verify", "-f", str(file), "--signature-file", f"{file}.sig", "-k", "1")


def _encapsulation(cli: Cli) -> None:
    sent = cli("encapsulate", "-k", "3")
    secret, ciphertext = (
        re.search(rf"{name}: (\S+)", sent)[1]  # type: ignore[index]
        for name in ("shared_secret", "kem_ciphertext")
    )
    assert secret in cli("decapsulate", "-c", ciphertext, "-k", "3")
    envelope = cli("encrypt-local", "-t", TEXT, "-k", "3").split()[0]
    assert TEXT in cli("decrypt-local", "-t", envelope, "-k", "3")


def _wrapping(cli: Cli, folder: Path) -> None:
    key = base64.b64encode(bytes(range(32))).decode()
    wrapped = cli("wrap", "-b", key, "-k", "3").split()[0]
    assert key in cli("unwrap", "-b", wrapped, "-k", "3")
    cli("wrap", "-b", key, "-k", "3", "-o", str(folder / "wrapped"))
    assert key in cli("unwrap", "-f", str(folder / "wrapped"), "-k", "3")


def _digests(cli: Cli, folder: Path) -> None:
    file = folder / "plain.txt"
    for name in ("SHA-256", "SHA-384", "SHA-512"):
        digest = hashlib.new(name.replace("-", "").lower(), TEXT.encode()).digest()
        encoded = base64.b64encode(digest).decode()
        chosen = ("--hash-algorithm", name, "-k", "1")
        signature = cli("sign-hash", "--hash", encoded, *chosen).split()[0]
        cli("verify-hash", "--hash", encoded, "--signature", signature, *chosen)
        cli("sign-file", str(file), *chosen, "-o", str(folder / "file.sig"))
        cli("verify-file", str(file), *chosen, "--signature-file", str(folder / "file.sig"))
        wrong = ("--signature-file", str(folder / "plain.txt"))
        assert "INVALID" in cli("verify-file", str(file), *chosen, *wrong, status=1)


def test_the_cli_says_what_is_wrong(cli: Cli) -> None:
    """Without a key, and with one that is not accepted, the CLI says so in its own words."""
    cli("auth", "set-key", "qph_" + "x" * 62)
    assert "Authentication failed" in cli("keys", "list", status=1)
