# SPDX-License-Identifier: Apache-2.0
"""A key encryption key in a token or HSM: ``pkcs11:token=…;object=…?module-path=…&pin-source=…``.

The KEK is made in the token as a sensitive, non-extractable generic secret, and used there with
CKM_SHA256_HMAC; only derived keys leave it. Every such key of the label is a KEK that can be
asked for. The URL follows RFC 7512; a PIN in it is refused.
"""

import contextlib
import functools
import logging
import os
import secrets
import threading
from collections.abc import Callable
from typing import Any, Final, TypeVar
from urllib.parse import unquote

import pkcs11 as library
from attrs import define, field, frozen
from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass, Session
from pkcs11.exceptions import PKCS11Error, UserAlreadyLoggedIn

from qpher_backends.protectors._files import read_private
from qpher_backends.protectors._kek import KEK_BYTES, Kek, KekRing
from qpher_backends.protectors._url import absolute, given, refused
from qpher_core.errors import ProtectorUnavailable

__all__ = ["open_protector"]

T = TypeVar("T")

_FORM: Final = (
    "pkcs11:token=<label>;object=<label>?module-path=/path/module.so"
    "&pin-source=file:/path (or env:VARIABLE)"
)
_OPTIONS: Final = {"module-path", "pin-source"}
_ID_BYTES: Final = 16
_log: Final = logging.getLogger("qpher_core.protector")

#: What a KEK must be. LOCAL: the token made it; the rest: nothing outside ever saw it.
_REQUIRED: Final = {
    Attribute.LOCAL: True,
    Attribute.SENSITIVE: True,
    Attribute.ALWAYS_SENSITIVE: True,
    Attribute.EXTRACTABLE: False,
    Attribute.NEVER_EXTRACTABLE: True,
}

#: The process in which each module was initialised: it does not work in a forked one.
_initialised: Final[dict[str, int]] = {}


@frozen
class _Address:
    """Where the KEK is, as the URL says it."""

    token: str
    label: str
    module: str
    pin_source: str

    def __str__(self) -> str:
        return f"pkcs11:token={self.token};object={self.label}"


@define
class _Token:
    """A session with a token, opened again once when it breaks. Thread-safe."""

    address: _Address
    _lock: threading.Lock = field(factory=threading.Lock)
    _session: Session | None = None
    _keys: dict[bytes, Any] = field(factory=dict)
    _process: int = field(factory=os.getpid)

    def find(self) -> list[Kek]:
        """Return the KEKs of the label, in the order of their ids in the token."""
        with self._lock:
            found = self._attempt(lambda session: sorted(self._labelled(session)))
        return [Kek.elsewhere(functools.partial(self._mac, i)) for i in found]

    def make(self) -> None:
        """Make a KEK in the token."""
        with self._lock:
            self._attempt(self._generate)

    def close(self) -> None:
        """End the session."""
        with self._lock:
            session, self._session, self._keys = self._session, None, {}
            if session is not None and self._process == os.getpid():
                with contextlib.suppress(PKCS11Error):  # the token has ended it
                    session.close()

    def _mac(self, identifier: bytes, data: bytes) -> bytes:
        def sign(session: Session) -> bytes:
            keys = self._keys or self._labelled(session)
            if identifier not in keys:
                raise ProtectorUnavailable(f"{self.address}: a KEK is gone from the token")
            mac: bytes = keys[identifier].sign(data, mechanism=Mechanism.SHA256_HMAC)
            return mac

        with self._lock:
            return self._attempt(sign)

    def _attempt(self, use: Callable[[Session], T]) -> T:
        if self._process != os.getpid():
            raise ProtectorUnavailable(f"{self.address} was opened in another process")
        was_open = self._session is not None
        try:
            try:
                return use(self._opened())
            except PKCS11Error:
                if not was_open:
                    raise  # nothing was reset, and a token counts each wrong PIN
                self._session, self._keys = None, {}  # the token was reset: once more
                return use(self._opened())
        except PKCS11Error as error:
            # The type alone: the text of a module could hold anything.
            raise ProtectorUnavailable(f"{self.address}: {type(error).__name__}") from None

    def _opened(self) -> Session:
        if self._session is None:
            token = _module(self.address.module).get_token(token_label=self.address.token)
            pin = _pin(self.address.pin_source)
            try:
                self._session = token.open(rw=True, user_pin=pin)
            except UserAlreadyLoggedIn:  # by another part of this process
                self._session = token.open(rw=True)
        return self._session

    def _labelled(self, session: Session) -> dict[bytes, Any]:
        wanted = {Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.LABEL: self.address.label}
        self._keys = {}
        for key in session.get_objects(wanted):
            wrong = [a.name for a, value in _REQUIRED.items() if key[a] is not value]
            if wrong:
                raise ProtectorUnavailable(
                    f"{self.address} is not a key that the token keeps: {', '.join(wrong)}"
                )
            self._keys[bytes(key[Attribute.ID])] = key
        return self._keys

    def _generate(self, session: Session) -> None:
        template = {
            Attribute.PRIVATE: True,
            Attribute.SENSITIVE: True,
            Attribute.EXTRACTABLE: False,
            Attribute.MODIFIABLE: False,
        }
        session.generate_key(
            KeyType.GENERIC_SECRET,
            KEK_BYTES * 8,
            id=secrets.token_bytes(_ID_BYTES),
            label=self.address.label,
            store=True,
            capabilities=MechanismFlag.SIGN,
            template=template,
        )


