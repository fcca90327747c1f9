# SPDX-License-Identifier: Apache-2.0
"""Files with several recipients, metadata, several contents, and readers at any place."""

import io
import os
import random
import uuid
from pathlib import Path

import pytest

import qpher_core
from qpher_core import chunked, messages
from qpher_core.discovery import open_primitives
from qpher_core.errors import DecryptionFailed, NotFound, StateConflict, ValidationError
from qpher_core.file_body import Description, write_body
from qpher_core.file_header import FileHeader, read_header
from qpher_core.recipients import KeyRecipient, PublicKeyRecipient
from qpher_core.service import Qpher
from qpher_core.session import Session

CHUNK = 16 * 1024
CONTENT = os.urandom(5 * CHUNK + 77)
CONTEXT = {"table": "cards"}
KEM, OTHER = "ML-KEM-768", "ML-KEM-1024"


@pytest.fixture
def owner(session: Session) -> Session:
    """Return a session with keys of two algorithms."""
    for algorithm in (KEM, OTHER):
        session.keys.generate(algorithm)
    return session


@pytest.fixture
def partner(service: Qpher) -> Session:
    """Return another tenant of the same service, with a key of the same address."""
    name = f"partner-{uuid.uuid4()}"
    service.tenants.create(name)
    session = service.session(name, actor="partner")
    session.keys.generate(KEM)
    return session


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a plain file."""
    made = tmp_path / "plain"
    made.write_bytes(CONTENT)
    return made


def opened(session: Session, path: Path, version: int = 1, algorithm: str = KEM) -> bytes:
    """Return the content of an encrypted file."""
    clear = io.BytesIO()
    session.kem.decrypt_file(path, clear, version, algorithm, context=CONTEXT)
    return clear.getvalue()


def test_each_recipient_opens_the_file(owner: Session, partner: Session, path: Path) -> None:
    """Own keys of several algorithms and names, and another tenant by its public key alone."""
    owner.keys.generate(KEM, name="backup")
    theirs = partner.keys.get(KEM, 1)
    box, before = path.with_suffix(".qph"), len([*owner.audit.entries()])
    owner.kem.encrypt_file(
        path, box, algorithm=OTHER, context=CONTEXT,
        recipients=[
            KeyRecipient(KEM, name="backup"), PublicKeyRecipient(KEM, theirs.public_key)
        ],
    )  # fmt: skip
    entries = [entry.fields for entry in owner.audit.entries(start=before)]
    assert [(e["action"], e["key"]["name"]) for e in entries] == [
        ("kem.encrypt_file", "default"), ("kem.encrypt_file", "backup")
    ]  # fmt: skip
    assert opened(owner, box, 1, OTHER) == CONTENT
    clear = io.BytesIO()
    owner.kem.decrypt_file(box, clear, 1, KEM, name="backup", context=CONTEXT)
    assert clear.getvalue() == CONTENT
    assert opened(partner, box) == CONTENT
    with pytest.raises(DecryptionFailed):
        opened(owner, box, 1, KEM)
    partner.keys.rotate(KEM)
    with pytest.raises(DecryptionFailed):
        opened(partner, box, 2)
    with pytest.raises(DecryptionFailed):
        partner.kem.decrypt_file(box, io.BytesIO(), 1, context={"table": "other"})


def test_public_keys_need_no_account(owner: Session, path: Path, kem: str) -> None:
    """Without store and session one encrypts to a public key, and opens with a private one."""
    name = "theirs"
    key = owner.keys.generate(kem, name=name)
    scheme = open_primitives(None).kems[kem]
    seed = scheme.generate_seed()
    outsider = PublicKeyRecipient(kem, scheme.open_seed(seed).encapsulation_key)
    box = path.with_suffix(".qph")
    size = qpher_core.encrypt_file(
        path, box, [outsider, PublicKeyRecipient(kem, key.public_key)],
        context=CONTEXT, metadata={"from": "nobody"},
    )  # fmt: skip
    assert size == len(CONTENT)
    clear = io.BytesIO()
    told = owner.kem.decrypt_file(box, clear, 1, kem, name=name, context=CONTEXT)
    assert (clear.getvalue(), told.metadata) == (CONTENT, {"from": "nobody"})
    out = path.with_suffix(".out")
    assert qpher_core.decrypt_file(box, out, seed, kem, context=CONTEXT) == {"from": "nobody"}
    assert out.read_bytes() == CONTENT
    out.unlink()
    for given, context in ((scheme.generate_seed(), CONTEXT), (seed, None)):
        with pytest.raises(DecryptionFailed):
            qpher_core.decrypt_file(box, out, given, kem, context=context)
    with pytest.raises(ValidationError, match="seed"):
        qpher_core.decrypt_file(box, out, seed[:-1], kem)
    assert not out.exists()


def test_recipients_are_checked(owner: Session, path: Path) -> None:
    """A wrong recipient is refused by name, and no file appears."""
    box = path.with_suffix(".qph")
    for recipients in (
        "ML-KEM-768",
        [KEM],
        [KeyRecipient()] * 255,
        [KeyRecipient("ML-DSA-65")],
        [PublicKeyRecipient(KEM, bytes(5))],
        [PublicKeyRecipient(KEM, b"\xff" * 1184)],
    ):
        with pytest.raises(ValidationError):
            owner.kem.encrypt_file(path, box, recipients=recipients)
    for recipients in ([], [KeyRecipient()]):
        with pytest.raises(ValidationError):
            qpher_core.encrypt_file(path, box, recipients)
    with pytest.raises(NotFound):
        owner.kem.encrypt_file(path, box, recipients=[KeyRecipient(name="absent")])
    with pytest.raises(ValidationError, match="PEM"):
        PublicKeyRecipient.from_pem("nothing")
    assert not box.exists()


def test_metadata_is_secret_and_authentic(owner: Session, path: Path) -> None:
    """Metadata comes back as it was; it is not in the file, and goes with no other content."""
    one, two = io.BytesIO(), io.BytesIO()
    metadata = {"owner": "canary-4711", "ключ": "ü"}
    owner.kem.encrypt_file(path, one, context=CONTEXT, metadata=metadata)
    owner.kem.encrypt_file(path, two, context=CONTEXT, metadata={"owner": "nobody-0000", "a": ""})
    assert b"canary" not in one.getvalue()
    assert "canary" not in repr(owner.kem.encrypt_file(path, io.BytesIO(), metadata=metadata))
    one.seek(0)
    assert owner.kem.decrypt_file(one, io.BytesIO(), 1, context=CONTEXT).metadata == metadata
    for wrong in (5, {"a": 5}, {"a": "b\x00"}, {str(n): "x" for n in range(10_000)}):
        with pytest.raises(ValidationError) as caught:
            owner.kem.encrypt_file(path, io.BytesIO(), metadata=wrong)
        assert (caught.value.parameter or "").startswith("metadata")


def test_descriptions_and_contents_are_not_mixed(owner: Session) -> None:
    """Even under one file key, the content of one body does not follow another's description."""
    key, bodies = bytes(range(32)), []
    for metadata in ({"a": "1"}, {"a": "2"}):
        body = io.BytesIO()
        write_body(key, Description.of(metadata), io.BytesIO(b"x"), body, lambda _: None)
        bodies.append(body.getvalue())
    wrapped = owner.kem.wrap_file_key(key).wrapped_key
    length = 4 + int.from_bytes(bodies[0][:4])
    head = FileHeader.new([wrapped]).encode()
    for body, good in ((bodies[0], True), (bodies[0][:length] + bodies[1][length:], False)):
        if good:
            owner.kem.decrypt_file(io.BytesIO(head + body), io.BytesIO(), 1)
            continue
        with pytest.raises(DecryptionFailed):
            owner.kem.decrypt_file(io.BytesIO(head + body), io.BytesIO(), 1)


