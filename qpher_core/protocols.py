# SPDX-License-Identifier: Apache-2.0
"""The interfaces that backends, protectors, policy engines and primitives implement.

A *store* persists. It offers reading through four narrow protocols and writing only inside
:meth:`Store.commit`, so that an effect and its audit entry are one transaction by construction.
Every method that reads or writes tenant data takes the tenant and scopes its query by it.
"""

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Protocol, TypeVar, runtime_checkable

from qpher_core.audit.entry import EntryDraft, Result
from qpher_core.audit.records import LogBase, LogState, StoredAnchor
from qpher_core.audit.selection import EntryFilter
from qpher_core.audit.tree import Subtree
from qpher_core.lifecycle import KeyState
from qpher_core.models import (
    ApiKeyRecord,
    AuditEntry,
    AuditReport,
    Decision,
    IdempotencyRecord,
    ImportParameters,
    Intent,
    KeyRecord,
    KeyRef,
    KeyVersion,
    PolicyDocument,
    PolicyRequest,
    Receipt,
    Tenant,
)

__all__ = [
    "AnchorRecords",
    "AnchorRecordsWriter",
    "ApiKeyRecords",
    "ApiKeyRecordsWriter",
    "AuditLog",
    "AuditRecords",
    "AuditRecordsWriter",
    "DecapsulationKey",
    "EncapsulationKey",
    "IdempotencyRecords",
    "IdempotencyRecordsWriter",
    "IntentRecords",
    "IntentRecordsWriter",
    "KemScheme",
    "KeyProtector",
    "KeyRecords",
    "KeyRecordsWriter",
    "KeyStore",
    "Mark",
    "Participant",
    "ParticipantWriter",
    "PolicyEngine",
    "PolicyRecords",
    "PolicyRecordsWriter",
    "PreparedKey",
    "Primitives",
    "SignatureScheme",
    "SigningKey",
    "Store",
    "StoreWriter",
    "TenantDirectory",
    "TenantDirectoryWriter",
    "VerificationKey",
]

T = TypeVar("T")


# --- persistence -------------------------------------------------------------------------------


class KeyRecords(Protocol):
    """Key records, for reading. Errors: ``StoreUnavailable``."""

    def get(self, ref: KeyRef) -> KeyRecord | None:
        """Return one record."""

    def active(self, tenant_id: uuid.UUID, name: str, algorithm: str) -> KeyRecord | None:
        """Return the active version, of which there is at most one."""

    def find(
        self,
        tenant_id: uuid.UUID,
        *,
        name: str | None = None,
        algorithm: str | None = None,
        state: KeyState | None = None,
        after: KeyRef | None = None,
        limit: int | None = None,
    ) -> Sequence[KeyRecord]:
        """Return the records that match, ordered by name, algorithm and version.

        Names and algorithms are ordered by code point. With ``after`` only what follows this
        address, with ``limit`` at most so many: a page costs what it holds.
        """

    def kek_ids(self) -> frozenset[str]:
        """Return the ids of all key encryption keys that records in this store need."""


class KeyRecordsWriter(Protocol):
    """Key records inside a transaction. Reads see the transaction's own writes."""

    def get(self, ref: KeyRef) -> KeyRecord | None:
        """Return one record."""

    def active(self, tenant_id: uuid.UUID, name: str, algorithm: str) -> KeyRecord | None:
        """Return the active version."""

    def next_version(self, tenant_id: uuid.UUID, name: str, algorithm: str) -> int:
        """Return one more than the highest version that ever existed, from 1."""

    def insert(self, record: KeyRecord) -> None:
        """Add a record. Raises ``StateConflict`` if a second one would become active."""

    def replace(self, record: KeyRecord, *, revision: int) -> bool:
        """Compare-and-swap: overwrite the record if its stored revision is ``revision``.

        Returns False, and changes nothing, if it is not. The new record has the next revision,
        or the same one where nothing but its seal changes. Raises ``StateConflict`` if a second
        version would become active. The public key and creation time never change.
        """


