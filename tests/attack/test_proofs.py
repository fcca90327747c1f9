# SPDX-License-Identifier: Apache-2.0
"""Forged proofs, and stores that were changed behind the anchors: each is refused by name."""

import base64
import contextlib
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import frozen

import qpher_core
from qpher_core import AnchorSettings, AuditIntegrityError, Problem, Receipt, verify_proof
from qpher_core.audit.note import Note
from qpher_core.audit.proof import LogProof
from qpher_core.protocols import StoreWriter
from tests.attack.conftest import Prompt
from tests.attack.exports import edited, flipped, forged_key
from tests.records import append

SIGNATURE = "ML-DSA-65"


@frozen
class Case:
    """Two signatures with their proofs, from two tenants of one service."""

    proof: str
    entry: bytes
    content: bytes
    keys: list[str]
    other_proof: str
    other_entry: bytes
    other_content: bytes
    rival_proof: str
    rival_entry: bytes
    rival_content: bytes


@pytest.fixture(scope="module")
def case() -> Case:
    """Return proofs of three signatures."""
    with qpher_core.open("memory:") as kms:
        made: list[object] = []
        for name in ("acme", "rival"):
            kms.tenants.create(name)
            session = kms.session(name, actor="tester")
            session.keys.generate(SIGNATURE)
            for _ in range(3):
                session.signatures.sign(b"before")
            signed = [session.signatures.sign(b"m%d" % i) for i in range(2)]
            for result in signed:
                entry = session.audit.entry(result.receipt)
                made += [session.audit.proof(result.receipt), entry.body, result.signature]
        return Case(*made[:3], kms.anchors.keys(), *made[3:9])


def _problem(*arguments: object) -> Problem:
    with pytest.raises(AuditIntegrityError) as caught:
        verify_proof(*arguments)
    return caught.value.problem


def test_a_sound_proof_binds_the_signature(case: Case) -> None:
    """The proof verifies with public keys alone and says who signed."""
    verified = verify_proof(case.proof, case.entry, case.content, case.keys[:1])
    assert verified.fields["action"] == "signatures.sign"
    assert verified.signers


def _path(proof: str, edit: Callable[[list[bytes]], object]) -> str:
    parsed = LogProof.parse(proof)
    path = list(parsed.path)
    edit(path)
    return str(LogProof(parsed.index, tuple(path), parsed.anchor))


def _index(proof: str, index: int) -> str:
    parsed = LogProof.parse(proof)
    return str(LogProof(index, parsed.path, parsed.anchor))


def _anchor(proof: str, edit: Callable[[str], str]) -> str:
    head, _, note = proof.partition("\n\n")
    return f"{head}\n\n{edit(note)}"


def _by_another_service(case: Case) -> tuple[object, ...]:
    other = forged_key("other.example")
    parsed = LogProof.parse(case.proof)
    note = Note(parsed.anchor.text).signed(other.sign(parsed.anchor.text))
    proof = str(LogProof(parsed.index, parsed.path, note))
    return proof, case.entry, case.content, [*case.keys, other.key]


FORGERIES: dict[str, tuple[Callable[[Case], tuple[object, ...]], Problem]] = {
    "another signature": (
        lambda c: (c.proof, c.entry, c.other_content, c.keys), Problem.OTHER_CONTENT),
    "a signature with a bit flipped": (
        lambda c: (c.proof, c.entry, c.content[:-1] + bytes([c.content[-1] ^ 1]), c.keys),
        Problem.OTHER_CONTENT),
    "no content": (lambda c: (c.proof, c.entry, None, c.keys), Problem.OTHER_CONTENT),
    "another entry": (
        lambda c: (c.proof, c.other_entry, c.other_content, c.keys), Problem.BAD_PROOF),
    "an entry of another tenant": (
        lambda c: (c.proof, c.rival_entry, c.rival_content, c.keys), Problem.BAD_PROOF),
    "an entry altered": (
        lambda c: (c.proof, c.entry.replace(b"tester", b"tester2"), c.content, c.keys),
        Problem.BAD_PROOF),
    "a hash of the path altered": (
        lambda c: (_path(c.proof, lambda p: p.__setitem__(0, bytes(32))), c.entry, c.content,
                   c.keys), Problem.BAD_PROOF),
    "a hash of the path missing": (
        lambda c: (_path(c.proof, lambda p: p.pop()), c.entry, c.content, c.keys),
        Problem.BAD_PROOF),
    "a hash too many": (
        lambda c: (_path(c.proof, lambda p: p.append(bytes(32))), c.entry, c.content, c.keys),
        Problem.BAD_PROOF),
    "another index": (
        lambda c: (_index(c.proof, 0), c.entry, c.content, c.keys), Problem.BAD_PROOF),
    "an index beyond the tree": (
        lambda c: (_index(c.proof, 1000), c.entry, c.content, c.keys), Problem.BAD_PROOF),
    "an index with a zero before it": (
        lambda c: (c.proof.replace("index ", "index 0"), c.entry, c.content, c.keys),
        Problem.BAD_ANCHOR),
    "an anchor altered": (
        lambda c: (_anchor(c.proof, lambda n: edited(n, lambda t: t.replace("qpher", "other"))),
                   c.entry, c.content, c.keys), Problem.BAD_SIGNATURE),
    "an anchor's signature flipped": (
        lambda c: (_anchor(c.proof, flipped), c.entry, c.content, c.keys),
        Problem.BAD_SIGNATURE),
    "the anchor of another tenant": (
        lambda c: (_anchor(c.proof, lambda _: c.rival_proof.partition("\n\n")[2]), c.entry,
                   c.content, c.keys), Problem.BAD_PROOF),
    "a key of the attacker's": (
        lambda c: (c.proof, c.entry, c.content, [forged_key("mallory").key]),
        Problem.UNKNOWN_KEY),
    "an anchor signed by another service": (_by_another_service, Problem.UNKNOWN_KEY),
    "no trusted key": (lambda c: (c.proof, c.entry, c.content, []), Problem.UNKNOWN_KEY),
    "another header": (
        lambda c: (c.proof.replace("@v1", "@v2"), c.entry, c.content, c.keys),
        Problem.BAD_PROOF),
    "a proof cut short": (
        lambda c: (c.proof[:40], c.entry, c.content, c.keys), Problem.BAD_PROOF),
    "nothing": (lambda c: ("", c.entry, c.content, c.keys), Problem.BAD_PROOF),
}  # fmt: skip


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_proof_is_refused_by_name(case: Case, name: str) -> None:
    """Whatever is exchanged or altered, the proof does not verify."""
    forge, problem = FORGERIES[name]
    assert _problem(*forge(case)) is problem


