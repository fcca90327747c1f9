# SPDX-License-Identifier: Apache-2.0
"""Uses every public method of the installed ``qpher`` SDK against a server; asserts on its own.

Run as a program with the SDK on the path: URL, API key, another tenant's API key, a revoked one.
Prints the first call of each method and each refusal, with what came back.
"""

import hashlib
import os
import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import qpher
from qpher import Qpher

called: set[str] = set()


def call(client: Qpher, part: str, method: str, *arguments: Any, **named: Any) -> Any:
    """Call a method of the SDK, note it, and print it if it is the first of its kind."""
    result = getattr(getattr(client, part), method)(*arguments, **named)
    name = f"{part}.{method}"
    if name not in called:
        called.add(name)
        given = [*map(shown, arguments), *(f"{key}={shown(value)}" for key, value in named.items())]
        print(f"{name}({', '.join(given)})", f"  {shown(result)}", sep="\n")
    return result


def shown(value: Any) -> str:
    """Return a value without its bytes, and a result by those members that tell something."""
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    members = getattr(value, "__dict__", None)
    if not members:
        return repr(value)
    told = (f"{n}={shown(v)}" for n, v in members.items() if n not in {"request_id", "keys"})
    return f"{type(value).__name__}({', '.join(told)})"


def refused(kind: type[Exception], code: str, function: Callable[[], object]) -> None:
    """Check that the SDK raises its typed error with our code and the request's id."""
    try:
        function()
    except kind as error:
        assert error.error_code == code, (error.error_code, code)
        assert error.request_id
        print(f"{kind.__name__}: {error.status_code} {code}: {error}")
        return
    raise AssertionError(f"{kind.__name__} was not raised")


def use_keys(client: Qpher, algorithm: str) -> None:
    """Generate, look up, list, rotate and retire."""
    made = call(client, "keys", "generate", algorithm)
    assert (made.key_version, made.algorithm, made.status) == (1, algorithm, "active")
    assert made.public_key
    assert made.created_at.endswith("Z")
    assert call(client, "keys", "get_active", algorithm).public_key == made.public_key
    assert call(client, "keys", "get", algorithm, 1).public_key == made.public_key
    rotated = call(client, "keys", "rotate", algorithm)
    assert (rotated.key_version, rotated.old_key_version) == (2, 1)
    listed = call(client, "keys", "list", algorithm)
    assert (listed.total, [key.status for key in listed.keys]) == (2, ["retired", "active"])
    assert call(client, "keys", "list", algorithm, "retired").total == 1
    third = call(client, "keys", "generate", algorithm)
    assert third.key_version == 3
    retired = call(client, "keys", "retire", algorithm, 3)
    assert (retired.status, retired.key_version) == ("retired", 3)
    assert call(client, "keys", "generate", algorithm).key_version == 4


def use_kem(client: Qpher, algorithm: str) -> None:
    """Encrypt, encapsulate and wrap, and undo each."""
    chosen = {"algorithm": algorithm}
    number = call(client, "keys", "get_active", algorithm).key_version
    text = os.urandom(1000)
    box = call(client, "kem", "encrypt", text, number, **chosen)
    assert (box.key_version, box.algorithm) == (number, algorithm)
    opened = call(client, "kem", "decrypt", box.ciphertext, number, **chosen)
    assert opened.plaintext == text
    sent = call(client, "kem", "encapsulate", number, **chosen)
    got = call(client, "kem", "decapsulate", sent.kem_ciphertext, number, **chosen)
    assert len(sent.shared_secret) == 32
    assert got.shared_secret == sent.shared_secret
    envelope = call(client, "kem", "encrypt_local", text, number, **chosen)
    data = envelope.to_bytes()
    again = type(envelope).from_bytes(data, number, algorithm)
    assert call(client, "kem", "decrypt_local", again) == text
    if hasattr(client.kem, "wrap"):
        for size in (16, 24, 32, 48, 64):
            key = os.urandom(size)
            wrapped = call(client, "kem", "wrap", key, number, **chosen)
            assert wrapped.wrapping_method
            unwrapped = call(client, "kem", "unwrap", wrapped.wrapped_key, number, **chosen)
            assert unwrapped.symmetric_key == key
        active = client.kem.encrypt(text, **chosen)  # 1.4.0 may leave the version out
        assert active.key_version == number
    altered = box.ciphertext[:-1] + bytes([box.ciphertext[-1] ^ 1])
    refused(
        qpher.ValidationError,
        "ERR_KEM_005",
        lambda: client.kem.decrypt(altered, number, **chosen),
    )