class AuditRecords(Protocol):
    """Audit entries, for reading. Errors: ``StoreUnavailable``."""

    def head(self, tenant_id: uuid.UUID) -> tuple[int, bytes]:
        """Return (number of entries, hash of the last); ``(0, 32 zero bytes)`` when empty."""

    def read(
        self, tenant_id: uuid.UUID, *, start: int = 0, limit: int | None = None
    ) -> Iterator[AuditEntry]:
        """Yield entries as they are stored, from ``start``, unchecked, in constant memory.

        Entries that were moved out are not among them.
        """

    def base(self, tenant_id: uuid.UUID) -> LogBase | None:
        """Return where the log begins in this store, or None if nothing was moved out."""

    def state(self, tenant_id: uuid.UUID) -> LogState:
        """Return size, head and peaks of the log, all of one commit."""

    def subtrees(self, tenant_id: uuid.UUID, wanted: Sequence[Subtree]) -> list[bytes]:
        """Return the stored hashes of complete subtrees of the log's Merkle tree, 32 bytes each.

        One read for all of them, however long the log. Of those before the base only its peaks
        are there. Raises ``IntegrityError`` if the log has no such subtree.
        """


class AuditRecordsWriter(Protocol):
    """Audit entries inside a transaction. No method changes one, or removes one of the last."""

    def head(self, tenant_id: uuid.UUID) -> tuple[int, bytes]:
        """Return (number of entries, hash of the last)."""

    def append(self, entry: AuditEntry) -> None:
        """Add the entry, whose ``seq`` is the current number of entries.

        The Merkle tree grows with it, in the same transaction (``qpher_core.audit.tree.grow``):
        the store keeps the new peaks and the hashes of the subtrees that the entry completes.
        """

    def move_out(self, base: LogBase, tenant_id: uuid.UUID, *, after: int) -> None:
        """Let the log begin at ``base``, and remove the entries before it.

        Raises:
            StateConflict: it does not begin at ``after`` any more, or no anchor has this size.
        """


class AnchorRecords(Protocol):
    """Published anchors and the statements of their keys. Errors: ``StoreUnavailable``."""

    def latest(self, tenant_id: uuid.UUID) -> StoredAnchor | None:
        """Return the anchor that covers most entries."""

    def covering(self, tenant_id: uuid.UUID, size: int) -> StoredAnchor | None:
        """Return the smallest anchor of at least ``size`` entries."""

    def read(self, tenant_id: uuid.UUID, *, start: int = 0) -> Iterator[StoredAnchor]:
        """Yield the anchors of at least ``start`` entries, by size, in constant memory."""

    def logs(self) -> Sequence[uuid.UUID]:
        """Return the tenants whose log has an entry beyond its last anchor."""

    def statements(self) -> Sequence[str]:
        """Return the rotation statements of the anchor keys, oldest first."""


class AnchorRecordsWriter(Protocol):
    """Anchors inside a transaction. Append only."""

    def latest(self, tenant_id: uuid.UUID) -> StoredAnchor | None:
        """Return the anchor that covers most entries."""

    def insert(self, anchor: StoredAnchor) -> None:
        """Add an anchor; it covers more entries than the latest."""

    def add_statement(self, note: str) -> None:
        """Add a rotation statement."""


class TenantDirectory(Protocol):
    """Tenants, for reading. Errors: ``StoreUnavailable``."""

    def get(self, tenant_id: uuid.UUID) -> Tenant | None:
        """Return a tenant by id."""

    def by_name(self, name: str) -> Tenant | None:
        """Return a tenant by name; names compare exactly, code point by code point."""

    def all(self) -> Sequence[Tenant]:
        """Return all tenants, by name."""


class TenantDirectoryWriter(Protocol):
    """Tenants inside a transaction."""

    def get(self, tenant_id: uuid.UUID) -> Tenant | None:
        """Return a tenant by id."""

    def insert(self, tenant: Tenant) -> None:
        """Add a tenant. Raises ``StateConflict`` if the name exists."""

    def replace(self, tenant: Tenant) -> None:
        """Overwrite plan, status and time of an existing tenant."""


class PolicyRecords(Protocol):
    """Stored policy documents. ``tenant_id`` None is the service's own."""

    def get(self, tenant_id: uuid.UUID | None) -> PolicyDocument | None:
        """Return the current document."""

    def revision(self, tenant_id: uuid.UUID | None, number: int) -> PolicyDocument | None:
        """Return one revision of a document, from 1."""


