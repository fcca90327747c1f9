# SPDX-License-Identifier: Apache-2.0
"""Protectors that hang, lie, fail or are told wrong things: nothing is done, nothing is shown."""

import contextlib
import os
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.backends.fail import Keyring as NoKeyring
from keyring.errors import KeyringLocked

import qpher_core
from qpher_backends.protectors import passphrase as passphrases
from qpher_backends.protectors import pkcs11 as tokens
from qpher_backends.protectors.file import open_protector as open_file
from qpher_core import ProtectorUnavailable, ValidationError
from qpher_core.discovery import open_protector
from qpher_core.protectors import Protectors
from tests.contract.protectors import PROTECTORS, Place

CANARY = "canary-0a1b2c"


class Odd:
    """A protector that answers as it is told."""

    kek_id = "00112233aabbccdd"

    def __init__(self, answer: Callable[[], object]) -> None:
        self.answer = answer

    def derive(self, kek_id: str, info: bytes) -> bytes:  # noqa: ARG002 - it does not care
        """Answer."""
        return self.answer()  # type: ignore[return-value]

    def close(self) -> None:
        """Do nothing."""


def _shown(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


def test_a_protector_that_hangs_is_given_up() -> None:
    """The deadline ends the wait; the error names scheme and KEK."""
    never = threading.Event()
    guard = Protectors([Odd(never.wait)], create=False, deadline=0.1)
    with pytest.raises(ProtectorUnavailable, match=r"Odd.*00112233aabbccdd.*0\.1 s"):
        guard.derive(Odd.kek_id, b"x")
    never.set()


def test_what_a_driver_says_is_not_repeated() -> None:
    """Of a foreign exception only the type comes out: its text could hold a PIN."""

    def fail() -> object:
        raise OSError(CANARY)

    guard = Protectors([Odd(fail)], create=False, deadline=5)
    with pytest.raises(ProtectorUnavailable, match=r"Odd: OSError.*00112233aabbccdd") as caught:
        guard.derive(Odd.kek_id, b"x")
    assert CANARY not in _shown(caught.value)


@pytest.mark.parametrize("answer", [None, b"", bytes(31), bytes(33), "x" * 32, 32, bytearray(32)])
def test_nonsense_is_no_key(answer: object) -> None:
    """Only 32 bytes are a key."""
    guard = Protectors([Odd(lambda: answer)], create=False, deadline=5)
    with pytest.raises(ProtectorUnavailable, match="no 32-byte key"):
        guard.derive(Odd.kek_id, b"x")


def test_a_service_refuses_while_its_protector_hangs() -> None:
    """What needs the KEK fails in time and leaves nothing; what does not goes on."""
    never = threading.Event()
    real = open_protector("memory:", create=True)
    hanging = threading.Event()

    class Slow(Odd):
        kek_id = real.kek_id

        def derive(self, kek_id: str, info: bytes) -> bytes:
            if hanging.is_set():
                never.wait()
            return real.derive(kek_id, info)

    slow = Slow(lambda: None)
    with qpher_core.open("memory:", protector=slow, protector_deadline=0.2) as kms:
        kms.tenants.create("acme")
        hanging.set()
        session = kms.session("acme", actor="test")
        with pytest.raises(ProtectorUnavailable, match=real.kek_id):
            session.keys.generate("ML-KEM-768")
        assert list(session.keys.list()) == []
        assert [*session.audit.entries()][-1].fields["outcome"] == "failed"
        never.set()
        hanging.clear()
        assert session.keys.generate("ML-KEM-768").version == 1


def test_several_are_asked_in_order() -> None:
    """The one that names the KEK is asked first; if none has it, all of them are told."""
    one, two = (open_protector("memory:", create=True) for _ in range(2))
    guard = Protectors([one, two], create=False, deadline=5)
    assert guard.kek_id == one.kek_id
    for member in (one, two):
        assert guard.derive(member.kek_id, b"x") == member.derive(member.kek_id, b"x")
    with pytest.raises(ProtectorUnavailable, match=r"no protector gives the KEK 0123.*; memory:"):
        guard.derive("0123", b"x")
    with pytest.raises(ValidationError, match="empty"):
        qpher_core.open("memory:", protector=[])


# --- files -------------------------------------------------------------------------------------


def _kek_ids(path: Path) -> list[str]:
    return [line.split(" ")[1] for line in path.read_text().splitlines()]


def test_all_who_add_a_kek_at_once_keep_theirs(tmp_path: Path) -> None:
    """No KEK that a service was told to use is missing from the file afterwards."""
    path = tmp_path / "kek"
    first = open_file(f"file://{path}", create=True)
    rings = [open_file(f"file://{path}", create=False) for _ in range(8)]
    with ThreadPoolExecutor(len(rings)) as threads:
        made = list(threads.map(lambda ring: ring.renew(), rings))
    assert sorted(_kek_ids(path)) == sorted([first.kek_id, *made])


def test_a_kek_is_added_to_a_file_without_a_last_newline(tmp_path: Path) -> None:
    """A file as some editors and secret managers leave it is continued in a line of its own."""
    path = tmp_path / "kek"
    ring = open_file(f"file://{path}", create=True)
    path.write_text(path.read_text().removesuffix("\n"))
    before, made = ring.kek_id, ring.renew()
    assert _kek_ids(path) == [before, made]
    assert open_file(f"file://{path}", create=False).kek_id == made


def test_a_kek_is_added_to_the_file_behind_a_link(tmp_path: Path) -> None:
    """The link stays, and the file that it names, which is backed up, holds the new KEK."""
    path, link = tmp_path / "kek", tmp_path / "link"
    open_file(f"file://{path}", create=True)
    link.symlink_to(path)
    made = open_file(f"file://{link}", create=False).renew()
    assert link.is_symlink()
    assert _kek_ids(path)[-1] == made


# --- environment and passphrases ---------------------------------------------------------------


@pytest.mark.parametrize("value", ["", " ", CANARY, "AAAA", "A" * 44, f"{'A' * 43}= {CANARY}"])
def test_what_a_variable_holds_is_checked_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    """Anything but base64 of 32 bytes is refused, by the name of the variable."""
    monkeypatch.setenv("QPHER_ODD", value)
    with pytest.raises(ProtectorUnavailable, match="env://QPHER_ODD") as caught:
        open_protector("env://QPHER_ODD", create=True)
    assert CANARY not in _shown(caught.value)


@pytest.fixture
def parameters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Make a KEK of a passphrase; return its URL."""
    monkeypatch.setenv("QPHER_PASSPHRASE", f"{CANARY} correct")
    url = f"passphrase://{tmp_path}/p.json?from=env:QPHER_PASSPHRASE"
    open_protector(url, create=True).close()
    return url


def test_a_wrong_passphrase_is_refused(
    parameters: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the KEK; the parameters stay as they are."""
    kek_id = open_protector(parameters, create=False).kek_id
    before = (tmp_path / "p.json").read_bytes()
    monkeypatch.setenv("QPHER_PASSPHRASE", f"{CANARY} wrong")
    for create in (False, True):
        with pytest.raises(ProtectorUnavailable, match=kek_id) as caught:
            open_protector(parameters, create=create)
        assert CANARY not in _shown(caught.value)
    assert (tmp_path / "p.json").read_bytes() == before


def test_a_short_passphrase_makes_no_kek(tmp_path: Path) -> None:
    """Twelve characters are the least."""
    with pytest.raises(ValidationError, match="at least 12") as caught:
        passphrases.open_with("canary-sh", tmp_path / "p.json", create=True)
    assert "canary" not in str(caught.value)
    assert not (tmp_path / "p.json").exists()


def test_passphrases_are_normalised(tmp_path: Path) -> None:
    """The same text typed on another system gives the same KEK."""
    path = tmp_path / "p.json"
    composed = passphrases.open_with("caf\u00e9 caf\u00e9 caf\u00e9", path, create=True)
    decomposed = passphrases.open_with("cafe\u0301 cafe\u0301 cafe\u0301", path, create=False)
    assert composed.kek_id == decomposed.kek_id


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"memory":65536', '"memory":8'),
        ('"memory":65536', '"memory":99999999'),
        ('"memory":65536', '"memory":true'),
        ('"iterations":3', '"iterations":0'),
        ('"iterations":3', '"iterations":"3"'),
        ('"lanes":4', '"lanes":0'),
        ("Argon2id", "scrypt"),
        ("qpher-passphrase/1", "qpher-passphrase/2"),
        ('"salt":"', '"salt":"AAAA'),
        ("{", "["),
        ('"lanes":4', '"lanes":5'),
    ],
)
def test_altered_parameters_are_refused(
    parameters: str, tmp_path: Path, before: str, after: str
) -> None:
    """Neither weaker nor endless parameters are taken, nor any that give another KEK."""
    path = tmp_path / "p.json"
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after, 1))
    with pytest.raises(ProtectorUnavailable, match=r"p\.json"):
        open_protector(parameters, create=False)