def test_files_of_format_1_open(owner: Session, path: Path) -> None:
    """Files of the former format are read, at any place too, and change their key."""
    key = os.urandom(32)
    wrapped = owner.kem.wrap_file_key(key, context=CONTEXT).wrapped_key
    stream = io.BytesIO()
    chunked.encrypt_stream(
        key, io.BytesIO(CONTENT), stream, context=b"qpher-file/1", progress=lambda _: None
    )
    old = b"QPHF\x01\x01" + len(wrapped).to_bytes(2) + wrapped + stream.getvalue()
    path.write_bytes(old)
    assert opened(owner, path) == CONTENT
    with owner.kem.open_encrypted(path, 1, context=CONTEXT) as file:
        assert (file.metadata, file.files) == ({}, {})
        file.seek(CHUNK + 3)
        assert file.read(10) == CONTENT[CHUNK + 3 : CHUNK + 13]
    done = owner.kem.rewrap_file(path, 1, to=[KeyRecipient(OTHER)], context=CONTEXT)
    assert not done.in_place
    assert opened(owner, path, 1, OTHER) == CONTENT


def test_readers_are_files(owner: Session, path: Path) -> None:
    """Random seeks and reads give what a plain file gives; the end and the closing too."""
    box, choose = path.with_suffix(".qph"), random.Random(4)
    owner.kem.encrypt_file(path, box, context=CONTEXT, metadata={"a": "b"})
    with owner.kem.open_encrypted(box, 1, context=CONTEXT) as file, path.open("rb") as plain:
        assert (file.size, file.metadata) == (len(CONTENT), {"a": "b"})
        assert (file.readable(), file.seekable(), file.writable()) == (True, True, False)
        for _ in range(200):
            whence = choose.choice([0, 1, 2])
            low = {0: 0, 1: -file.tell(), 2: -len(CONTENT)}[whence]
            offset, size = choose.randint(low, len(CONTENT)), choose.choice([0, 1, 100, 40_000, -1])
            assert file.seek(offset, whence) == plain.seek(offset, whence)
            assert file.read(size) == plain.read(size)
        file.seek(0)
        plain.seek(0)
        assert list(file) == list(plain)
        with pytest.raises(ValueError, match="before"):
            file.seek(-1)
        with pytest.raises(io.UnsupportedOperation):
            file.write(b"x")
    with pytest.raises(ValueError, match="closed"):
        file.read()
    kept = io.BytesIO(box.read_bytes())
    with owner.kem.open_encrypted(kept, 1, context=CONTEXT) as file:
        assert file.read() == CONTENT
    assert not kept.closed
    entries = [*owner.audit.entries()]
    assert [e.fields["action"] for e in entries[-2:]] == ["kem.decrypt_file"] * 2


