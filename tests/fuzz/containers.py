# SPDX-License-Identifier: Apache-2.0
"""What must hold of every input that a container parser is given.

The first byte chooses the parser, the rest is its input; for files it is a script of edits, so that
the parts behind a checksum or a key are reached. Any other exception than the one that a parser
documents, and any byte that was not encrypted, is a finding.
"""

import contextlib
import hashlib
import io
import os
import random
import uuid
from collections.abc import Callable
from typing import Final

import qpher_core
from qpher_core import messages
from qpher_core.chunked import decrypt_stream, read_prefix
from qpher_core.discovery import open_primitives
from qpher_core.encrypted_reader import EncryptedFile
from qpher_core.envelopes import EncryptedEnvelope
from qpher_core.errors import DecryptionFailed, ValidationError
from qpher_core.field_values import KEY_MESSAGE_BYTES, FieldValue, seal
from qpher_core.file_body import Description, read_description, write_body
from qpher_core.file_header import FileHeader, read_header
from qpher_core.models import KeyRef
from qpher_core.recipients import PublicKeyRecipient
from qpher_core.signed_files import FileSignature

__all__ = ["PARSERS", "one_input", "seeds"]

KEM: Final = "ML-KEM-768"
#: Another one in each process: inputs that an earlier one kept are nothing but bytes to it.
SEED: Final = os.urandom(64)
CONTENT: Final = random.Random(8).randbytes(2 * 16384 + 100)
KEY: Final = open_primitives(None).kems[KEM].open_seed(SEED)
BINDING: Final = messages.PublicBinding(KEM, KEY.encapsulation_key, {})


def _file(content: bytes, metadata: dict[str, str]) -> bytes:
    made = io.BytesIO()
    recipient = PublicKeyRecipient(KEM, KEY.encapsulation_key)
    qpher_core.encrypt_file(io.BytesIO(content), made, [recipient], metadata=metadata)
    return made.getvalue()


FILE: Final = _file(CONTENT, {"name": "value"})
OTHER: Final = _file(bytes(20_000), {"name": "other"})
FILE_KEY: Final = messages.decrypt(KEY, BINDING, read_header(FILE).recipients[0])
#: A wrapped key of a field, as far as the parser of values looks at it.
FIELD_KEY: Final = messages.Binding(
    KeyRef(uuid.UUID(int=1), "default", KEM, 1), messages.Kind.FIELD_KEY, {}
).header.ljust(KEY_MESSAGE_BYTES[KEM], b"\0")


def edited(script: bytes) -> bytes:
    """Return the file with edits: each is what to do (1), where (3), how much (2), and a byte."""
    data = bytearray(FILE)
    for start in range(0, min(len(script), 70) - 6, 7):
        what = script[start] % 8
        place = int.from_bytes(script[start + 1 : start + 4]) % (len(data) + 1)
        size = int.from_bytes(script[start + 4 : start + 6])
        piece = data[place : place + size]
        if what == 0 and place < len(data):
            data[place] ^= script[start + 6]
        elif what == 1:
            del data[place:]
        elif what == 2:
            del data[place : place + size]
        elif what == 3:
            data[place:place] = piece
        elif what == 4:
            data += piece
        elif what == 5:
            data[place : place + size] = OTHER[place : place + size]
        elif what == 6:
            data[place : place + size] = bytes([script[start + 6]]) * len(piece)
        else:
            data[place:] = OTHER[place:]
    return bytes(data)


def header(given: bytes) -> None:
    """Any bytes as a header: none, or one that is written as it was read."""
    found = read_header(given)
    if found.recipients and given[5:6] != b"\xff":
        assert given.startswith(found.encode())


def header_copy(given: bytes) -> None:
    """Any bytes before a right checksum: the recipients of one copy, in both states."""
    room = max(4096, len(given) + 32)
    copy = given.ljust(room - 32, b"\0")
    whole = copy + hashlib.sha256(copy).digest()
    for state in (b"\x00", b"\xff"):
        data = b"QPHF\x02" + state + room.to_bytes(4) + whole * 2
        found = read_header(data)
        if found.recipients:
            assert found.copy == whole


def file(given: bytes) -> None:
    """An edited file gives a start of its content, or of the other's, or is refused."""
    data, clear = edited(given), io.BytesIO()
    with contextlib.suppress(DecryptionFailed):
        qpher_core.decrypt_file(io.BytesIO(data), clear, SEED, KEM)
        assert clear.getvalue() in {CONTENT, bytes(20_000)}
    assert CONTENT.startswith(clear.getvalue()) or bytes(20_000).startswith(clear.getvalue())


