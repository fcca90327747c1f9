# SPDX-License-Identifier: Apache-2.0
"""Models of rules, and of decisions for other services."""

from typing import Annotated

import msgspec
from msgspec import Meta

from qpher_core.asgi.models import AlgorithmName, Model, Name, Version
from qpher_core.asgi.models_audit import Moment
from qpher_core.asgi.models_tenants import OwnerParams
from qpher_core.lifecycle import KeyState
from qpher_core.models import OPERATOR

Word = Annotated[str, Meta(min_length=1, max_length=128)]
Words = Annotated[list[Word], Meta(max_length=64)]


class PolicyParams(OwnerParams):
    """Whose policy, and which revision of it, if not the current one."""

    revision: Annotated[int, Meta(ge=1, le=2**53)] | None = None


class SetPolicy(Model):
    """Replace the rules of a tenant or of the service: JSON or TOML, as text."""

    rules: Annotated[str, Meta(max_length=1 << 20)]


class PolicyInfo(msgspec.Struct):
    """Rules, and how often they have been replaced."""

    revision: int
    rules: str


class Decide(Model):
    """A request that is to be decided on, for the caller's tenant and by its plan.

    The members are those of docs/policy.md, but for ``tenant_id`` and ``plan``.
    """

    action: Word
    actor: Name
    time: Moment
    scopes: Words | None = None
    features: Words = msgspec.field(default_factory=list)
    key_name: Name | None = None
    algorithm: AlgorithmName | None = None
    key_version: Version | None = None
    key_state: KeyState | None = None
    context_keys: Words = msgspec.field(default_factory=list)
    payload_bytes: Annotated[int, Meta(ge=0, le=2**53)] = 0
    source: Word | None = None


class Decided(msgspec.Struct):
    """A decision."""

    allow: bool
    rule: str
    reason: str


class Explain(Model):
    """A request of a tenant's, as it might be; ``time`` is now where it is left out."""

    action: Word
    actor: Name = OPERATOR
    time: Moment | None = None
    scopes: Words | None = None
    key_name: Name | None = None
    algorithm: AlgorithmName | None = None
    key_version: Version | None = None
    payload_bytes: Annotated[int, Meta(ge=0, le=2**53)] = 0
    source: Word | None = None


class VerdictInfo(msgspec.Struct):
    """What a stored rule says; ``reason`` is null where it passes."""

    document: str
    index: int
    rule: str
    reason: str | None


class Explained(Decided):
    """A decision, and what each stored rule says; none where these do not decide."""

    verdicts: list[VerdictInfo]
