# SPDX-License-Identifier: Apache-2.0
"""The Python layer of ML-DSA: what it refuses, what it hides, batches, threads, streaming."""

from __future__ import annotations

import copy
import hashlib
import pickle
import secrets
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qpher_native import MLDSA
from qpher_native._mldsa import sk_pools
from qpher_native._native import ffi, lib
from qpher_native.mldsa import PREHASHES, SETS, SigningKey

NAMES = list(SETS)
DSA = MLDSA("ML-DSA-44")
EXPANDED_S1, EXPANDED_TR, EXPANDED_T0 = 128, 64, 128 + 8 * 96


@pytest.fixture(params=NAMES)
def sk(request: pytest.FixtureRequest) -> Iterator[SigningKey]:
    """A fresh key of each set."""
    with MLDSA(request.param).generate() as key:
        yield key


# ---- Everything fits together ------------------------------------------------------------------


def test_every_way_to_sign_is_verified_by_its_own_way_only(sk: SigningKey) -> None:
    """Pure, pre-hashed and external-mu signatures keep their domains apart."""
    pk, message, context = sk.public_key, b"message", b"context"
    digest = hashlib.sha256(message).digest()
    pure = sk.sign(message, context=context)
    hashed = sk.sign_prehash(digest, "SHA-256", context=context)
    hasher = pk.mu_hasher(context)
    hasher.update(message)
    by_mu = sk.sign_mu(hasher.digest())
    assert pk.verify(message, pure, context=context)
    assert pk.verify(message, by_mu, context=context)
    assert pk.verify_mu(hasher.digest(), pure)
    assert pk.verify_prehash(digest, "SHA-256", hashed, context=context)
    assert not pk.verify(message, hashed, context=context)
    assert not pk.verify(digest, hashed, context=context)
    assert not pk.verify(message, pure)
    assert not pk.verify_prehash(digest, "SHA-256", hashed)
    assert not pk.verify_prehash(digest, "SHA3-256", hashed, context=context)
    assert not pk.verify_prehash(digest, "SHA-256", pure, context=context)


def test_prehash_is_what_the_standard_says() -> None:
    """HashML-DSA signs 1, |ctx|, ctx, OID, digest; for each of its hash functions."""
    oids = [1, 2, 3, 8, 9, 10, 11, 12]
    with DSA.from_seed(bytes(32)) as sk:
        tr = hashlib.shake_256(bytes(sk.public_key)).digest(64)
        for (name, (_, size)), last in zip(PREHASHES.items(), oids, strict=True):
            digest = bytes([7] * size)
            oid = bytes.fromhex("0609608648016503040200")[:-1] + bytes([last])
            mu = hashlib.shake_256(tr + b"\x01\x01c" + oid + digest).digest(64)
            signature = sk.sign_prehash(digest, name, context=b"c", deterministic=True)
            assert signature == sk.sign_mu(mu, deterministic=True)
            assert sk.public_key.verify_prehash(digest, name, signature, context=b"c")


def test_hedged_signatures_differ_and_deterministic_ones_do_not(sk: SigningKey) -> None:
    """Only the randomness makes the difference."""
    assert sk.sign(b"m") != sk.sign(b"m")
    assert sk.sign(b"m", deterministic=True) == sk.sign(b"m", randomness=bytes(32))
    assert sk.sign(b"m", randomness=bytes([1] * 32)) == sk.sign(b"m", randomness=bytes([1] * 32))


def test_keys_survive_their_encodings(sk: SigningKey) -> None:
    """Seed, expanded form and public key all lead back to the same key."""
    scheme = MLDSA(repr(sk).split()[1].rstrip(">"))
    signature = sk.sign(b"m", deterministic=True)
    public = bytes(sk.public_key)
    assert scheme.load_public_key(public).verify(b"m", signature)
    for again in (scheme.from_seed(sk.seed()), scheme.from_expanded(sk.expanded())):
        with again:
            assert bytes(again.public_key) == public
            assert again.expanded() == sk.expanded()
            assert again.sign(b"m", deterministic=True) == signature


def test_a_key_from_its_expanded_form_has_no_seed(sk: SigningKey) -> None:
    """And says so."""
    scheme = MLDSA(repr(sk).split()[1].rstrip(">"))
    with scheme.from_expanded(sk.expanded()) as again, pytest.raises(ValueError, match="no seed"):
        again.seed()


