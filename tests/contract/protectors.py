# SPDX-License-Identifier: Apache-2.0
"""The protectors that the contract suite runs on, each with the real thing behind it."""

import base64
import functools
import os
import secrets
import shutil
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, Final

import boto3
import keyring
import pytest
from keyrings.alt.file import PlaintextKeyring
from moto.server import ThreadedMotoServer

__all__ = ["PROTECTORS", "Place"]

_SOFTHSM: Final = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
)
_PIN: Final = "canary-pin-7712"
_PASSPHRASE: Final = "canary passphrase für Tests"


class Place(ABC):
    """Where a protector keeps its KEKs; each name is one place, empty at first.

    Attributes:
        creates: opening with ``create=True`` makes a KEK; where not, :meth:`url` has made it.
        durable: what was made is there when the place is opened later.
        renews: a second KEK can be made in the same place.
    """

    creates: ClassVar[bool] = True
    durable: ClassVar[bool] = True
    renews: ClassVar[bool] = False

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @abstractmethod
    def url(self, name: str) -> str:
        """Return the URL of a place."""

    @abstractmethod
    def lose(self, name: str) -> None:
        """Remove what is at a place."""

    def secrets(self) -> list[str]:
        """Return text that must never be shown."""
        return []


class _Memory(Place):
    durable = False

    def url(self, name: str) -> str:  # noqa: ARG002 - all are alike
        return "memory:"

    def lose(self, name: str) -> None:
        """Do nothing: it is lost when it is closed."""


class _File(Place):
    renews = True

    def url(self, name: str) -> str:
        return f"file://{self.folder}/{name}.kek"

    def lose(self, name: str) -> None:
        (self.folder / f"{name}.kek").unlink()

    def secrets(self) -> list[str]:
        lines = [p.read_text() for p in self.folder.glob("*.kek")]
        return [line.split()[2] for text in lines for line in text.splitlines()]


class _Env(Place):
    creates = False

    def _variable(self, name: str) -> str:
        return f"QPHER_TEST_{self.folder.name}_{name}".replace("-", "_")

    def url(self, name: str) -> str:
        os.environ.setdefault(
            self._variable(name), base64.b64encode(secrets.token_bytes(32)).decode()
        )
        return f"env://{self._variable(name)}"

    def lose(self, name: str) -> None:
        del os.environ[self._variable(name)]

    def secrets(self) -> list[str]:
        return [value for name, value in os.environ.items() if name.startswith("QPHER_TEST_")]


class _Passphrase(Place):
    def url(self, name: str) -> str:
        source = self.folder / "passphrase"
        if not source.exists():
            source.touch(mode=0o600)
            source.write_text(_PASSPHRASE + "\n", encoding="utf-8")
        return f"passphrase://{self.folder}/{name}.json?from=file:{source}"

    def lose(self, name: str) -> None:
        (self.folder / f"{name}.json").unlink()

    def secrets(self) -> list[str]:
        return [_PASSPHRASE, "canary"]


class _Keyring(Place):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        backend = PlaintextKeyring()
        backend.file_path = str(folder / "keyring.cfg")
        keyring.set_keyring(backend)

    def url(self, name: str) -> str:
        return f"keyring://qpher-test/{name}"

    def lose(self, name: str) -> None:
        keyring.delete_password("qpher-test", name)


class _Token(Place):
    """A token of SoftHSM."""

    renews = True

    def url(self, name: str) -> str:
        module = os.environ["QPHER_TEST_MODULE"]
        pin = self.folder / "pin"
        if not pin.exists():
            pin.touch(mode=0o600)
            pin.write_text(_PIN + "\n", encoding="ascii")
        label = f"{self.folder.name}-{name}"
        return (
            f"pkcs11:token=qpher%20test;object={label}?module-path={module}&pin-source=file:{pin}"
        )

    def lose(self, name: str) -> None:
        import pkcs11  # noqa: PLC0415

        token = pkcs11.lib(os.environ["QPHER_TEST_MODULE"]).get_token(token_label="qpher test")
        with token.open(rw=True, user_pin=_PIN) as session:
            label = f"{self.folder.name}-{name}"
            for key in session.get_objects({pkcs11.Attribute.LABEL: label}):
                key.destroy()

    def secrets(self) -> list[str]:
        return [_PIN]


class _Kms(Place):
    """Keys of a KMS server on this machine."""

    def url(self, name: str) -> str:
        alias = f"alias/{self.folder.name}-{name}"
        return f"awskms:///{alias}?region=eu-central-1&endpoint={os.environ['QPHER_TEST_KMS']}"

    def lose(self, name: str) -> None:
        client = boto3.client(
            "kms", region_name="eu-central-1", endpoint_url=os.environ["QPHER_TEST_KMS"]
        )
        client.delete_alias(AliasName=f"alias/{self.folder.name}-{name}")
        client.close()

    def secrets(self) -> list[str]:
        return ["canary-aws-secret"]


_Running = Callable[[Path], AbstractContextManager[None]]


@contextmanager
def _nothing(_: Path) -> Iterator[None]:
    yield


@contextmanager
def _keyring(_: Path) -> Iterator[None]:
    before = keyring.get_keyring()
    yield
    keyring.set_keyring(before)


@functools.cache
def _token_folder() -> tempfile.TemporaryDirectory[str]:
    """Return where tokens are: one folder for this process, as the module reads it only once."""
    return tempfile.TemporaryDirectory(prefix="qpher-tokens-")


@contextmanager
def _softhsm(_: Path) -> Iterator[None]:
    """Make a token, unless this process has one already."""
    module = next((path for path in _SOFTHSM if Path(path).exists()), None)
    if module is None or shutil.which("softhsm2-util") is None:
        pytest.skip("SoftHSM is not installed (Debian: softhsm2)")
    folder = Path(_token_folder().name)
    configuration = folder / "softhsm2.conf"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOFTHSM2_CONF", str(configuration))
        patch.setenv("QPHER_TEST_MODULE", module)
        if not configuration.exists():
            (folder / "tokens").mkdir()
            configuration.write_text(f"directories.tokendir = {folder}/tokens\nlog.level = ERROR\n")
            pins = ["--pin", _PIN, "--so-pin", "canary-so-pin"]
            subprocess.run(
                ["softhsm2-util", "--init-token", "--free", "--label", "qpher test", *pins],
                check=True,
                capture_output=True,
            )
        yield


@contextmanager
def _kms_server(_: Path) -> Iterator[None]:
    """Run moto's server on the loopback interface."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QPHER_TEST_KMS", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "canary-aws-secret")
        yield
    server.stop()


#: By scheme: what must run, and the places.
PROTECTORS: Final[Mapping[str, tuple[_Running, type[Place]]]] = MappingProxyType(
    {
        "memory": (_nothing, _Memory),
        "file": (_nothing, _File),
        "env": (_nothing, _Env),
        "passphrase": (_nothing, _Passphrase),
        "keyring": (_keyring, _Keyring),
        "pkcs11": (_softhsm, _Token),
        "awskms": (_kms_server, _Kms),
    }
)