def test_readers_refuse_what_was_altered(owner: Session, path: Path) -> None:
    """A cut or longer file does not open; an altered chunk is refused, and the others are read."""
    box = path.with_suffix(".qph")
    owner.kem.encrypt_file(path, box, context=CONTEXT)
    data = box.read_bytes()
    for wrong in (
        data[:-1],
        data[: -77 - 16],
        data + b"x",
        data + bytes(CHUNK + 16),
        b"",
        data[:9],
    ):
        with pytest.raises(DecryptionFailed):
            owner.kem.open_encrypted(io.BytesIO(wrong), 1, context=CONTEXT)
    third = len(data) - 77 - 16 - 3 * (CHUNK + 16)
    altered = bytearray(data)
    altered[third + 5] ^= 1
    with owner.kem.open_encrypted(io.BytesIO(altered), 1, context=CONTEXT) as file:
        file.seek(2 * CHUNK)
        with pytest.raises(DecryptionFailed):
            file.read(1)
        file.seek(-10, io.SEEK_END)
        assert file.read() == CONTENT[-10:]
    with pytest.raises(DecryptionFailed):
        owner.kem.open_encrypted(box, 1)
    read, write = os.pipe()
    os.close(write)
    with os.fdopen(read, "rb") as pipe, pytest.raises(ValidationError, match="seekable"):
        owner.kem.open_encrypted(pipe, 1, context=CONTEXT)


