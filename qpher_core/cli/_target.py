# SPDX-License-Identifier: Apache-2.0
"""The options that say where to work: ``--store``, ``--tenant``, and who is at work."""

import functools
import getpass
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click
from attrs import frozen

import qpher_core
from qpher_core.administration import Administration
from qpher_core.errors import NotFound, ValidationError
from qpher_core.remote import RemoteService, RemoteSettings
from qpher_core.service import Qpher
from qpher_core.session import Session

__all__ = ["AS_JSON", "PROTECTORS", "STORE", "Target", "on_store", "on_tenant", "on_tenant_if_any"]

#: Schemes of stores in files; the rest of the URL is their path.
_IN_FILES: Final = ("sqlite:///", "file://")

_Function = Callable[..., Any]

STORE: Final = click.option(
    "--store",
    envvar="QPHER_STORE",
    required=True,
    metavar="URL",
    show_envvar=True,
    help="Where the keys are, such as sqlite:///qpher.db or https://kms.example.",
)

_STORE_IF_ANY: Final = click.option(
    "--store", envvar="QPHER_STORE", metavar="URL", show_envvar=True, help="The store, if any."
)

PROTECTORS: Final = click.option(
    "--protector",
    "protectors",
    envvar="QPHER_PROTECTOR",
    multiple=True,
    metavar="URL",
    show_envvar=True,
    help="Who holds the KEK; may be given several times. The store's own choice if left out.",
)

_TENANT: Final = click.option(
    "--tenant",
    envvar="QPHER_TENANT",
    metavar="NAME",
    show_envvar=True,
    help="Whose keys, by name or id. May be left out if there is only one tenant.",
)

_ACTOR: Final = click.option(
    "--actor",
    envvar="QPHER_ACTOR",
    metavar="NAME",
    show_envvar=True,
    help="Who does it, for policy and audit log; the user who runs the command if left out.",
)

AS_JSON: Final = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@frozen
class Target:
    """A store that a command works on, and for whom.

    Attributes:
        tenant: name or id; None for the only one.
        actor: whom policy and audit log know.
    """

    store: str
    protectors: tuple[str, ...] = ()
    tenant: str | None = None
    actor: str | None = None

    @property
    def is_remote(self) -> bool:
        """Whether it is a service elsewhere."""
        return self.store.startswith(("https://", "http://"))

    @property
    def who(self) -> str:
        """Whom policy and audit log of a local store know."""
        return self.actor or f"cli:{_user()}"

    @property
    def place(self) -> Path | None:
        """The file or folder of the store, where it has one."""
        for scheme in _IN_FILES:
            if self.store.startswith(scheme):
                return Path(self.store.removeprefix(scheme)).absolute()
        return None

    def require_here(self) -> None:
        """Refuse what is done where the service runs, if that is elsewhere."""
        if self.is_remote:
            raise ValidationError(
                "--store must be a local one here: this is done where the service runs",
                parameter="store",
            )

    def require_store(self) -> None:
        """Refuse a store in files that is not there: a mistyped name would make another one."""
        if self.place is not None and not self.place.exists():
            raise NotFound(f"there is no store at {self.place}: qpher-core init makes one")

    @contextmanager
    def service(self, *, create: bool = False, policies: Sequence[str] = ()) -> Iterator[Qpher]:
        """Open the service itself, which only a local store gives.

        Args:
            create: whether a store that is not there is made; else a mistyped name is told.
            policies: engines; the stored rules where none is given.
        """
        self.require_here()
        if not create:
            self.require_store()
        with qpher_core.open(
            self.store,
            protector=list(self.protectors) or None,
            policy=list(policies) or "rules:",
        ) as kms:
            yield kms

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Open the session of the tenant."""
        if self.is_remote:
            with self._connected() as session:
                yield session
            return
        with self.service() as kms:
            yield kms.session(self.tenant or _only_tenant(kms), actor=self.who)

    @contextmanager
    def administration(self, *, create: bool = False) -> Iterator[Administration]:
        """Open what administers tenants, API keys and rules, here or at a service elsewhere."""
        if self.is_remote:
            with self.connection() as connection:
                yield connection.administration()
            return
        with self.service(create=create) as kms:
            yield kms

    @contextmanager
    def _connected(self) -> Iterator[Session]:
        """Connect to a service elsewhere: its API key says the tenant."""
        with self.connection() as connection:
            session = connection.session()
            if self.tenant is not None:
                _check_tenant(session, self.tenant)
            yield session

    def connection(self) -> RemoteService:
        """Connect to a service elsewhere; its API key says who is at work."""
        api_key = os.environ.get("QPHER_API_KEY")
        if not api_key:
            raise ValidationError("QPHER_API_KEY must hold the service's API key")
        if self.protectors or self.actor:
            raise ValidationError("--protector and --actor are the service's own: leave them out")
        settings = RemoteSettings(ca=os.environ.get("QPHER_CA"))
        return qpher_core.open(self.store, api_key=api_key, remote=settings)


def on_store(function: _Function) -> _Function:
    """Give a command the options that name a store, as one first argument: a :class:`Target`."""

    @STORE
    @PROTECTORS
    @functools.wraps(function)
    def command(store: str, protectors: tuple[str, ...], **options: Any) -> Any:
        return function(Target(store, protectors), **options)

    return command


def on_tenant(function: _Function) -> _Function:
    """As :func:`on_store`, with those that name the tenant and who is at work."""
    return STORE(_on_tenant(function))


def on_tenant_if_any(function: _Function) -> _Function:
    """As :func:`on_tenant`, for what can be done without a store: None then instead of a target."""
    return _STORE_IF_ANY(_on_tenant(function))


def _on_tenant(function: _Function) -> _Function:
    @PROTECTORS
    @_TENANT
    @_ACTOR
    @functools.wraps(function)
    def command(
        store: str | None,
        protectors: tuple[str, ...],
        tenant: str | None,
        actor: str | None,
        **options: Any,
    ) -> Any:
        return function(Target(store, protectors, tenant, actor) if store else None, **options)

    return command


def _user() -> str:
    """Return who runs the command: the number of the user where the system has no name for it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _only_tenant(kms: Qpher) -> str:
    names = [found.name for found in kms.tenants.list()]
    if not names:
        raise NotFound("the store has no tenant: qpher-core tenant create makes one")
    if len(names) != 1:
        raise ValidationError(
            f"--tenant must say which of the {len(names)} tenants", parameter="tenant"
        )
    return names[0]


def _check_tenant(session: Session, wanted: str) -> None:
    """Refuse to work for another tenant than the one that was meant."""
    tenant = session.usage.current().tenant
    if wanted not in {tenant.name, str(tenant.id)}:
        raise ValidationError(
            f"--tenant must be {tenant.name!r}, whose API key this is, or be left out",
            parameter="tenant",
        )
