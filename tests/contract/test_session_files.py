# SPDX-License-Identifier: Apache-2.0
"""What ``session.kem.encrypt_file`` and ``decrypt_file`` promise."""

import io
import os
from pathlib import Path

import pytest

from qpher_core.chunked import decrypt_stream
from qpher_core.errors import DecryptionFailed, NotFound, StateConflict, ValidationError
from qpher_core.file_body import read_description
from qpher_core.file_header import read_header
from qpher_core.session import Session

CHUNK = 16 * 1024
SEALED_CHUNK = CHUNK + 16
SIZES = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 1024 * 1024]


@pytest.fixture
def kem_session(session: Session, kem: str) -> Session:
    """Return a session that has a key of the algorithm."""
    session.keys.generate(kem)
    return session


@pytest.fixture
def sealed(kem_session: Session, kem: str) -> bytes:
    """Return an encrypted file of four chunks, three of them full."""
    target = io.BytesIO()
    kem_session.kem.encrypt_file(io.BytesIO(bytes(3 * CHUNK + 5)), target, algorithm=kem)
    return target.getvalue()


@pytest.mark.parametrize("size", SIZES)
def test_files_open_again(kem_session: Session, kem: str, size: int, tmp_path: Path) -> None:
    """A file of any size decrypts to itself; sizes and progress are told."""
    source, box, clear = tmp_path / "a file", tmp_path / "box", tmp_path / "clear"
    source.write_bytes(os.urandom(size))
    told: list[int] = []
    done = kem_session.kem.encrypt_file(source, str(box), algorithm=kem, progress=told.append)
    assert (done.plaintext_bytes, done.ciphertext_bytes) == (size, box.stat().st_size)
    assert sum(told) == size
    opened = kem_session.kem.decrypt_file(str(box), clear, 1, kem, progress=told.append)
    assert clear.read_bytes() == source.read_bytes()
    assert (opened.plaintext_bytes, opened.ciphertext_bytes) == (size, box.stat().st_size)
    assert sum(told) == 2 * size
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a file", "box", "clear"]
    for result, action in ((done, "kem.encrypt_file"), (opened, "kem.decrypt_file")):
        assert (result.key_version, result.algorithm) == (1, kem)
        assert kem_session.audit.entry(result.receipt).fields["action"] == action


def test_file_objects_are_taken(kem_session: Session, kem: str) -> None:
    """Sources and targets may be binary files, and are left open."""
    box, clear = io.BytesIO(), io.BytesIO()
    kem_session.kem.encrypt_file(io.BytesIO(b"content"), box, algorithm=kem)
    box.seek(0)
    kem_session.kem.decrypt_file(box, clear, 1, kem)
    assert clear.getvalue() == b"content"


class Dribble(io.RawIOBase):
    """A source that gives a few bytes at a time, as a pipe may."""

    def __init__(self, data: bytes) -> None:
        self._source = io.BytesIO(data)

    def read(self, size: int = -1) -> bytes:
        """Return at most seven bytes."""
        return self._source.read(min(size, 7) if size >= 0 else 7)


def test_slow_sources_are_read_to_their_end(kem_session: Session, kem: str) -> None:
    """A source that gives its bytes in small pieces is read whole, both ways."""
    content = os.urandom(CHUNK + 100)
    box, clear = io.BytesIO(), io.BytesIO()
    kem_session.kem.encrypt_file(Dribble(content), box, algorithm=kem)
    kem_session.kem.decrypt_file(Dribble(box.getvalue()), clear, 1, kem)
    assert clear.getvalue() == content


def test_a_file_can_replace_itself(kem_session: Session, kem: str, tmp_path: Path) -> None:
    """Source and target may be the same path."""
    path = tmp_path / "file"
    path.write_bytes(b"content")
    kem_session.kem.encrypt_file(path, path, algorithm=kem)
    assert b"content" not in path.read_bytes()
    kem_session.kem.decrypt_file(path, path, 1, kem)
    assert path.read_bytes() == b"content"


def alterations(sealed: bytes) -> dict[str, bytes]:
    """Return the encrypted file of four chunks altered in many ways."""
    stream = len(sealed) - (3 * SEALED_CHUNK + 5 + 16)
    chunks = [sealed[stream + n * SEALED_CHUNK : stream + (n + 1) * SEALED_CHUNK] for n in range(4)]
    head, first, next_, third, last = sealed[:stream], *chunks

    def flipped(place: int) -> bytes:
        data = bytearray(sealed)
        data[place] ^= 0x40
        return bytes(data)

    salt, commitment = stream - 56, stream - 32
    header = read_header(sealed)
    second, body = 10 + header.room, 10 + 2 * header.room
    return {
        "empty": b"",
        "half the header": sealed[:50],
        "header alone": head,
        "magic": flipped(0),
        "format": flipped(4),
        "state": flipped(5),
        "room": flipped(9),
        "number of recipients": flipped(10),
        "no recipients": header.with_recipients([]).encode() + sealed[body:],
        "recipient length": flipped(11),
        "wrapped key": flipped(100),
        "wrapped key, both copies": header.with_recipients(
            [header.recipients[0][:-1] + bytes([header.recipients[0][-1] ^ 1])]
        ).encode()
        + sealed[body:],
        "padding": flipped(second - 33),
        "check": flipped(second - 1),
        "second copy": flipped(second + 100),
        "padding of the second copy": flipped(body - 33),
        "length of the description": flipped(body + 3),
        "description": flipped(body + 4 + 56),
        "commitment of the description": flipped(body + 4 + 24),
        "salt": flipped(salt),
        "commitment": flipped(commitment),
        "first chunk": flipped(stream),
        "tag of a middle chunk": flipped(stream + 2 * SEALED_CHUNK - 1),
        "last byte": flipped(-1),
        "cut by one byte": sealed[:-1],
        "cut after a full chunk": head + first + next_ + third,
        "cut after the first chunk": head + first,
        "appended": sealed + b"\x00",
        "appended chunk": sealed + first,
        "chunks swapped": head + next_ + first + third + last,
        "chunk repeated": head + first + first + next_ + third + last,
        "chunk left out": head + first + third + last,
    }