class PolicyRecordsWriter(Protocol):
    """Policy documents inside a transaction. Earlier revisions are kept."""

    def get(self, tenant_id: uuid.UUID | None) -> PolicyDocument | None:
        """Return the current document."""

    def insert(self, document: PolicyDocument) -> None:
        """Add the next revision of a document."""


class ApiKeyRecords(Protocol):
    """API keys, for reading. Errors: ``StoreUnavailable``."""

    def get(self, key_id: str) -> ApiKeyRecord | None:
        """Return one API key by its id, which is indexed.

        This alone names no tenant: it is how a request's tenant becomes known.
        """

    def find(self, tenant_id: uuid.UUID) -> Sequence[ApiKeyRecord]:
        """Return all API keys of a tenant, ordered by name and version."""


class ApiKeyRecordsWriter(ApiKeyRecords, Protocol):
    """API keys inside a transaction. None is ever removed."""

    def insert(self, record: ApiKeyRecord) -> None:
        """Add an API key. Raises ``StateConflict`` if its id, or name and version, exists."""

    def replace(self, record: ApiKeyRecord) -> None:
        """Overwrite expiry, revocation and last use of an existing API key."""


class IdempotencyRecords(Protocol):
    """Calls that were given an idempotency key. Errors: ``StoreUnavailable``."""

    def get(self, tenant_id: uuid.UUID, key_hash: bytes) -> IdempotencyRecord | None:
        """Return the call of one idempotency key."""


class IdempotencyRecordsWriter(IdempotencyRecords, Protocol):
    """Idempotency records inside a transaction."""

    def put(self, record: IdempotencyRecord) -> None:
        """Add a record, or overwrite the one of the same tenant and key."""

    def forget(self, tenant_id: uuid.UUID, before: datetime) -> None:
        """Remove the tenant's records that were created before a moment; some may stay a while."""


class IntentRecords(Protocol):
    """Changes that another store takes part in, until they are settled (``qpher_core.mixed``)."""

    def all(self) -> Sequence[Intent]:
        """Return all intents; hardly ever more than one."""


class IntentRecordsWriter(Protocol):
    """Intents inside a transaction."""

    def all(self) -> Sequence[Intent]:
        """Return all intents."""

    def add(self, intent: Intent) -> None:
        """Add an intent."""

    def remove(self, intent_id: uuid.UUID) -> None:
        """Remove an intent, if it is there."""


class StoreWriter(Protocol):
    """What :meth:`Store.commit` hands to its work."""

    @property
    def keys(self) -> KeyRecordsWriter:
        """Key records."""

    @property
    def audit(self) -> AuditRecordsWriter:
        """Audit entries."""

    @property
    def tenants(self) -> TenantDirectoryWriter:
        """Tenants."""

    @property
    def policies(self) -> PolicyRecordsWriter:
        """Policy documents."""

    @property
    def anchors(self) -> AnchorRecordsWriter:
        """Anchors."""

    @property
    def service_keys(self) -> KeyRecordsWriter:
        """Records of the service's own keys, under the nil tenant."""

    @property
    def api_keys(self) -> ApiKeyRecordsWriter:
        """API keys."""

    @property
    def idempotency(self) -> IdempotencyRecordsWriter:
        """Calls that were given an idempotency key."""


class Mark(Protocol):
    """What a store's optional ``lately()`` enters: a thread may be given rows of a moment ago."""

    @property
    def fresh(self) -> bool:
        """Whether all was read from the database after all."""

    def holds(self) -> bool:
        """Return, inside a commit, whether all that was given out is still so."""


