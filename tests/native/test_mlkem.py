# SPDX-License-Identifier: Apache-2.0
"""The ML-KEM classes: round trips, refusals, closing, threads, agreement with others."""

from __future__ import annotations

import copy
import os
import pickle
import threading

import pytest
from cryptography.hazmat.primitives.asymmetric import mlkem
from hypothesis import given, settings
from hypothesis import strategies as st

from qpher_native import MLKEM

NAMES = ("ML-KEM-512", "ML-KEM-768", "ML-KEM-1024")
PEERS = {
    "ML-KEM-768": mlkem.MLKEM768PrivateKey,
    "ML-KEM-1024": mlkem.MLKEM1024PrivateKey,
}


@pytest.fixture(params=NAMES)
def kem(request: pytest.FixtureRequest) -> MLKEM:
    """Each parameter set."""
    return MLKEM(request.param)


def test_a_round_trip_agrees(kem: MLKEM) -> None:
    """What is encapsulated to a key is what the key decapsulates, single and many."""
    dk = kem.generate()
    ek = kem.load_encapsulation_key(bytes(dk.encapsulation_key))
    ciphertext, secret = ek.encapsulate()
    assert (len(ciphertext), len(secret)) == (kem.ciphertext_bytes, 32)
    assert dk.decapsulate(ciphertext) == secret
    pairs = ek.encapsulate_many(9)
    assert dk.decapsulate_many([c for c, _ in pairs]) == [s for _, s in pairs]
    assert len({s for _, s in pairs}) == 9