def test_extra_data_is_ignored(case: Case) -> None:
    """A proof may carry opaque data; it changes nothing."""
    extra = base64.b64encode(b"opaque").decode()
    proof = case.proof.replace("\nindex", f"\nextra {extra}\nindex", 1)
    assert verify_proof(proof, case.entry, case.content, case.keys)


# --- stores ------------------------------------------------------------------------------------


def _anchored(kms: qpher_core.Qpher) -> qpher_core.Tenant:
    tenant = kms.tenants.get("acme")
    kms.anchors.publish(tenant)
    return tenant


def _refused(kms: qpher_core.Qpher, tenant: qpher_core.Tenant) -> Problem:
    with pytest.raises(AuditIntegrityError) as caught:
        kms.anchors.publish(tenant)
    return caught.value.problem


def test_a_log_cut_behind_its_anchor_is_not_anchored_again(
    kms: qpher_core.Qpher, prompt: Prompt
) -> None:
    """A head and tail set back to before the anchor are noticed, by verification too."""
    tenant = _anchored(kms)
    state = kms._store.audit.state(tenant.id)
    entry = next(kms._store.audit.read(tenant.id, start=1, limit=1))
    prompt("DELETE FROM audit_entries WHERE tenant_id = ? AND seq >= 2", (str(tenant.id),))
    peaks = kms._store.audit.subtrees(tenant.id, [(1, 0)])[0]
    prompt(
        "UPDATE audit_heads SET size = 2, hash = ?, peaks = ? WHERE tenant_id = ?",
        (entry.hash, peaks, str(tenant.id)),
    )
    assert state.size > 2
    assert _refused(kms, tenant) is Problem.ROLLED_BACK
    report = kms.audit.verify("acme")
    assert (report.bad_seq, report.problem.partition(":")[0]) == (2, Problem.ROLLED_BACK)


def test_a_log_that_is_gone_while_its_anchors_stay_is_named(
    kms: qpher_core.Qpher, prompt: Prompt
) -> None:
    """Without entries and head a log looks like one that never was, but for its anchors."""
    tenant = _anchored(kms)
    for table in ("audit_entries", "audit_heads"):
        prompt(f"DELETE FROM {table} WHERE tenant_id = ?", (str(tenant.id),))
    report = kms.audit.verify("acme")
    assert (report.bad_seq, report.problem.partition(":")[0]) == (0, Problem.ROLLED_BACK)


@pytest.mark.parametrize("column", ["nodes", "body"])
def test_an_altered_tree_is_noticed(kms: qpher_core.Qpher, prompt: Prompt, column: str) -> None:
    """Stored hashes or entries that are not those of the log fail its verification."""
    tenant = kms.tenants.get("acme")
    prompt(
        f"UPDATE audit_entries SET {column} = zeroblob(length({column}))"
        " WHERE tenant_id = ? AND seq = 1",
        (str(tenant.id),),
    )
    report = kms.audit.verify("acme")
    assert report.bad_seq == 1


def test_altered_peaks_are_not_anchored(kms: qpher_core.Qpher, prompt: Prompt) -> None:
    """A head with another tree does not continue the anchor."""
    tenant = _anchored(kms)
    prompt("UPDATE audit_heads SET peaks = zeroblob(length(peaks))", ())
    assert _refused(kms, tenant) is Problem.FORKED
    assert not kms.audit.verify("acme").ok