class Store(Protocol):
    """One place that persists keys, audit entries, tenants and policies. Thread-safe.

    A store may have ``lately(tenant_id)``, which returns a context of a :class:`Mark` for the
    calling thread. The pipeline reads inside of it, and asks the mark in the commit that follows.
    One whose reads wait for no network says so with ``local = True``.
    """

    @property
    def keys(self) -> KeyRecords:
        """Key records."""

    @property
    def audit(self) -> AuditRecords:
        """Audit entries."""

    @property
    def tenants(self) -> TenantDirectory:
        """Tenants."""

    @property
    def policies(self) -> PolicyRecords:
        """Policy documents."""

    @property
    def anchors(self) -> AnchorRecords:
        """Anchors."""

    @property
    def service_keys(self) -> KeyRecords:
        """Records of the service's own keys, under the nil tenant."""

    @property
    def api_keys(self) -> ApiKeyRecords:
        """API keys."""

    @property
    def idempotency(self) -> IdempotencyRecords:
        """Calls that were given an idempotency key."""

    @property
    def default_protector(self) -> str:
        """URL of the protector to use when the caller names none."""

    def commit(self, work: Callable[[StoreWriter], T], *, tenant_id: uuid.UUID | None = None) -> T:
        """Run ``work``; everything that it wrote is durable when this returns.

        If ``work`` raises, nothing that it wrote remains, and the exception comes out. If the
        store cannot make it durable: ``StoreUnavailable``, and nothing remains, unless the
        message says that the outcome is not known. Several callers' work may share one durable
        commit. ``work`` changes nothing but what it writes: a store that lost its connection
        undoes everything and runs it again. It must not commit itself: ``RuntimeError``.

        Args:
            work: what is to be done.
            tenant_id: the only tenant whose data ``work`` touches. Commits for one tenant go one
                at a time, in any process; those for different tenants may go side by side.
                It may read the service's own keys as well, as they are at that moment.
                Without it, ``work`` may touch all of them, and waits for commits for each tenant
                that it touches and for others without a tenant.
        """

    def close(self) -> None:
        """Release files and connections. Idempotent."""


class ParticipantWriter(StoreWriter, Protocol):
    """What :meth:`Participant.commit` hands to its work."""

    @property
    def intents(self) -> IntentRecordsWriter:
        """Changes that another store takes part in."""


class Participant(Store, Protocol):
    """A store that can be one of the two of a mixed set-up (``qpher_core.mixed``)."""

    @property
    def readers_wait(self) -> bool:
        """Whether reading waits while this process commits; False wherever it can be helped."""

    @property
    def intents(self) -> IntentRecords:
        """Changes that another store takes part in."""

    def commit(
        self, work: Callable[[ParticipantWriter], T], *, tenant_id: uuid.UUID | None = None
    ) -> T:
        """As :meth:`Store.commit`."""


# --- key protection ----------------------------------------------------------------------------


class KeyProtector(Protocol):
    """Holds the key encryption keys (KEKs). They never leave it; keys derived from them do.

    Deriving instead of wrapping lets one method serve files, tokens (HMAC inside the token) and
    cloud services (their MAC operation) alike.
    """

    @property
    def kek_id(self) -> str:
        """Id of the KEK that seals a store that is new; derived from the KEK itself."""

    def derive(self, kek_id: str, info: bytes) -> bytes:
        """Return the 32-byte key derived from a KEK for ``info``.

        Raises:
            ProtectorUnavailable: there is no such KEK, or it cannot be reached; the message
                names the KEK id.
        """

    def close(self) -> None:
        """Forget the KEKs. Idempotent."""


class PreparedKey(Protocol):
    """A fresh private key that is not stored yet."""

    @property
    def algorithm(self) -> str:
        """Canonical algorithm name."""

    @property
    def public_key(self) -> bytes:
        """Encapsulation key or public key."""