@pytest.mark.parametrize("count", [1, 7, 8, 9, 20])
@pytest.mark.parametrize("threads", [1, 3])
def test_batches_are_so_many_single_operations(kem: MLKEM, count: int, threads: int) -> None:
    """Every key of a batch works, every ciphertext decapsulates alone and in a batch."""
    keys = kem.generate_many(count, threads=threads)
    assert len({key.seed() for key in keys}) == count
    for key in keys:
        again = kem.from_seed(key.seed())
        assert again.expanded() == key.expanded()
    dk = keys[-1]
    pairs = dk.encapsulation_key.encapsulate_many(count, threads=threads)
    ciphertexts = [bytearray(ciphertext) for ciphertext, _ in pairs]
    secrets = [secret for _, secret in pairs]
    assert [dk.decapsulate(ciphertext) for ciphertext in ciphertexts] == secrets
    ciphertexts[count // 2][3] ^= 1
    secrets[count // 2] = dk.decapsulate(ciphertexts[count // 2])
    assert dk.decapsulate_many(ciphertexts, threads=threads) == secrets
    assert len(set(secrets)) == count


def test_threads_are_checked(kem: MLKEM) -> None:
    """A number of threads that makes no sense is refused."""
    for threads in (0, -1, 257):
        with pytest.raises(ValueError, match="threads"):
            kem.generate_many(2, threads=threads)
    with pytest.raises(TypeError, match="threads"):
        kem.generate().decapsulate_many([], threads=True)


def test_nothing_gives_nothing(kem: MLKEM) -> None:
    """Batches of none are allowed and empty."""
    dk = kem.generate()
    assert dk.encapsulation_key.encapsulate_many(0) == []
    assert dk.decapsulate_many([]) == []
    assert kem.generate_many(0) == []


def test_expanded_keys_come_back(kem: MLKEM) -> None:
    """An expanded key opens to the same key, which then has no seed."""
    dk = kem.generate()
    again = kem.from_expanded(dk.expanded())
    assert again.expanded() == dk.expanded()
    assert bytes(again.encapsulation_key) == bytes(dk.encapsulation_key)
    with pytest.raises(ValueError, match="no seed"):
        again.seed()


def test_an_altered_expanded_key_is_refused(kem: MLKEM) -> None:
    """The hash check of FIPS 203 section 7.3 covers the encapsulation key and the hash."""
    expanded = bytearray(kem.generate().expanded())
    start = len(expanded) - 64 - kem.encapsulation_key_bytes
    for place in (start + 5, len(expanded) - 64, len(expanded) - 33):
        altered = bytearray(expanded)
        altered[place] ^= 1
        with pytest.raises(ValueError, match="section 7"):
            kem.from_expanded(altered)


def test_implicit_rejection_is_deterministic(kem: MLKEM) -> None:
    """A wrong ciphertext gives a secret that depends on it and on the key alone."""
    dk = kem.generate()
    ciphertext, secret = dk.encapsulation_key.encapsulate()
    wrong = bytes([ciphertext[0] ^ 1]) + ciphertext[1:]
    rejected = dk.decapsulate(wrong)
    assert rejected != secret
    assert rejected == dk.decapsulate(wrong) == kem.from_seed(dk.seed()).decapsulate(wrong)


@pytest.mark.parametrize("name", PEERS)
@settings(max_examples=50, deadline=None)
@given(
    seed=st.binary(min_size=64, max_size=64),
    noise=st.binary(min_size=1600, max_size=1600),
)
def test_openssl_agrees(name: str, seed: bytes, noise: bytes) -> None:
    """Keys, secrets and rejections of random and adversarial inputs are OpenSSL's."""
    kem, peer = MLKEM(name), PEERS[name].from_seed_bytes(seed)
    dk = kem.from_seed(seed)
    assert bytes(dk.encapsulation_key) == peer.public_key().public_bytes_raw()
    ciphertext, secret = dk.encapsulation_key.encapsulate()
    assert peer.decapsulate(ciphertext) == secret
    secret, ciphertext = peer.public_key().encapsulate()
    assert dk.decapsulate(ciphertext) == secret
    junk = noise[: kem.ciphertext_bytes]
    assert dk.decapsulate(junk) == peer.decapsulate(junk)


@pytest.mark.parametrize("make", [bytes, bytearray, memoryview], ids=lambda make: make.__name__)
def test_bytes_like_inputs_are_taken(kem: MLKEM, make: type) -> None:
    """bytes, bytearray and memoryview will do everywhere."""
    dk = kem.from_seed(make(os.urandom(64)))
    ek = kem.load_encapsulation_key(make(bytes(dk.encapsulation_key)))
    ciphertext, secret = ek.encapsulate(make(bytes(32)))
    assert dk.decapsulate(make(ciphertext)) == secret


def test_wrong_lengths_name_the_parameter(kem: MLKEM) -> None:
    """Every length is checked before C sees it."""
    dk = kem.generate()
    refusals = {
        "seed": lambda: kem.from_seed(bytes(63)),
        "data": lambda: kem.from_expanded(bytes(100)),
        "m": lambda: dk.encapsulation_key.encapsulate(bytes(31)),
        "ciphertext": lambda: dk.decapsulate(bytes(kem.ciphertext_bytes + 1)),
        r"ciphertexts\[1\]": lambda: dk.decapsulate_many([bytes(kem.ciphertext_bytes), b""]),
    }
    for name, call in refusals.items():
        with pytest.raises(ValueError, match=f"{name} must be"):
            call()
    with pytest.raises(ValueError, match="data must be"):
        kem.load_encapsulation_key(b"")


@pytest.mark.parametrize("wrong", ["text", 64, None, [1, 2]])
def test_wrong_types_name_the_parameter(kem: MLKEM, wrong: object) -> None:
    """What is not bytes-like is a TypeError."""
    with pytest.raises(TypeError, match="seed"):
        kem.from_seed(wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="ciphertext"):
        kem.generate().decapsulate(wrong)  # type: ignore[arg-type]


def test_an_unknown_name_is_refused() -> None:
    """The error lists the parameter sets."""
    with pytest.raises(ValueError, match="ML-KEM-768"):
        MLKEM("ML-KEM-769")


def test_a_closed_key_does_nothing(kem: MLKEM) -> None:
    """After close every use is a ValueError; closing again is allowed."""
    with kem.generate() as dk:
        ek = dk.encapsulation_key
    dk.close()
    uses = (
        lambda: dk.decapsulate(bytes(kem.ciphertext_bytes)),
        lambda: dk.decapsulate_many([bytes(kem.ciphertext_bytes)]),
        lambda: dk.encapsulation_key,
        dk.seed,
        dk.expanded,
    )
    for use in uses:
        with pytest.raises(ValueError, match="closed"):
            use()
    assert ek.encapsulate()  # an encapsulation key that was taken out goes on living


def test_keys_cannot_be_pickled_or_copied_and_show_nothing(kem: MLKEM) -> None:
    """A decapsulation key stays where it is."""
    dk = kem.generate()
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="cannot be pickled or copied"):
            attempt(dk)
    assert repr(dk) == f"<DecapsulationKey {kem.name}>"


def test_threads_share_a_key_and_may_close_it(kem: MLKEM) -> None:
    """While others decapsulate, one closes: each call gives the secret or says closed."""
    dk = kem.generate()
    ciphertext, secret = dk.encapsulation_key.encapsulate()
    wrong: list[object] = []

    def work() -> None:
        for _ in range(200):
            try:
                if dk.decapsulate(ciphertext) != secret:
                    wrong.append("secret")
            except ValueError as error:
                if "closed" not in str(error):
                    wrong.append(error)
                return

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    dk.close()
    for thread in threads:
        thread.join()
    assert wrong == []