def test_a_proof_over_an_altered_tree_is_not_given(
    kms: qpher_core.Qpher, acme: qpher_core.Session, prompt: Prompt
) -> None:
    """No proof is handed out that would not verify."""
    receipt = acme.signatures.sign(b"m").receipt
    _anchored(kms)
    prompt(
        "UPDATE audit_entries SET nodes = zeroblob(length(nodes)) WHERE seq <> ?", (receipt.seq,)
    )
    with pytest.raises(AuditIntegrityError) as caught:
        acme.audit.proof(receipt)
    assert caught.value.problem is Problem.REWRITTEN


def _grown(kms: qpher_core.Qpher, tenant: qpher_core.Tenant, size: int) -> list[Receipt]:
    """Let a log grow to a size, anchor it, and return receipts from all over it."""

    def work(writer: StoreWriter) -> None:
        for _ in range(size - writer.audit.head(tenant.id)[0]):
            append(writer, tenant.id)

    kms._store.commit(work)
    kms.anchors.publish(tenant)
    return [entry.receipt for entry in kms._store.audit.read(tenant.id)][10::50]


@pytest.mark.parametrize(("seq", "column"), [(511, "nodes"), (300, "nodes"), (300, "body")])
def test_verification_reads_what_is_stored(
    kms: qpher_core.Qpher, acme: qpher_core.Session, prompt: Prompt, seq: int, column: str
) -> None:
    """Rows that are altered after proofs left their hashes in memory are named all the same."""
    tenant = kms.tenants.get("acme")
    for receipt in _grown(kms, tenant, 700):
        acme.audit.proof(receipt)
    prompt(
        f"UPDATE audit_entries SET {column} = zeroblob(length({column}))"
        " WHERE tenant_id = ? AND seq = ?",
        (str(tenant.id), seq),
    )
    assert acme.audit.verify().bad_seq == seq
    assert kms.audit.verify("acme").bad_seq == seq


def test_a_proof_is_of_the_log_that_was_restored_meanwhile(
    kms: qpher_core.Qpher, acme: qpher_core.Session, tmp_path: Path
) -> None:
    """A backup comes back under the open service, and another log grows from it: proofs hold."""
    tenant = kms.tenants.get("acme")
    _grown(kms, tenant, 300)
    with (
        contextlib.closing(sqlite3.connect(tmp_path / "q.db")) as live,
        contextlib.closing(sqlite3.connect(":memory:")) as backup,
    ):
        live.backup(backup)
        for receipt in _grown(kms, tenant, 1100):
            acme.audit.proof(receipt)
        backup.backup(live)
    assert kms._store.audit.state(tenant.id).size == 300
    for receipt in _grown(kms, tenant, 1100):
        verify_proof(acme.audit.proof(receipt), acme.audit.entry(receipt), None, kms.anchors.keys())
    assert kms.audit.verify("acme").ok


def test_an_altered_anchor_in_the_store_stops_anchoring(
    kms: qpher_core.Qpher, acme: qpher_core.Session, prompt: Prompt
) -> None:
    """An anchor that somebody edited no longer verifies, and nothing is built on it."""
    tenant = _anchored(kms)
    acme.signatures.sign(b"m")
    prompt("UPDATE audit_anchors SET note = replace(note, char(10) || 'head', 'A')", ())
    assert _refused(kms, tenant) in {Problem.BAD_ANCHOR, Problem.BAD_SIGNATURE}


@pytest.mark.parametrize("grown", [False, True])
def test_a_restored_backup_is_noticed_through_what_was_published(
    tmp_path: Path, *, grown: bool
) -> None:
    """An old copy of the database, alone or grown again, does not continue the last anchor."""
    url, kek = f"sqlite:///{tmp_path}/q.db", f"file://{tmp_path}/kek"
    settings = AnchorSettings(publishers=[f"file://{tmp_path}/published"])
    with qpher_core.open(url, protector=kek, anchors=settings) as kms:
        tenant = kms.tenants.create("acme")
        kms.session("acme", actor="x").keys.generate("ML-KEM-768")
        kms.anchors.publish(tenant)
    backup = shutil.copy(tmp_path / "q.db", tmp_path / "backup")
    with qpher_core.open(url, protector=kek, anchors=settings) as kms:
        kms.session("acme", actor="x").kem.encapsulate()
        published = kms.anchors.publish(tenant)
    for name in ("q.db", "q.db-wal", "q.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    shutil.copy(backup, tmp_path / "q.db")
    with qpher_core.open(url, protector=kek, anchors=settings) as kms:
        if grown:
            kms.session("acme", actor="x").kem.encapsulate()
        expected = Problem.FORKED if grown else Problem.ROLLED_BACK
        assert _refused(kms, tenant) is expected
        with pytest.raises(AuditIntegrityError):
            kms.anchors.check(published.note, tenant)
