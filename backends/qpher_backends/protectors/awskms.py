# SPDX-License-Identifier: Apache-2.0
"""A key encryption key in AWS KMS: ``awskms:///alias/name?region=…&endpoint=…``.

The KEK is an HMAC_256 key of the service (also ``awskms:///<key id>`` or ``awskms:///<ARN>``);
keys are derived with its operation GenerateMac. Credentials come from where boto3 finds them.
"""

import contextlib
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import boto3
from attrs import frozen
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from qpher_backends.protectors._kek import Kek, KekRing
from qpher_backends.protectors._url import refused, split
from qpher_core.errors import ProtectorUnavailable, ValidationError

__all__ = ["open_protector"]

T = TypeVar("T")

_FORM: Final = "awskms:///alias/<name>, <key id> or <ARN>, with ?region=<name>&endpoint=<URL>"
_ALGORITHM: Final = "HMAC_SHA_256"
_USAGE: Final = "GENERATE_VERIFY_MAC"
_SPEC: Final = "HMAC_256"
_SHORTEST_WAIT: Final = 7  # days until KMS deletes a key that was made in vain
_LOOPBACK: Final = {"127.0.0.1", "::1", "localhost"}
_CONFIG: Final = Config(
    connect_timeout=2, read_timeout=3, retries={"mode": "standard", "total_max_attempts": 3}
)
_log: Final = logging.getLogger("qpher_core.protector")


@frozen
class _Kms:
    """The operations of KMS that are used."""

    client: Any
    where: str

    def mac(self, key: str, message: bytes) -> tuple[str, bytes]:
        """Return (ARN of the key, HMAC of a message of at most 4,096 bytes)."""
        answer = self._call(
            lambda: self.client.generate_mac(KeyId=key, MacAlgorithm=_ALGORITHM, Message=message)
        )
        return str(answer["KeyId"]), bytes(answer["Mac"])

    def exists(self, key: str) -> bool:
        """Return whether there is a key or alias."""
        try:
            self.client.describe_key(KeyId=key)
        except ClientError as error:
            if _code(error) == "NotFoundException":
                return False
            raise ProtectorUnavailable(f"{self.where}: {_code(error)}") from None
        except BotoCoreError as error:
            raise ProtectorUnavailable(f"{self.where}: {type(error).__name__}") from None
        return True

    def make(self, alias: str) -> None:
        """Make a key under an alias, unless another process was faster."""
        created = self._call(
            lambda: self.client.create_key(
                KeyUsage=_USAGE, KeySpec=_SPEC, Description="qpher-core key encryption key"
            )
        )
        identifier = created["KeyMetadata"]["KeyId"]
        try:
            self.client.create_alias(AliasName=alias, TargetKeyId=identifier)
        except (ClientError, BotoCoreError) as error:
            with contextlib.suppress(ClientError, BotoCoreError):  # it only costs money to keep it
                self.client.schedule_key_deletion(
                    KeyId=identifier, PendingWindowInDays=_SHORTEST_WAIT
                )
            if _code(error) != "AlreadyExistsException":
                raise ProtectorUnavailable(f"{self.where}: {_code(error)}") from None
            return
        _log.warning("created the key encryption key %s in AWS KMS", self.where)

    def _call(self, use: Callable[[], T]) -> T:
        try:
            return use()
        except (ClientError, BotoCoreError) as error:
            # The code alone: an answer could hold anything.
            raise ProtectorUnavailable(f"{self.where}: {_code(error)}") from None


def open_protector(url: str, *, create: bool) -> KekRing:
    """Open an ``awskms:`` URL; the entry point.

    Args:
        url: which key, of which region; ``endpoint`` is for KMS-compatible services.
        create: whether to make a key, and the alias that the URL names, if there is none.

    Raises:
        ProtectorUnavailable: KMS does not answer, refuses, or has no such key.
    """
    key, options = split(url, _FORM, "region", "endpoint")
    key = key.lstrip("/")
    if not key:
        raise refused(_FORM)
    kms = _Kms(_client(options), f"awskms:///{key}")
    if create and key.startswith("alias/") and not kms.exists(key):
        kms.make(key)
    # From here on the ARN: an alias can be pointed at another key at any time.
    arn, _ = kms.mac(key, b"qpher-core")
    kek = Kek.elsewhere(lambda message: kms.mac(arn, message)[1])
    return KekRing([kek], kms.where, release=kms.client.close, may_block=True)


def _client(options: Mapping[str, str]) -> Any:
    endpoint = options.get("endpoint")
    if endpoint is not None:
        parts = urlsplit(endpoint)
        if parts.scheme != "https" and parts.hostname not in _LOOPBACK:
            raise refused("awskms: with an endpoint of https, as keys come from it")
    try:
        return boto3.session.Session().client(
            "kms", region_name=options.get("region"), endpoint_url=endpoint, config=_CONFIG
        )
    except (BotoCoreError, ValueError) as error:
        raise ValidationError(
            f"protector awskms: cannot be set up: {type(error).__name__}", parameter="protector"
        ) from None


def _code(error: Exception) -> str:
    if isinstance(error, ClientError):
        return str(error.response.get("Error", {}).get("Code", "ClientError"))
    return type(error).__name__