class KeyStore(Protocol):
    """Creates, keeps and uses private keys, and returns none."""

    def get(self, ref: KeyRef) -> KeyVersion | None:
        """Return one key version."""

    def active(self, tenant_id: uuid.UUID, name: str, algorithm: str) -> KeyVersion | None:
        """Return the active key version."""

    def find(
        self,
        tenant_id: uuid.UUID,
        *,
        name: str | None = None,
        algorithm: str | None = None,
        state: KeyState | None = None,
        after: KeyRef | None = None,
        limit: int | None = None,
    ) -> Sequence[KeyVersion]:
        """Return the key versions that match; see :meth:`KeyRecords.find`."""

    def open_decapsulation(self, key: KeyVersion) -> "DecapsulationKey":
        """Open a KEM key for use.

        Raises:
            ProtectorUnavailable: its key encryption key cannot be had.
            IntegrityError: its record was altered or belongs elsewhere.
        """

    def open_signing(self, key: KeyVersion) -> "SigningKey":
        """Open a signature key for use. Errors as :meth:`open_decapsulation`."""

    def open_encapsulation(self, key: KeyVersion) -> "EncapsulationKey":
        """Open the public side of a KEM key."""

    def open_verification(self, key: KeyVersion) -> "VerificationKey":
        """Open the public side of a signature key."""

    def prepare(self, tenant_id: uuid.UUID, algorithm: str) -> PreparedKey:
        """Generate a private key that :meth:`add` can store for this tenant.

        Raises:
            AlgorithmUnavailable: the primitives provider lacks the algorithm.
            ProtectorUnavailable: it could not be sealed.
        """

    def import_parameters(self, tenant_id: uuid.UUID) -> ImportParameters:
        """Return what a tenant wraps its private keys with."""

    def prepare_import(
        self, tenant_id: uuid.UUID, name: str, algorithm: str, wrapped: bytes
    ) -> PreparedKey:
        """Unwrap and check a private key that :meth:`add` can store under this name.

        Raises:
            DecryptionFailed: it was not wrapped for this tenant, name and algorithm.
            ValidationError: it is no valid private key (FIPS 203 section 7.3, FIPS 204).
            AlgorithmUnavailable, ProtectorUnavailable: as :meth:`prepare`.
        """

    def add(
        self,
        writer: StoreWriter,
        tenant_id: uuid.UUID,
        name: str,
        key: PreparedKey,
        *,
        now: datetime,
        reason: str = "",
    ) -> KeyVersion:
        """Store a prepared key as the next version, active since ``now``."""

    def warm(self, key: KeyVersion) -> None:
        """Fetch what :meth:`transition` will need, so that no transaction waits for it.

        Raises:
            ProtectorUnavailable: a key encryption key cannot be had.
        """

    def transition(
        self, writer: StoreWriter, key: KeyVersion, to: KeyState, *, now: datetime, reason: str
    ) -> KeyVersion:
        """Move a key to another state; to destroyed, the sealed seed is erased with it.

        Raises:
            StateConflict: the table forbids it, or the record changed meanwhile.
        """

    def confirm(self, writer: StoreWriter, key: KeyVersion) -> bool:
        """Return whether the record is still as ``key`` describes it."""

    def close(self) -> None:
        """Wipe all opened keys. Idempotent."""


class AuditLog(Protocol):
    """One append-only hash chain for each tenant."""

    def append(
        self, writer: AuditRecordsWriter, tenant_id: uuid.UUID, draft: EntryDraft
    ) -> AuditEntry:
        """Append one entry inside a transaction; it is recorded once that commits."""

    def append_many(
        self,
        writer: AuditRecordsWriter,
        tenant_id: uuid.UUID,
        draft: EntryDraft,
        results: Iterable[Result],
    ) -> list[AuditEntry]:
        """Append an entry for each result of one call; ``draft`` has what they share."""

    def entries(
        self,
        tenant_id: uuid.UUID,
        *,
        start: int = 0,
        limit: int | None = None,
        where: EntryFilter | None = None,
    ) -> Iterator[AuditEntry]:
        """Yield the entries from ``start`` that match, in order, at most ``limit``."""

    def entry(self, receipt: Receipt) -> AuditEntry:
        """Return the entry that a receipt names, or raise ``IntegrityError``."""

    def verify(self, tenant_id: uuid.UUID) -> AuditReport:
        """Check the whole chain of a tenant and name the first bad entry."""


class PolicyEngine(Protocol):
    """Decides whether an operation may happen. Thread-safe.

    An engine that may block (network, disk, foreign code) leaves ``may_block`` unset or True
    and is called with a deadline; only one that answers from memory sets it to False.
    """

    def decide(self, request: PolicyRequest) -> Decision:
        """Return a decision. Any exception means that the engine cannot answer."""


# --- primitives --------------------------------------------------------------------------------


class EncapsulationKey(Protocol):
    """An opened encapsulation key."""

    def encapsulate(self, *, randomness: bytes | None = None) -> tuple[bytes, bytes]:
        """Return (ciphertext, 32-byte shared secret).

        ``randomness`` replaces the random draw (32 bytes; 64 for X-Wing); providers that cannot
        take it raise ``AlgorithmUnavailable``.
        """

    def encapsulate_many(self, count: int, *, threads: int = 1) -> list[tuple[bytes, bytes]]:
        """Return ``count`` independent encapsulations.

        Of all batches: ``threads`` is how many may compute at once; a provider may use fewer.
        """