@pytest.mark.parametrize("at", [0, 63, EXPANDED_TR, 127, EXPANDED_S1, EXPANDED_T0, 2559])
def test_an_inconsistent_expanded_key_is_refused(at: int) -> None:
    """A changed bit in rho, tr, s1, s2 or t0 is noticed; K may be anything."""
    with DSA.from_seed(bytes(32)) as sk:
        data = bytearray(sk.expanded())
    data[at] ^= 1
    if 32 <= at < 64:
        DSA.from_expanded(data).close()
        return
    with pytest.raises(ValueError, match="not consistent"):
        DSA.from_expanded(data)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2420 * 8 - 1), st.binary(max_size=300), st.binary(max_size=255))
def test_any_changed_bit_breaks_a_signature(bit: int, message: bytes, context: bytes) -> None:
    """Wherever the bit is."""
    with DSA.from_seed(bytes(32)) as sk:
        signature = bytearray(sk.sign(message, context=context))
        assert sk.public_key.verify(message, signature, context=context)
        signature[bit // 8] ^= 1 << bit % 8
        assert not sk.public_key.verify(message, signature, context=context)


# ---- Messages in parts and in batches ----------------------------------------------------------


def test_mu_hasher_takes_parts_of_any_size(sk: SigningKey) -> None:
    """Any split of the message gives one mu, and digest() may be asked on the way."""
    pk, message = sk.public_key, secrets.token_bytes(1000)
    whole = pk.mu_hasher(b"c")
    whole.update(message)
    for split in (0, 1, 5, 6, 7, 70, 71, 136, 137, 999, 1000):
        parts = pk.mu_hasher(context=b"c")
        parts.update(message[:split])
        parts.digest()
        parts.update(memoryview(message)[split:])
        assert parts.digest() == whole.digest()
    tr = hashlib.shake_256(bytes(pk)).digest(64)
    assert whole.digest() == hashlib.shake_256(tr + b"\0\x01c" + message).digest(64)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 8, 9, 63, 64, 65, 130])
def test_batches_are_what_single_calls_are(count: int) -> None:
    """Whatever their size, for equal and unequal lengths, on one thread or several."""
    for equal in (True, False):
        messages = [bytes([i % 256]) * (20 if equal else i * 31 % 300) for i in range(count)]
        with DSA.from_seed(bytes(32)) as sk:
            expected = [sk.sign(m, context=b"x", deterministic=True) for m in messages]
            for threads in (1, 3):
                many = sk.sign_many(messages, context=b"x", deterministic=True, threads=threads)
                assert many == expected
                pairs = list(zip(messages, many, strict=True))
                assert (
                    sk.public_key.verify_many(pairs, context=b"x", threads=threads)
                    == [True] * count
                )
            hedged = sk.sign_many(messages, context=b"x")
            assert len(set(hedged)) == count
            assert all(sk.public_key.verify_many(zip(messages, hedged, strict=True), context=b"x"))


def test_a_batch_says_which_signature_is_wrong() -> None:
    """Wrong bits, wrong lengths and wrong messages among good ones."""
    with DSA.from_seed(bytes(32)) as sk:
        pairs: list[tuple[bytes, bytes]] = [(b"%d" % i, sk.sign(b"%d" % i)) for i in range(20)]
        good = pairs[0][1]
        pairs[3] = (b"3", bytes(len(good)))
        pairs[5] = (b"5", b"")
        pairs[7] = (b"7", pairs[7][1] + b"\0")
        pairs[11] = (b"other", pairs[11][1])
        pairs[13] = (b"13", b"\xff" * len(good))
        expected = [i not in (3, 5, 7, 11, 13) for i in range(20)]
        assert sk.public_key.verify_many(pairs) == expected
        assert [sk.public_key.verify(m, s) for m, s in pairs] == expected


def test_generate_many() -> None:
    """So many different keys."""
    for threads in (1, 2):
        keys = DSA.generate_many(5, threads=threads)
        assert len({bytes(key.public_key) for key in keys}) == 5
        for key in keys:
            key.close()


# ---- Refusals ----------------------------------------------------------------------------------