# --- keyrings ----------------------------------------------------------------------------------


class _Locked(KeyringBackend):
    priority = 0

    def get_password(self, service: str, username: str) -> str | None:  # noqa: ARG002
        raise KeyringLocked(CANARY)

    def set_password(self, service: str, username: str, password: str) -> None:  # noqa: ARG002
        raise KeyringLocked(CANARY)


@pytest.mark.parametrize("backend", [NoKeyring, _Locked])
def test_a_keyring_that_is_missing_or_locked(backend: Callable[[], KeyringBackend]) -> None:
    """Nothing is made, and nothing of the backend's text comes out."""
    before = keyring.get_keyring()
    keyring.set_keyring(backend())
    try:
        with pytest.raises(ProtectorUnavailable, match="keyring://service/name") as caught:
            open_protector("keyring://service/name", create=True)
    finally:
        keyring.set_keyring(before)
    assert CANARY not in _shown(caught.value)


# --- tokens and services -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Run SoftHSM."""
    running, place = PROTECTORS["pkcs11"]
    with running(tmp_path_factory.mktemp("softhsm")):
        yield place(tmp_path_factory.mktemp("token"))


def test_a_kek_cannot_leave_its_token(token: Place) -> None:
    """It is sensitive and not extractable, was so always, and its value cannot be read."""
    import pkcs11  # noqa: PLC0415
    from pkcs11.exceptions import PKCS11Error  # noqa: PLC0415

    open_protector(token.url("kept"), create=True).close()
    stored = pkcs11.lib(os.environ["QPHER_TEST_MODULE"]).get_token(token_label="qpher test")
    with stored.open(user_pin=token.secrets()[0]) as session:
        label = token.url("kept").partition("object=")[2].partition("?")[0]
        (key,) = session.get_objects({pkcs11.Attribute.LABEL: label})
        for attribute, value in (
            (pkcs11.Attribute.LOCAL, True),
            (pkcs11.Attribute.SENSITIVE, True),
            (pkcs11.Attribute.ALWAYS_SENSITIVE, True),
            (pkcs11.Attribute.EXTRACTABLE, False),
            (pkcs11.Attribute.NEVER_EXTRACTABLE, True),
        ):
            assert key[attribute] is value
        with pytest.raises(PKCS11Error):
            _ = key[pkcs11.Attribute.VALUE]


