# SPDX-License-Identifier: Apache-2.0
"""What type checkers know of ``kms.aio``: checked by ``make types``, never run."""

from collections.abc import AsyncIterator
from typing import assert_type

from qpher_core import (
    AsyncField,
    AsyncSession,
    AuditEntry,
    KeyVersion,
    Qpher,
    RemoteService,
    StoredAnchor,
)


async def parameters_and_results_are_those_of_the_methods(kms: Qpher) -> None:
    """Wrong arguments are errors, which the ignored lines prove: an unused one is one, too."""
    session = await kms.aio.session("acme", actor="x")
    assert_type(session, AsyncSession)
    assert_type(await session.keys.generate("ML-KEM-768", name="n"), KeyVersion)
    await session.keys.generate(7)  # type: ignore[arg-type]
    await session.keys.generate("ML-KEM-768", nam="n")  # type: ignore[call-arg]
    session.keys.generate("ML-KEM-768").version  # type: ignore[attr-defined]  # noqa: B018


async def iterators_and_views_have_their_types(kms: Qpher, remote: RemoteService) -> None:
    """What is iterated over, and what gives further coroutines."""
    session = await remote.aio.session()
    assert_type(session.audit.entries(limit=3), AsyncIterator[AuditEntry])
    assert_type(kms.aio.anchors.list(), AsyncIterator[StoredAnchor])
    field = await session.kem.field(context={"table": "t"})
    assert_type(field, AsyncField)
    assert_type(await field.encrypt("x"), bytes)