def test_several_files_are_one(owner: Session, path: Path, tmp_path: Path) -> None:
    """Several files, empty and deep ones too, come back in a folder, and one by one by a reader."""
    (tmp_path / "empty").write_bytes(b"")
    deep = "d/" * 255 + "e"
    sources = {"a/b": path, "a/none": tmp_path / "empty", "c": path, deep: tmp_path / "empty"}
    box, folder = tmp_path / "box", tmp_path / "folder"
    done = owner.kem.encrypt_files(sources, box, metadata={"of": "four"})
    assert (done.plaintext_bytes, done.ciphertext_bytes) == (2 * len(CONTENT), box.stat().st_size)
    with owner.kem.open_encrypted(box, 1) as file:
        assert list(file.files) == list(sources)
        assert (file.read_file("c"), file.read_file(deep)) == (CONTENT, b"")
        with pytest.raises(NotFound):
            file.read_file("b")
    with pytest.raises(ValidationError, match="decrypt_files"):
        owner.kem.decrypt_file(box, tmp_path / "one", 1)
    told = owner.kem.decrypt_files(box, folder, 1)
    assert told.metadata == {"of": "four"}
    found = {str(p.relative_to(folder)): p for p in folder.rglob("*") if p.is_file()}
    assert {name: p.read_bytes() for name, p in found.items()} == {
        name: source.read_bytes() for name, source in sources.items()
    }
    with pytest.raises(ValidationError, match="exists"):
        owner.kem.decrypt_files(box, folder, 1)
    data = bytearray(box.read_bytes())
    data[-40_000] ^= 1
    with pytest.raises(DecryptionFailed):
        owner.kem.decrypt_files(io.BytesIO(data), tmp_path / "new", 1)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["box", "empty", "folder", "plain"]


@pytest.mark.parametrize(
    "names",
    [
        *([name] for name in ("../a", "/a", "a//b", "", "a\\b", ".", "a\nb")),
        ["a", "a/b"],
        pytest.param(["a/" * 256 + "a"], id="too deep"),
        pytest.param(["a/" * 1500 + "a"], id="far too deep"),
    ],
)
def test_names_stay_in_the_folder(owner: Session, path: Path, names: list[str]) -> None:
    """No name leads elsewhere, neither when encrypting nor in a file that someone else made."""
    with pytest.raises(ValidationError):
        owner.kem.encrypt_files(dict.fromkeys(names, path), io.BytesIO())
    key, files = os.urandom(32), tuple((name, 1) for name in names)
    body = io.BytesIO()
    source = io.BytesIO(b"x" * len(names))
    write_body(key, Description({}, files), source, body, lambda _: None)
    head = FileHeader.new([owner.kem.wrap_file_key(key).wrapped_key]).encode()
    with pytest.raises(DecryptionFailed):
        owner.kem.decrypt_files(io.BytesIO(head + body.getvalue()), path.parent / "new", 1)
    assert [entry.name for entry in path.parent.iterdir()] == ["plain"]


@pytest.mark.parametrize("size", [1, 3])
def test_contents_have_the_size_that_was_said(owner: Session, path: Path, size: int) -> None:
    """A file whose content is shorter or longer than its description says is refused."""
    key, body = os.urandom(32), io.BytesIO()
    write_body(key, Description({}, (("a", size),)), io.BytesIO(b"xy"), body, lambda _: None)
    data = FileHeader.new([owner.kem.wrap_file_key(key).wrapped_key]).encode() + body.getvalue()
    with pytest.raises(DecryptionFailed):
        owner.kem.decrypt_files(io.BytesIO(data), path.parent / "new", 1)
    with pytest.raises(DecryptionFailed):
        owner.kem.open_encrypted(io.BytesIO(data), 1)
    assert [entry.name for entry in path.parent.iterdir()] == ["plain"]