def use_signatures(client: Qpher, algorithm: str) -> None:
    """Sign and verify messages and digests."""
    chosen = {"algorithm": algorithm}
    number = call(client, "keys", "get_active", algorithm).key_version
    message = os.urandom(1000)
    signed = call(client, "signatures", "sign", message, number, **chosen)
    assert (signed.key_version, signed.algorithm) == (number, algorithm)
    if algorithm == "Dilithium3":
        assert len(signed.signature) == 3309
    valid = call(client, "signatures", "verify", message, signed.signature, number, **chosen)
    assert valid.valid is True
    wrong = client.signatures.verify(message + b"x", signed.signature, number, **chosen)
    assert wrong.valid is False
    if not hasattr(client.signatures, "sign_hash"):
        return
    assert client.signatures.sign(message, **chosen).key_version == number
    for name in ("SHA-256", "SHA-384", "SHA-512"):
        digest = hashlib.new(name.replace("-", "").lower(), message).digest()
        if algorithm != "Dilithium3" and name != "SHA-512":
            continue  # the composite has a pre-hash of its own, which is SHA-512
        done = call(client, "signatures", "sign_hash", digest, name, number, **chosen)
        assert (done.hash_algorithm, done.signature_type) == (name, "detached")
        checked = call(
            client, "signatures", "verify_hash", digest, name, done.signature, number, **chosen
        )
        assert checked.valid is True


def use_errors(base: str, client: Qpher, other: Qpher, revoked: Qpher) -> None:
    """See every typed error of the SDK."""
    unknown = Qpher("qph_" + "x" * 62, base_url=base)
    for nobody in (unknown, revoked):
        refused(qpher.AuthenticationError, "ERR_AUTH_001", lambda n=nobody: n.keys.list())
    refused(qpher.NotFoundError, "ERR_KMS_002", lambda: client.keys.get("Kyber768", 99))
    refused(qpher.NotFoundError, "ERR_KMS_002", lambda: other.kem.encapsulate(1))
    refused(qpher.ForbiddenError, "ERR_FORBIDDEN_001", lambda: other.keys.generate("X-Wing"))
    refused(qpher.ForbiddenError, "ERR_POLICY_001", lambda: client.keys.generate("ML-KEM-512"))
    refused(qpher.ValidationError, "ERR_KMS_001", lambda: client.keys.generate("RSA"))
    refused(qpher.ValidationError, "ERR_KEM_001", lambda: client.kem.decapsulate(b"short", 4))
    refused(qpher.ServerError, "ERR_KMS_003", lambda: client.kem.encapsulate(3))
    refused(
        qpher.ValidationError,
        "ERR_KEM_001",
        lambda: client.kem.encrypt(b"x", 4, mode="deterministic", salt=b"short"),
    )
    equal = {client.kem.encrypt(b"x", 4, "deterministic", bytes(32)).ciphertext for _ in "ab"}
    assert len(equal) == 1


def main() -> None:
    """Do it all."""
    base, key, other_key, revoked_key = sys.argv[1:]
    client = Qpher(key, base_url=base)
    for algorithm in ("Kyber768", "X-Wing", "Dilithium3", "Composite-ML-DSA"):
        use_keys(client, algorithm)
    for algorithm in ("Kyber768", "X-Wing"):
        use_kem(client, algorithm)
    for algorithm in ("Dilithium3", "Composite-ML-DSA"):
        use_signatures(client, algorithm)
    use_errors(base, client, Qpher(other_key, base_url=base), Qpher(revoked_key, base_url=base))
    public = {
        f"{part}.{name}"
        for part in ("keys", "kem", "signatures")
        for name in dir(getattr(client, part))
        if not name.startswith("_")
    }
    assert called == public, called ^ public
    print(f"all {len(public)} methods of version {version('qpher')}")


if __name__ == "__main__":
    main()