Wrong = Callable[[SigningKey], Any]
TYPE_ERRORS: dict[str, Wrong] = {
    "message must be bytes": lambda sk: sk.sign("text"),  # type: ignore[arg-type]
    "context must be bytes": lambda sk: sk.sign(b"", context="text"),  # type: ignore[arg-type]
    "randomness must be bytes": lambda sk: sk.sign(b"", randomness=7),  # type: ignore[arg-type]
    "mu must be bytes": lambda sk: sk.sign_mu(None),  # type: ignore[arg-type]
    "digest must be bytes": lambda sk: sk.sign_prehash(1, "SHA-256"),  # type: ignore[arg-type]
    "signature must be bytes": lambda sk: sk.public_key.verify(b"", None),  # type: ignore[arg-type]
    "part must be bytes": lambda sk: sk.public_key.mu_hasher().update([]),  # type: ignore[arg-type]
    "seed must be bytes": lambda _: DSA.from_seed([0] * 32),  # type: ignore[arg-type]
    "data must be bytes": lambda _: DSA.load_public_key(None),  # type: ignore[arg-type]
    "count must be an integer": lambda _: DSA.generate_many(1.0),  # type: ignore[arg-type]
    "threads must be an integer": lambda sk: sk.sign_many([b""], threads="2"),  # type: ignore[arg-type]
}
VALUE_ERRORS: dict[str, Wrong] = {
    "context must be at most 255 bytes, not 256": lambda sk: sk.sign(b"", context=bytes(256)),
    "randomness must be 32 bytes, not 31": lambda sk: sk.sign(b"", randomness=bytes(31)),
    "randomness must be None": lambda sk: sk.sign(b"", randomness=bytes(32), deterministic=True),
    "mu must be 64 bytes, not 63": lambda sk: sk.sign_mu(bytes(63)),
    "mu must be 64 bytes, not 65": lambda sk: sk.public_key.verify_mu(bytes(65), b""),
    "digest must be 48 bytes, not 32": lambda sk: sk.sign_prehash(bytes(32), "SHA-384"),
    "name must be one of SHA-256": lambda sk: sk.sign_prehash(bytes(16), "MD5"),
    "seed must be 32 bytes, not 33": lambda _: DSA.from_seed(bytes(33)),
    "data must be 2560 bytes, not 2559": lambda _: DSA.from_expanded(bytes(2559)),
    "data must be 1312 bytes, not 0": lambda _: DSA.load_public_key(b""),
    "name must be one of ML-DSA-44": lambda _: MLDSA("ML-DSA-45"),
    "count must be from 0": lambda _: DSA.generate_many(-1),
    "threads must be from 1": lambda sk: sk.sign_many([], threads=0),
    "must be contiguous": lambda sk: sk.sign(memoryview(b"abcd")[::2]),
}


@pytest.mark.parametrize("text", TYPE_ERRORS)
def test_wrong_types_are_named(text: str) -> None:
    """A TypeError that begins with the parameter."""
    with DSA.from_seed(bytes(32)) as sk, pytest.raises(TypeError, match=text):
        TYPE_ERRORS[text](sk)


@pytest.mark.parametrize("text", VALUE_ERRORS)
def test_wrong_values_are_named(text: str) -> None:
    """A ValueError that names the parameter and what was expected."""
    with DSA.from_seed(bytes(32)) as sk, pytest.raises(ValueError, match=text):
        VALUE_ERRORS[text](sk)


def test_a_signature_of_another_length_is_just_invalid(sk: SigningKey) -> None:
    """It is outside data, not a mistake of the caller."""
    signature = sk.sign(b"m")
    for wrong in (b"", signature[:-1], signature + b"\0"):
        assert sk.public_key.verify(b"m", wrong) is False
        assert sk.public_key.verify_mu(bytes(64), wrong) is False
        assert sk.public_key.verify_prehash(bytes(32), "SHA-256", wrong) is False


USES: list[Wrong] = [
    lambda sk: sk.sign(b""),
    lambda sk: sk.sign_mu(bytes(64)),
    lambda sk: sk.sign_prehash(bytes(32), "SHA-256"),
    lambda sk: sk.sign_many([b"a", b"b"]),
    lambda sk: sk.seed(),
    lambda sk: sk.expanded(),
    lambda sk: sk.public_key,
]