def test_a_file_that_changes_its_size_is_not_taken(owner: Session, path: Path) -> None:
    """A source that grows or shrinks while it is read is an error, and no file appears."""
    box = path.with_suffix(".qph")
    for change in (lambda: path.write_bytes(b"short"), lambda: path.write_bytes(CONTENT * 2)):
        path.write_bytes(CONTENT)
        first = path.with_name("first")
        first.write_bytes(bytes(2 << 20))
        with pytest.raises(ValidationError, match="changed"):
            owner.kem.encrypt_files({"1": first, "2": path}, box, progress=lambda _, c=change: c())
        assert not box.exists()


def test_rewrapping_changes_the_header_alone(owner: Session, partner: Session, path: Path) -> None:
    """In place, the new key opens the file and the old one does not; others and metadata stay."""
    box, theirs = path.with_suffix(".qph"), partner.keys.get(KEM, 1).public_key
    owner.kem.encrypt_file(
        path, box, context=CONTEXT, metadata={"a": "b"},
        recipients=[PublicKeyRecipient(KEM, theirs)],
    )  # fmt: skip
    before, inode = box.read_bytes(), box.stat().st_ino
    done = owner.kem.rewrap_file(box, 1, to=[KeyRecipient(OTHER)], context=CONTEXT)
    assert (done.in_place, done.recipients, box.stat().st_ino) == (True, 2, inode)
    head = len(read_header(before).encode())
    assert box.read_bytes()[head:] == before[head:]
    assert opened(owner, box, 1, OTHER) == opened(partner, box) == CONTENT
    with pytest.raises(DecryptionFailed):
        opened(owner, box)
    owner.kem.rewrap_file(
        box, 1, OTHER, to=[KeyRecipient(), KeyRecipient(OTHER)], context=CONTEXT, keep_others=False
    )
    assert opened(owner, box) == opened(owner, box, 1, OTHER) == CONTENT
    with pytest.raises(DecryptionFailed):
        opened(partner, box)
    with pytest.raises(DecryptionFailed):
        partner.kem.rewrap_file(box, 1, to=[KeyRecipient()], context=CONTEXT)
    with pytest.raises(ValidationError):
        owner.kem.rewrap_file(box, 1, to=[], context=CONTEXT)
    owner.keys.suspend(OTHER, 1)
    kept = box.read_bytes()
    with pytest.raises(StateConflict):
        owner.kem.rewrap_file(box, 1, to=[KeyRecipient(OTHER, 1)], context=CONTEXT)
    assert box.read_bytes() == kept
    for _ in range(4):
        owner.keys.generate(KEM, name=str(_))
    grown = owner.kem.rewrap_file(
        box, 1, to=[KeyRecipient(name=str(n)) for n in range(4)], context=CONTEXT
    )
    assert (grown.in_place, grown.recipients) == (False, 5)
    clear = io.BytesIO()
    owner.kem.decrypt_file(box, clear, 1, name="3", context=CONTEXT)
    assert clear.getvalue() == CONTENT


def test_migration_changes_headers_in_place(owner: Session, partner: Session, path: Path) -> None:
    """A directory moves to another key without a body being copied; other recipients stay."""
    folder, theirs = path.parent / "folder", partner.keys.get(KEM, 1).public_key
    folder.mkdir()
    box = folder / "a.qph"
    owner.kem.encrypt_file(
        path, box, context=CONTEXT, metadata={"a": "b"},
        recipients=[PublicKeyRecipient(KEM, theirs)],
    )  # fmt: skip
    inode = box.stat().st_ino
    report = owner.migrate(folder, to_algorithm=OTHER, context=CONTEXT)
    assert (report.moved, report.complete) == (1, True)
    assert box.stat().st_ino == inode
    assert opened(owner, box, 1, OTHER) == opened(partner, box) == CONTENT
    assert owner.migrate(folder, to_algorithm=OTHER, context=CONTEXT).already == 1