def test_altered_files_do_not_appear(
    kem_session: Session, kem: str, sealed: bytes, tmp_path: Path
) -> None:
    """Whatever was done to an encrypted file: one error, no target, no leftovers."""
    for what, data in alterations(sealed).items():
        box, clear = tmp_path / "box", tmp_path / "clear"
        box.write_bytes(data)
        with pytest.raises(DecryptionFailed, match="the input cannot be decrypted"):
            kem_session.kem.decrypt_file(box, clear, 1, kem)
        assert [path.name for path in tmp_path.iterdir()] == ["box"], what


def test_an_existing_target_stays_on_failure(
    kem_session: Session, kem: str, sealed: bytes, tmp_path: Path
) -> None:
    """A target that exists keeps its content when decryption fails."""
    clear = tmp_path / "clear"
    clear.write_bytes(b"before")
    with pytest.raises(DecryptionFailed):
        kem_session.kem.decrypt_file(io.BytesIO(sealed[:-1]), clear, 1, kem)
    assert clear.read_bytes() == b"before"


def test_files_are_bound(kem_session: Session, kem: str) -> None:
    """A file opens under its own context, version and name alone."""
    box = io.BytesIO()
    kem_session.kem.encrypt_file(io.BytesIO(b"x"), box, algorithm=kem, context={"a": "b"})
    data = box.getvalue()
    kem_session.keys.rotate(kem)
    kem_session.keys.generate(kem, name="other")

    def decrypt(version: int = 1, **more: object) -> bytes:
        clear = io.BytesIO()
        kem_session.kem.decrypt_file(io.BytesIO(data), clear, version, kem, **more)
        return clear.getvalue()

    assert decrypt(context={"a": "b"}) == b"x"
    for version, more in (
        (1, {}),
        (1, {"context": {"a": "c"}}),
        (2, {"context": {"a": "b"}}),
        (1, {"context": {"a": "b"}, "name": "other"}),
    ):
        with pytest.raises(DecryptionFailed):
            decrypt(version, **more)


def test_every_bit_counts(session: Session) -> None:
    """A small file is refused whichever of its bytes was altered."""
    session.keys.generate("ML-KEM-768")
    box = io.BytesIO()
    session.kem.encrypt_file(io.BytesIO(b"content"), box, metadata={"a": "b"})
    data = box.getvalue()
    key = session.kem.unwrap_file_key(read_header(data).recipients, 1).symmetric_key
    body = len(read_header(data).encode())

    def decrypt_body(altered: bytes) -> None:
        reading = io.BytesIO(altered[body:])
        _, context = read_description(key, reading, legacy=False)
        decrypt_stream(key, reading, io.BytesIO(), context=context, progress=lambda _: None)

    decrypt_body(data)
    for place in range(len(data)):
        altered = data[:place] + bytes([data[place] ^ 1 << place % 8]) + data[place + 1 :]
        if place < body:
            assert read_header(altered).recipients == ()
        else:
            with pytest.raises(DecryptionFailed):
                decrypt_body(altered)


def test_a_message_is_no_file(kem_session: Session, kem: str, sealed: bytes) -> None:
    """A message does not open as a file, nor the key of a file as a message."""
    box = kem_session.kem.encrypt(b"x", algorithm=kem).ciphertext
    with pytest.raises(DecryptionFailed):
        kem_session.kem.decrypt_file(io.BytesIO(box), io.BytesIO(), 1, kem)
    with pytest.raises(DecryptionFailed):
        kem_session.kem.decrypt(read_header(sealed).recipients[0], 1, kem)


def test_refused_operations_leave_no_file(session: Session, tmp_path: Path) -> None:
    """Without a key, or with one that may not protect, no target appears."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"content")
    with pytest.raises(NotFound):
        session.kem.encrypt_file(source, target)
    session.keys.generate("ML-KEM-768")
    session.keys.suspend("ML-KEM-768", 1)
    with pytest.raises(StateConflict):
        session.kem.encrypt_file(source, target, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


@pytest.mark.parametrize(
    ("source", "target", "parameter"), [(b"path", io.BytesIO(), "source"), (None, None, "source")]
)
def test_sources_and_targets_are_checked(
    session: Session, source: object, target: object, parameter: str
) -> None:
    """What is neither a path nor a binary file is refused by name."""
    with pytest.raises(ValidationError) as caught:
        session.kem.encrypt_file(source, target)
    assert caught.value.parameter == parameter
    with pytest.raises(ValidationError) as caught:
        session.kem.encrypt_file(io.BytesIO(), 5)
    assert caught.value.parameter == "target"


def test_failed_decryptions_are_recorded(kem_session: Session, kem: str, sealed: bytes) -> None:
    """A file whose header is nonsense leaves an entry as a message does."""
    for data in (b"nonsense", sealed[:40], alterations(sealed)["wrapped key"]):
        before = len([*kem_session.audit.entries()])
        with pytest.raises(DecryptionFailed):
            kem_session.kem.decrypt_file(io.BytesIO(data), io.BytesIO(), 1, kem)
        entries = [entry.fields for entry in kem_session.audit.entries(start=before)]
        assert [(e["action"], e["outcome"]) for e in entries] == [("kem.decrypt_file", "failed")]