@pytest.mark.parametrize("use", USES)
def test_a_closed_key_does_nothing(use: Wrong) -> None:
    """Closing is idempotent, and every use afterwards says that the key is closed."""
    sk = DSA.from_seed(bytes(32))
    pk = sk.public_key
    sk.close()
    sk.close()
    with pytest.raises(ValueError, match="the signing key is closed"):
        use(sk)
    assert len(bytes(pk)) == 1312  # the public key lives on


def test_keys_cannot_be_copied_and_show_nothing(sk: SigningKey) -> None:
    """No pickle, no copy, and a repr without content."""
    for duplicate in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="cannot be pickled or copied"):
            duplicate(sk)
    assert repr(sk).startswith("<SigningKey ML-DSA-")
    assert len(repr(sk)) == len("<SigningKey ML-DSA-44>")
    assert repr(sk.public_key) == repr(sk).replace("SigningKey", "VerificationKey")
    assert not hasattr(sk, "__dict__")


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_every_bytes_like_type_is_taken(kind: Callable[[bytes], Any]) -> None:
    """In every place."""
    with DSA.from_seed(kind(bytes(32))) as sk:
        signature = sk.sign(kind(b"m"), context=kind(b"c"), randomness=kind(bytes(32)))
        pk = DSA.load_public_key(kind(bytes(sk.public_key)))
        assert pk.verify(kind(b"m"), kind(signature), context=kind(b"c"))
        assert pk.verify_many([(kind(b"m"), kind(signature))], context=kind(b"c")) == [True]
        assert len(sk.sign_many([kind(b"m"), kind(b"n")])) == 2


def test_threads_share_a_key_and_closing_waits_for_none() -> None:
    """Calls in other threads end normally while the key is closed under them."""
    sk, wrong = DSA.from_seed(bytes(32)), []
    pk, started = sk.public_key, threading.Barrier(5)

    def work() -> None:
        started.wait()
        while True:
            try:
                signature = sk.sign(b"m")
            except ValueError:
                return
            if not pk.verify(b"m", signature):
                wrong.append(signature)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    started.wait()
    threading.Event().wait(0.2)
    sk.close()
    for thread in threads:
        thread.join()
    assert not wrong


def test_threads_may_be_the_first_to_use_a_key() -> None:
    """Whoever comes first prepares a fresh key for signing, once, and all signatures are right."""
    seeds = [bytes([i]) * 32 for i in range(20)]
    for seed in seeds:
        key, start = DSA.from_seed(seed), threading.Barrier(4)

        def work(key: SigningKey = key, start: threading.Barrier = start) -> bytes:
            start.wait()
            return key.sign(b"first", deterministic=True)

        with ThreadPoolExecutor(4) as pool:
            signatures = [call.result() for call in [pool.submit(work) for _ in range(4)]]
        assert set(signatures) == {DSA.from_seed(seed).sign(b"first", deterministic=True)}
        assert key.public_key.verify(b"first", signatures[0])


def test_the_core_refuses_a_key_that_is_not_prepared() -> None:
    """Signing and encoding read transforms that key generation does not make."""
    number = SETS[DSA.name]
    slot = sk_pools[number].take()
    expanded, sig = bytearray(DSA.expanded_key_bytes), bytearray(DSA.signature_bytes)
    buffers = [ffi.from_buffer(each) for each in (expanded, sig)]
    assert lib.qpher_mldsa_from_seed(slot, number, bytes(32), 32) == lib.QPHER_OK
    for wanted in (lib.QPHER_ERR_ARGUMENT, lib.QPHER_OK):
        zero = bytes(32)
        assert lib.qpher_mldsa_expanded(slot, buffers[0], len(expanded)) == wanted
        error = lib.qpher_mldsa_sign(slot, buffers[1], len(sig), b"m", 1, b"", 0, zero, 32)
        assert error == wanted
        assert any(sig) == any(expanded) == (wanted == lib.QPHER_OK)
        assert lib.qpher_mldsa_prepare(slot) == lib.QPHER_OK
    assert lib.qpher_mldsa_prepare(ffi.NULL) == lib.QPHER_ERR_CLOSED