def test_migration_moves_every_recipient_of_ones_own(
    owner: Session, partner: Session, path: Path
) -> None:
    """Of a file for several keys of the tenant none keeps an old one; those of others stay."""
    box, theirs = path.with_suffix(".qph"), partner.keys.get(KEM, 1).public_key
    owner.keys.generate(KEM, name="another")
    owner.kem.encrypt_file(
        path, box, name="another", context=CONTEXT,
        recipients=[KeyRecipient(), KeyRecipient(OTHER), PublicKeyRecipient(KEM, theirs)],
    )  # fmt: skip
    owner.keys.rotate(KEM)
    plan = owner.migrate(box, context=CONTEXT, dry_run=True)
    assert (plan.moved, plan.already) == (1, 0)
    report = owner.migrate(box, context=CONTEXT)
    assert (report.moved, report.failed, report.complete) == (1, (), True)
    assert report.sources == {(KEM, 1): 1, (OTHER, 1): 1}
    with box.open("rb") as file:
        headers = [messages.read_header(one) for one in FileHeader.read(file).recipients]
    assert [h and (h.algorithm, h.version) for h in headers] == [
        (KEM, 1),  # of the key with another name
        (KEM, 2),
        (KEM, 2),
        None,
    ]
    assert opened(owner, box, 2) == opened(partner, box) == CONTENT
    owner.kem.decrypt_file(box, io.BytesIO(), 1, name="another", context=CONTEXT)
    again = owner.migrate(box, context=CONTEXT)
    assert (again.moved, again.already, again.failed) == (0, 1, ())


def test_a_recipient_that_cannot_be_moved_is_told(owner: Session, path: Path) -> None:
    """The others of the file are moved, also to a key that it has already, and it is a failure."""
    box = path.with_suffix(".qph")
    owner.keys.rotate(KEM)
    recipients = [KeyRecipient(OTHER), KeyRecipient(KEM, 2)]
    owner.kem.encrypt_file(path, box, 2, context=CONTEXT, recipients=recipients)
    owner.keys.rotate(KEM)
    owner.keys.retire(OTHER, 1, force=True)
    owner.keys.archive(OTHER, 1)
    report = owner.migrate(box, context=CONTEXT)
    assert (report.moved, report.already, report.sources) == (0, 0, {(KEM, 2): 2})
    (failure,) = report.failed
    assert failure.code == "ERR_KMS_003"
    assert opened(owner, box, 3) == CONTENT
    owner.keys.restore(OTHER, 1)
    assert owner.migrate(box, context=CONTEXT).complete
    owner.keys.archive(OTHER, 1)
    owner.keys.destroy(OTHER, 1, force=True)
    assert owner.migrate(box, context=CONTEXT).already == 1
    assert opened(owner, box, 3) == CONTENT


def test_pipes_and_links_are_written_as_they_are(owner: Session, path: Path) -> None:
    """A named pipe stays one and carries the file; a link leads to where it led."""
    pipe, link, real = (path.with_name(name) for name in ("pipe", "link", "real"))
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    owner.kem.encrypt_file(io.BytesIO(b"content"), pipe)
    with os.fdopen(reader, "rb") as reading:
        data = reading.read()
    assert pipe.is_fifo()
    real.write_bytes(b"before")
    link.symlink_to(real)
    owner.kem.decrypt_file(io.BytesIO(data), link, 1)
    assert link.is_symlink()
    assert real.read_bytes() == b"content"
