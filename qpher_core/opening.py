# SPDX-License-Identifier: Apache-2.0
"""``qpher_core.open``: a service here, or the connection to one elsewhere."""

import contextlib
from collections.abc import Callable, Collection, Sequence
from typing import overload

from qpher_core.audit.anchors import AnchorSettings
from qpher_core.discovery import (
    check_policy,
    check_protector,
    open_policy,
    open_primitives,
    open_store,
    service_factory,
)
from qpher_core.errors import IntegrityError, ProtectorUnavailable, ValidationError
from qpher_core.mixed import MixedStore, open_pair
from qpher_core.models import PolicyDocument
from qpher_core.policy.all_of import close_engine
from qpher_core.policy.chain import DEFAULT_RULES
from qpher_core.protectors import PROTECTOR_DEADLINE, Protectors
from qpher_core.protocols import KeyProtector, PolicyEngine, Primitives, Store, StoreWriter
from qpher_core.remote import RemoteService, RemoteSettings
from qpher_core.service import DEFAULT_POLICY_DEADLINE, KEK_CHECK, Qpher
from qpher_core.validation import check_seconds

__all__ = ["open"]


@overload
def open(  # noqa: A001
    url: str, *, api_key: str, remote: RemoteSettings | None = None
) -> RemoteService: ...


@overload
def open(  # noqa: A001
    url: str | Store | None = None,
    *,
    keys: str | Store | None = None,
    audit: str | Store | None = None,
    policy: str | PolicyEngine | Sequence[str | PolicyEngine] = "rules:",
    protector: str | KeyProtector | Sequence[str | KeyProtector] | None = None,
    primitives: str | Primitives | None = None,
    policy_deadline: float = DEFAULT_POLICY_DEADLINE,
    protector_deadline: float = PROTECTOR_DEADLINE,
    anchors: AnchorSettings | None = None,
) -> Qpher: ...


def open(  # noqa: A001 - qpher_core.open() is the name that reads right
    url: str | Store | None = None,
    *,
    keys: str | Store | None = None,
    audit: str | Store | None = None,
    policy: str | PolicyEngine | Sequence[str | PolicyEngine] = "rules:",
    protector: str | KeyProtector | Sequence[str | KeyProtector] | None = None,
    primitives: str | Primitives | None = None,
    policy_deadline: float = DEFAULT_POLICY_DEADLINE,
    protector_deadline: float = PROTECTOR_DEADLINE,
    anchors: AnchorSettings | None = None,
    api_key: str | None = None,
    remote: RemoteSettings | None = None,
) -> Qpher | RemoteService:
    """Open a service, or connect to one elsewhere.

    Args:
        url: where keys, audit log, tenants and policies are kept, such as
            ``sqlite:///qpher.db`` (a relative path) or ``memory:``; or a ready-made store. Or
            the URL of a service elsewhere, ``https://…`` (docs/remote.md).
        keys: the same, under the name that it has where stores are mixed.
        audit: where the audit log and its anchors are kept, if not there.
        policy: ``rules:``, another engine (docs/policy.md) or a ready-made one; of several, all
            must allow.
        protector: who holds the key encryption key, such as ``file:///etc/qpher/kek``
            (docs/protectors.md), or several who do; the store's own choice where none is given.
        primitives: name of a provider, or a ready-made one.
        policy_deadline: seconds that a policy engine may take before it counts as unavailable;
            as every deadline, at most a day.
        protector_deadline: seconds that the protector may take for one answer.
        anchors: when and where the audit logs are anchored; in the store alone, every 1,000
            entries and every minute, where none are given.
        api_key: for a service elsewhere, which decides on everything above.
        remote: deadlines, repeats and TLS of the connection to it.

    Raises:
        ValidationError: a URL or name is not one, a package is missing, or a deadline is none.
        StoreUnavailable: the store cannot be opened.
        ProtectorUnavailable: the store holds keys, and their key encryption key is missing.
    """
    if (connect := service_factory(url)) is not None or api_key is not None or remote is not None:
        here = (keys, audit, protector, primitives, anchors)
        return _connect(connect, url, api_key, remote, policy == "rules:" and not any(here))
    _check_settings(anchors, AnchorSettings, "anchors")
    check_seconds(policy_deadline, "policy_deadline")
    check_seconds(protector_deadline, "protector_deadline")
    provider = open_primitives(primitives)
    check_policy(policy)
    for one in () if protector is None else _several(protector):
        check_protector(one)
    with contextlib.ExitStack() as opened:
        store = _open_target(url, keys, audit)
        opened.callback(store.close)
        _check_logs(store)
        needed = store.keys.kek_ids() | store.service_keys.kek_ids()
        chosen = store.default_protector if protector is None else protector
        guard = _guard(_several(chosen), needed, protector_deadline)
        opened.callback(guard.close)
        for kek_id in sorted(needed):
            # A wrong KEK is noticed here, before anything is sealed under it.
            guard.derive(kek_id, KEK_CHECK)
        _install_default_rules(store)
        engine = open_policy(policy, store)
        opened.callback(close_engine, engine)
        service = Qpher(
            store, guard, provider, engine, policy_deadline=policy_deadline, anchors=anchors
        )
        opened.pop_all()  # from here on it is the service that closes them
    return service