class DecapsulationKey(Protocol):
    """An opened private KEM key. It shows and gives away no bytes of itself."""

    @property
    def encapsulation_key(self) -> bytes:
        """The encoded encapsulation key."""

    def decapsulate(self, ciphertext: bytes) -> bytes:
        """Return the 32-byte shared secret; a wrong ciphertext gives another one (FIPS 203).

        Raises:
            ValueError: the length is wrong.
            DecryptionFailed: X-Wing only, an all-zero X25519 result.
        """

    def decapsulate_many(self, ciphertexts: Sequence[bytes], *, threads: int = 1) -> list[bytes]:
        """Decapsulate several ciphertexts."""

    def close(self) -> None:
        """Wipe it. Idempotent."""


class VerificationKey(Protocol):
    """An opened public signature key."""

    def verify(self, message: bytes, signature: bytes, *, context: bytes = b"") -> bool:
        """Return whether the signature is valid; False for any malformed signature."""

    def verify_prehash(
        self, digest: bytes, hash_name: str, signature: bytes, *, context: bytes = b""
    ) -> bool:
        """As :meth:`verify`, over a digest (see :meth:`SigningKey.sign_prehash`)."""

    def verify_many(
        self, pairs: Sequence[tuple[bytes, bytes]], *, context: bytes = b"", threads: int = 1
    ) -> list[bool]:
        """Verify several (message, signature) pairs."""


class SigningKey(Protocol):
    """An opened private signature key. It shows and gives away no bytes of itself."""

    @property
    def public_key(self) -> bytes:
        """The encoded public key."""

    def sign(self, message: bytes, *, context: bytes = b"", deterministic: bool = False) -> bytes:
        """Sign; hedged unless ``deterministic``. ``context`` has at most 255 bytes."""

    def sign_prehash(self, digest: bytes, hash_name: str, *, context: bytes = b"") -> bytes:
        """Sign a digest: HashML-DSA (FIPS 204 section 5.4), or a composite's own pre-hash.

        Raises:
            ValueError: the hash is not one that the algorithm allows.
        """

    def sign_many(
        self, messages: Sequence[bytes], *, context: bytes = b"", threads: int = 1
    ) -> list[bytes]:
        """Sign several messages."""

    def close(self) -> None:
        """Wipe it. Idempotent."""


class KemScheme(Protocol):
    """One KEM of one provider.

    One that also has ``open_expanded(data)``, as :meth:`open_seed` for the decapsulation key of
    FIPS 203 with the checks of its section 7.3, can be given imported keys in that form.
    """

    def generate_seed(self) -> bytes:
        """Return a fresh private seed."""

    def open_seed(self, seed: bytes) -> DecapsulationKey:
        """Expand a seed. Raises ``ValueError`` for a wrong length."""

    def open_encapsulation_key(self, data: bytes) -> EncapsulationKey:
        """Check (FIPS 203 section 7.2) and open an encapsulation key, or raise ``ValueError``."""


class SignatureScheme(Protocol):
    """One signature algorithm of one provider.

    One that also has ``open_expanded(data)``, as :meth:`open_seed` for the private key of
    FIPS 204, can be given imported keys in that form.
    """

    def generate_seed(self) -> bytes:
        """Return a fresh private seed."""

    def open_seed(self, seed: bytes) -> SigningKey:
        """Expand a seed. Raises ``ValueError`` for a wrong length or form."""

    def open_public_key(self, data: bytes) -> VerificationKey:
        """Open a public key, or raise ``ValueError``."""


@runtime_checkable
class Primitives(Protocol):
    """A provider of algorithms. Thread-safe."""

    @property
    def name(self) -> str:
        """Name of its entry point."""

    @property
    def kems(self) -> Mapping[str, KemScheme]:
        """Its KEMs, by canonical name."""

    @property
    def signatures(self) -> Mapping[str, SignatureScheme]:
        """Its signature algorithms, by canonical name."""