def test_a_key_that_came_from_outside_is_no_kek(token: Place) -> None:
    """A secret that was put into the token, or that could leave it, is refused."""
    import pkcs11  # noqa: PLC0415

    stored = pkcs11.lib(os.environ["QPHER_TEST_MODULE"]).get_token(token_label="qpher test")
    url = token.url("foreign")
    label = url.partition("object=")[2].partition("?")[0]
    with stored.open(rw=True, user_pin=token.secrets()[0]) as session:
        session.create_object(
            {
                pkcs11.Attribute.CLASS: pkcs11.ObjectClass.SECRET_KEY,
                pkcs11.Attribute.KEY_TYPE: pkcs11.KeyType.GENERIC_SECRET,
                pkcs11.Attribute.LABEL: label,
                pkcs11.Attribute.VALUE: bytes(32),
                pkcs11.Attribute.TOKEN: True,
                pkcs11.Attribute.SIGN: True,
                pkcs11.Attribute.SENSITIVE: True,
                pkcs11.Attribute.EXTRACTABLE: False,
            }
        )
        with pytest.raises(ProtectorUnavailable, match="LOCAL"):
            open_protector(url, create=True)


def test_a_new_kek_of_a_token_is_none_of_before(token: Place) -> None:
    """A service that was open while others made KEKs makes one too, and does not take theirs."""
    url = token.url("others")
    idle, busy = (tokens.open_protector(url, create=True) for _ in range(2))
    made = {busy.renew() for _ in range(4)}
    assert len(made) == 4
    assert idle.renew() not in made
    for ring in (idle, busy):
        ring.close()