class _TokenKeks(KekRing):
    """The KEKs of one label."""

    def __init__(self, token: _Token, keks: list[Kek]) -> None:
        self._token = token
        super().__init__(
            keks, str(token.address), reread=token.find, release=token.close, may_block=True
        )

    def renew(self) -> str:
        """Make another KEK in the token and return its id; it seals nothing yet."""
        before = {kek.id for kek in self._token.find()}  # others may have made some since
        self._token.make()
        self._take(self._token.find())
        return next(iter(set(self._keks) - before))


def open_protector(url: str, *, create: bool) -> KekRing:
    """Open a PKCS#11 URL; the entry point.

    Args:
        url: token and label of the KEK, path of the module, and where the PIN is.
        create: whether to make a KEK in the token if none has the label.

    Raises:
        ProtectorUnavailable: the token does not answer, the PIN is wrong, or the token holds no
            such key, or one that could leave it.
    """
    token = _Token(_parse(url))
    try:
        keks = token.find()
        if not keks and create:
            token.make()
            keks = token.find()
            _log.warning("created a key encryption key in %s; back up the token", token.address)
        if not keks:
            raise ProtectorUnavailable(f"{token.address} is not in the token")
        return _TokenKeks(token, keks)
    except BaseException:
        token.close()
        raise


def _parse(url: str) -> _Address:
    path, _, query = url.removeprefix("pkcs11:").removeprefix("//").partition("?")
    pairs = [part.partition("=") for part in path.split(";")]
    attributes = {name: unquote(value) for name, _, value in pairs}
    try:
        options = dict(given(query))
    except ValueError:
        raise refused(_FORM) from None
    if "pin-value" in options:
        raise refused(f"{_FORM}; a PIN does not belong into a URL")
    complete = all(attributes.values()) and all(options.values())
    if set(attributes) != {"token", "object"} or set(options) != _OPTIONS or not complete:
        raise refused(_FORM)
    return _Address(
        attributes["token"], attributes["object"], options["module-path"], options["pin-source"]
    )


def _module(path: str) -> Any:  # its class is compiled and has no public name
    module = library.lib(path)
    if _initialised.setdefault(path, os.getpid()) != os.getpid():
        module.reinitialize()
        _initialised[path] = os.getpid()
    return module


def _pin(source: str) -> str:
    kind, _, place = source.partition(":")
    if kind == "env" and place in os.environ:
        return os.environ[place]
    if kind == "file":
        return read_private(absolute(place, _FORM)).decode("utf-8", "replace").rstrip("\n")
    raise ProtectorUnavailable("pkcs11: pin-source names neither a variable nor a file")
