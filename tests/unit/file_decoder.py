# SPDX-License-Identifier: Apache-2.0
"""A decoder of encrypted files from docs/formats.md alone, with pyca/cryptography and no more."""

import hashlib
import hmac
import json
from typing import Any

from cryptography.hazmat.primitives.asymmetric import mlkem
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

#: KEM id: its name, its suite, and how a private key is read.
KEMS: dict[int, tuple[str, Any, Any]] = {
    0x0041: ("ML-KEM-768", KEM.MLKEM768, mlkem.MLKEM768PrivateKey.from_seed_bytes),
    0x0042: ("ML-KEM-1024", KEM.MLKEM1024, mlkem.MLKEM1024PrivateKey.from_seed_bytes),
}


def stream(key: bytes, data: bytes, context: bytes) -> bytes:
    """Decrypt one stream of C2SP chunked-encryption."""
    info = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\x00" + data[:24] + context
    first = hmac.digest(key, info + b"\x01", "sha512")
    made = first + hmac.digest(key, first + info + b"\x02", "sha512")
    if made[44:76] != data[24:56]:
        raise ValueError("the stream is under another key")
    cipher, nonce, body = AESGCM(made[:32]), int.from_bytes(made[32:44]), data[56:]
    chunks = [body[start : start + 16400] for start in range(0, len(body) + 1, 16400)]
    return b"".join(
        cipher.decrypt((nonce ^ n).to_bytes(12), chunk, None) for n, chunk in enumerate(chunks)
    )


def decode(data: bytes, seed: bytes, binding: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """Return description and content; ``binding`` has context and, if of a tenant, its key."""
    room = int.from_bytes(data[6:10])
    copy, body = data[10 : 10 + room], data[10 + 2 * room :]
    if data[:6] != b"QPHF\x02\x00" or data[10 + room : 10 + 2 * room] != copy:
        raise ValueError("not a whole file of format 2")
    if hashlib.sha256(copy[:-32]).digest() != copy[-32:]:
        raise ValueError("the recipients are damaged")
    place, length = 1, 4 + int.from_bytes(body[:4])
    for _ in range(copy[0]):
        wrapped = copy[place + 2 : place + 2 + int.from_bytes(copy[place : place + 2])]
        place += 2 + len(wrapped)
        name, kem, load = KEMS[int.from_bytes(wrapped[5:7])]
        private = load(seed)
        public = hashlib.sha256(private.public_key().public_bytes_raw()).digest()
        who = {"public_key": public.hex(), "format": "qpher-public-file-key/1"}
        who = {3: {"format": "qpher-file-key/1"}, 6: who}[wrapped[4]]
        info = json.dumps({**binding, **who, "algorithm": name}, sort_keys=True,
                          ensure_ascii=False, separators=(",", ":")).encode()  # fmt: skip
        key = Suite(kem, KDF.HKDF_SHA256, AEAD.AES_256_GCM).decrypt(wrapped[11:], private, info)
        about = stream(key, body[4:length], b"qpher-file/2 description")
        context = b"qpher-file/2 content" + hashlib.sha256(body[4:length]).digest()
        return json.loads(about), stream(key, body[length:], context)
    raise ValueError("it has no recipients")