def test_a_wrong_pin_is_refused(token: Place, tmp_path: Path) -> None:
    """Neither the PIN nor the module's text comes out."""
    pin = tmp_path / "pin"
    pin.touch(mode=0o600)
    pin.write_text(CANARY)
    url = token.url("pin").partition("pin-source")[0] + f"pin-source=file:{pin}"
    with pytest.raises(ProtectorUnavailable, match=r"pkcs11:.*PinIncorrect") as caught:
        open_protector(url, create=True)
    assert CANARY not in _shown(caught.value)


def test_a_wrong_pin_is_tried_once(
    token: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opening with a wrong PIN costs one of the few attempts after which a token locks itself."""
    pin = tmp_path / "pin"
    pin.touch(mode=0o600)
    pin.write_text(CANARY)
    tried, read = [], tokens._pin
    monkeypatch.setattr(tokens, "_pin", lambda source: tried.append(source) or read(source))
    url = token.url("pin").partition("pin-source")[0] + f"pin-source=file:{pin}"
    with pytest.raises(ProtectorUnavailable, match="PinIncorrect"):
        open_protector(url, create=True)
    assert len(tried) == 1


def test_a_token_that_was_reset_can_be_closed(token: Place) -> None:
    """A session that the token has forgotten does not keep a service from closing the rest."""
    ring = tokens.open_protector(token.url("reset"), create=True)
    tokens._module(os.environ["QPHER_TEST_MODULE"]).reinitialize()
    ring.close()
    with pytest.raises(ProtectorUnavailable, match="does not hold"):
        ring.derive(ring.kek_id, b"x")


def test_a_token_that_is_not_there(token: Place) -> None:
    """The error names the token."""
    with pytest.raises(ProtectorUnavailable, match="token=absent"):
        open_protector(token.url("x").replace("qpher%20test", "absent"), create=True)
    with pytest.raises(ProtectorUnavailable, match="pkcs11:"):
        open_protector(
            "pkcs11:token=a;object=b?module-path=/nowhere.so&pin-source=env:HOME", create=True
        )


def test_a_token_protector_does_not_work_in_a_fork(token: Place) -> None:
    """A forked process is told to open the service itself, and can."""
    opened = open_protector(token.url("forked"), create=True)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover - in the child
        with contextlib.suppress(BaseException):  # whatever happens, this is not the test's process
            try:
                opened.derive(opened.kek_id, b"x")
            except ProtectorUnavailable as error:
                os.write(writing, str(error).encode())
            again = open_protector(token.url("forked"), create=False)
            os.write(writing, b" " + again.kek_id.encode())
            os._exit(0)
        os._exit(1)
    os.close(writing)
    assert os.waitpid(child, 0)[1] == 0
    with os.fdopen(reading, "rb") as pipe:
        told = pipe.read().decode()
    assert "another process" in told
    assert told.endswith(opened.kek_id)
    assert len(opened.derive(opened.kek_id, b"x")) == 32
    opened.close()


def test_a_kms_that_stops(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Once the service is gone, deriving fails with its scheme and the KEK's place."""
    running, make = PROTECTORS["awskms"]
    with running(tmp_path):
        place = make(tmp_path_factory.mktemp("kms"))
        opened = open_protector(place.url("gone"), create=True)
        guard = Protectors([opened], create=False, deadline=20)
        assert len(guard.derive(opened.kek_id, b"x")) == 32
    with pytest.raises(ProtectorUnavailable, match="awskms:///alias/"):
        guard.derive(opened.kek_id, b"x")
    guard.close()


def test_an_alias_that_is_pointed_elsewhere_changes_nothing(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """An open protector goes on with its key; opened again, it has another KEK, and says so."""
    import boto3  # noqa: PLC0415

    running, make = PROTECTORS["awskms"]
    with running(tmp_path):
        place = make(tmp_path_factory.mktemp("kms"))
        opened = open_protector(place.url("alias"), create=True)
        before = opened.derive(opened.kek_id, b"x")
        client = boto3.client(
            "kms", region_name="eu-central-1", endpoint_url=os.environ["QPHER_TEST_KMS"]
        )
        key = client.create_key(KeyUsage="GENERATE_VERIFY_MAC", KeySpec="HMAC_256")
        alias = place.url("alias").partition("///")[2].partition("?")[0]
        client.update_alias(AliasName=alias, TargetKeyId=key["KeyMetadata"]["KeyId"])
        client.close()
        assert opened.derive(opened.kek_id, b"x") == before
        again = open_protector(place.url("alias"), create=False)
        assert again.kek_id != opened.kek_id
        with pytest.raises(ProtectorUnavailable, match=opened.kek_id):
            again.derive(opened.kek_id, b"x")
        opened.close()
        again.close()


# --- URLs --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "env://",
        f"env://A?x={CANARY}",
        "env://A-B",
        "env://Ä",
        "file://relative",
        "file:/one",
        "passphrase://relative?from=env:X",
        "passphrase:///p",
        f"passphrase:///p?from={CANARY}",
        f"passphrase:///p?from=env:X&passphrase={CANARY}",
        "passphrase:///p?from=file:relative",
        "keyring://service",
        "keyring:///name",
        "pkcs11:token=a",
        "pkcs11:token=a;object=b",
        "pkcs11:token=a;object=?module-path=/m&pin-source=env:X",
        "pkcs11:token=a;object=b?module-path=/m&pin-source=",
        f"pkcs11:token=a;object=b?module-path=/m&pin-value={CANARY}",
        f"keyring://[service/{CANARY}",
        "awskms:",
        "awskms:///",
        f"awskms:///k?region=r&secret={CANARY}",
        "awskms:///k?region=r&region=s",
        f"awskms:///k?region=r&endpoint=http://{CANARY}.example",
    ],
)
def test_urls_that_are_none(url: str) -> None:
    """A wrong URL is refused, and not repeated: people put secrets into them."""
    with pytest.raises(ValidationError, match="protector") as caught:
        open_protector(url, create=True)
    assert caught.value.parameter == "protector"
    assert CANARY not in _shown(caught.value)


def test_a_plus_sign_in_a_path_is_one(token: Place, tmp_path: Path) -> None:
    """Paths in the options of a URL are what they say, whichever protector reads them."""
    secret = tmp_path / "c++ secret"
    secret.touch(mode=0o600)
    secret.write_text(token.secrets()[0])
    place = str(secret).replace(" ", "%20")
    open_protector(f"passphrase://{tmp_path}/p.json?from=file:{place}", create=True).close()
    url = token.url("plus").partition("pin-source")[0] + f"pin-source=file:{place}"
    open_protector(url, create=True).close()


def test_a_protector_that_nobody_installed() -> None:
    """The error lists what there is."""
    with pytest.raises(ValidationError, match="awskms, env, file, keyring, memory, passphrase"):
        open_protector("vault://x", create=True)