def reader(given: bytes) -> None:
    """An edited file read at places gives what is at those places, or is refused."""
    data, places = edited(given[:35]), given[35:]
    source = io.BytesIO(data)
    with contextlib.suppress(DecryptionFailed):
        FileHeader.read(source)
        description, context = read_description(FILE_KEY, source, legacy=False)
        opened = EncryptedFile(source, read_prefix(FILE_KEY, source, context), description)
        assert opened.size == len(CONTENT)
        for start in range(0, len(places) - 2, 3):
            place = int.from_bytes(places[start : start + 2])
            opened.seek(place)
            size = 1 + 64 * places[start + 2]
            assert opened.read(size) == CONTENT[place : place + size]


def body(given: bytes) -> None:
    """Any bytes as a body under a known key: refused, but for those that were encrypted."""
    reading, clear = io.BytesIO(given), io.BytesIO()
    with contextlib.suppress(DecryptionFailed):
        _, context = read_description(FILE_KEY, reading, legacy=given[:1] == b"\x01")
        decrypt_stream(FILE_KEY, reading, clear, context=context, progress=lambda _: None)
        assert clear.getvalue() in {b"x", CONTENT}


def description(given: bytes) -> None:
    """Any bytes as a description that someone encrypted: refused, or as they were encoded."""
    with contextlib.suppress(DecryptionFailed):
        assert Description.decode(given).encode() == given


def message(given: bytes) -> None:
    """Any bytes as a message: refused, whatever its header says, but for the one of the file."""
    for data in (given, BINDING.header + given):
        messages.read_header(data)
        with contextlib.suppress(DecryptionFailed):
            assert messages.decrypt(KEY, BINDING, data) == FILE_KEY


def signature(given: bytes) -> None:
    """Any text as the signature of a file: refused, or as it would be written."""
    text = given.decode("utf-8", "surrogateescape")
    with contextlib.suppress(ValidationError):
        assert FileSignature.from_text(text).to_text() == text


def envelope(given: bytes) -> None:
    """Any bytes as a local envelope: refused, or as they would be written."""
    with contextlib.suppress(ValidationError):
        assert EncryptedEnvelope.from_bytes(given, 1).to_bytes() == given


def field_value(given: bytes) -> None:
    """Any bytes as a value of a field: refused, or the parts that they were made of."""
    for data in (given, FIELD_KEY + given):
        with contextlib.suppress(DecryptionFailed):
            parts = FieldValue.from_bytes(data)
            assert parts.wrapped_key + parts.salt + parts.sealed == data
            assert parts.open(FILE_KEY, {}) == "value"


PARSERS: Final[tuple[Callable[[bytes], None], ...]] = (
    header, header_copy, file, reader, body, description, message, signature,
    envelope, field_value
)  # fmt: skip


def one_input(data: bytes) -> None:
    """Check one input."""
    if data:
        PARSERS[data[0] % len(PARSERS)](data[1:])


def seeds() -> list[bytes]:
    """Return inputs to begin with: one well-formed for each parser, and some edits."""
    sealed = io.BytesIO()
    write_body(FILE_KEY, Description.of({"a": "b"}, [("c", 1)]), io.BytesIO(b"x"), sealed,
               lambda _: None)  # fmt: skip
    wrapped = read_header(FILE).recipients[0]
    inputs = {
        header: [FILE[:8202], b"QPHF\x01\x01" + len(wrapped).to_bytes(2) + wrapped],
        header_copy: [b"\x01" + len(wrapped).to_bytes(2) + wrapped, b"\x02\x00\x01a\x00\x01b"],
        file: [b""] + [bytes([what, 0, n, 7, 16, 16, 1]) for what in range(8) for n in (0, 40)],
        reader: [
            bytes(35) + b"\x40\x00\x05\x80\x00\xff", bytes([0, 0, 60, 0, 0, 0, 1]) + bytes(60)
        ],
        body: [sealed.getvalue(), FILE[8202:]],
        description: [Description.of({"a": "ü"}, [("x/y", 5), ("z", 0)]).encode()],
        message: [wrapped, wrapped[11:]],
        signature: [
            b'{"algorithm":"ML-DSA-65","format":"qpher-signature/1","hash":"SHA-512",'
            b'"key_name":"default","key_version":1,"public_key_sha256":"' + b"00" * 32
            + b'","receipt":{"hash":"' + b"00" * 32 + b'","seq":1,"tenant":'
            b'"11111111-2222-4333-8444-555555555555"},"signature":"AAAA"}\n'
        ],
        envelope: [b"\x00\x05stuff" + bytes(30)],
        field_value: [seal(b"", FILE_KEY, "value", {}), seal(FIELD_KEY, FILE_KEY, "value", {})],
    }  # fmt: skip
    return [bytes([n]) + given for n, parser in enumerate(PARSERS) for given in inputs[parser]]