def _connect(
    connect: Callable[..., RemoteService] | None,
    url: object,
    api_key: str | None,
    settings: RemoteSettings | None,
    nothing_else: bool,  # noqa: FBT001
) -> RemoteService:
    if connect is None:
        raise ValidationError(
            "api_key and remote go with the URL of a service, https://…", parameter="url"
        )
    if not nothing_else:
        raise ValidationError(
            "a service elsewhere has its own keys, audit log and policy: give url, api_key and "
            "remote alone",
            parameter="url",
        )
    _check_settings(settings, RemoteSettings, "remote")
    return connect(url, api_key, settings or RemoteSettings())


def _check_settings(value: object, expected: type, parameter: str) -> None:
    if value is not None and not isinstance(value, expected):
        raise ValidationError(
            f"{parameter} must be of the type {expected.__name__}", parameter=parameter
        )


def _open_target(
    url: str | Store | None, keys: str | Store | None, audit: str | Store | None
) -> Store:
    target = url if url is not None else keys
    if target is None:
        raise ValidationError("url is missing, such as 'sqlite:///qpher.db'", parameter="url")
    if keys is not None and keys != target:
        raise ValidationError("keys must not differ from url: leave one out", parameter="keys")
    if audit is None or audit == target:
        return open_store(target, parameter="url")
    return open_pair(target, audit, parameter="url")


def _several(
    protector: str | KeyProtector | Sequence[str | KeyProtector],
) -> Sequence[str | KeyProtector]:
    if isinstance(protector, Sequence) and not isinstance(protector, str):
        return protector
    return [protector]


def _guard(
    chosen: Sequence[str | KeyProtector], needed: Collection[str], deadline: float
) -> Protectors:
    """Open the protectors; one that is missing is told with the KEKs that the store needs."""
    try:
        return Protectors(chosen, create=not needed, deadline=deadline)
    except ProtectorUnavailable as error:
        if not needed:
            raise
        raise ProtectorUnavailable(
            f"the store needs the KEK {', '.join(sorted(needed))}: {error}"
        ) from error


def _check_logs(store: Store) -> None:
    """Refuse an audit store that is not the one of these keys: every tenant has a log.

    Only then is anything taken back in it.
    """
    if not isinstance(store, MixedStore):
        return
    for tenant in store.tenants.all():
        if store.audit.head(tenant.id)[0] == 0:
            raise IntegrityError(
                f"the audit store has no log of tenant {tenant.name!r}: it belongs to other keys"
            )
    store.settle()


def _install_default_rules(store: Store) -> None:
    if store.policies.get(None) is not None:
        return

    def work(writer: StoreWriter) -> None:
        if writer.policies.get(None) is None:
            writer.policies.insert(PolicyDocument(None, 1, DEFAULT_RULES))

    store.commit(work)
