# SPDX-License-Identifier: Apache-2.0
"""A session as coroutines: one line for each method of each of its parts."""

from qpher_core.aio.crossing import Threads, View, crossed, streamed, viewed
from qpher_core.fields import Field
from qpher_core.session import Session, SessionAudit
from qpher_core.session_batches import BatchSignatures
from qpher_core.session_fields import FieldKem
from qpher_core.session_keys import Keys
from qpher_core.session_usage import SessionUsage

__all__ = ["AsyncField", "AsyncSession"]


class AsyncField(View):
    """An encrypted field; see :class:`~qpher_core.fields.Field`."""

    decrypt = crossed(Field.decrypt)
    decrypt_many = crossed(Field.decrypt_many)
    encrypt = crossed(Field.encrypt)
    encrypt_many = crossed(Field.encrypt_many)
    forget = crossed(Field.forget)


class AsyncKeys(View):
    """``session.keys``."""

    active = crossed(Keys.active)
    archive = crossed(Keys.archive)
    compromise = crossed(Keys.compromise)
    destroy = crossed(Keys.destroy)
    evidence = crossed(Keys.evidence)
    generate = crossed(Keys.generate)
    get = crossed(Keys.get)
    import_key = crossed(Keys.import_key)
    import_parameters = crossed(Keys.import_parameters)
    list = crossed(Keys.list)
    restore = crossed(Keys.restore)
    resume = crossed(Keys.resume)
    retire = crossed(Keys.retire)
    rotate = crossed(Keys.rotate)
    suspend = crossed(Keys.suspend)


class AsyncKem(View):
    """``session.kem``. Streams and functions that are passed in are used on a thread."""

    decapsulate = crossed(FieldKem.decapsulate)
    decapsulate_many = crossed(FieldKem.decapsulate_many)
    decrypt = crossed(FieldKem.decrypt)
    decrypt_file = crossed(FieldKem.decrypt_file)
    decrypt_files = crossed(FieldKem.decrypt_files)
    decrypt_local = crossed(FieldKem.decrypt_local)
    decrypt_many = crossed(FieldKem.decrypt_many)
    encapsulate = crossed(FieldKem.encapsulate)
    encapsulate_many = crossed(FieldKem.encapsulate_many)
    encrypt = crossed(FieldKem.encrypt)
    encrypt_file = crossed(FieldKem.encrypt_file)
    encrypt_files = crossed(FieldKem.encrypt_files)
    encrypt_local = crossed(FieldKem.encrypt_local)
    encrypt_many = crossed(FieldKem.encrypt_many)
    field = viewed(FieldKem.field, AsyncField)
    open_encrypted = crossed(FieldKem.open_encrypted)
    rewrap_file = crossed(FieldKem.rewrap_file)
    unwrap = crossed(FieldKem.unwrap)
    unwrap_field_keys = crossed(FieldKem.unwrap_field_keys)
    unwrap_file_key = crossed(FieldKem.unwrap_file_key)
    wrap = crossed(FieldKem.wrap)
    wrap_field_keys = crossed(FieldKem.wrap_field_keys)
    wrap_file_key = crossed(FieldKem.wrap_file_key)


class AsyncSignatures(View):
    """``session.signatures``."""

    sign = crossed(BatchSignatures.sign)
    sign_file = crossed(BatchSignatures.sign_file)
    sign_hash = crossed(BatchSignatures.sign_hash)
    sign_many = crossed(BatchSignatures.sign_many)
    verify = crossed(BatchSignatures.verify)
    verify_file = crossed(BatchSignatures.verify_file)
    verify_hash = crossed(BatchSignatures.verify_hash)
    verify_many = crossed(BatchSignatures.verify_many)


class AsyncAudit(View):
    """``session.audit``."""

    entries = streamed(SessionAudit.entries)
    entry = crossed(SessionAudit.entry)
    page = crossed(SessionAudit.page)
    proof = crossed(SessionAudit.proof)
    verify = crossed(SessionAudit.verify)


class AsyncUsage(View):
    """``session.usage``."""

    current = crossed(SessionUsage.current)


class AsyncSession(View):
    """A view of one tenant, for one actor; see :class:`~qpher_core.session.Session`.

    Attributes:
        keys: key versions and their life.
        kem: encryption, encapsulation, key wrap, files, fields.
        signatures: signing and verifying.
        audit: the tenant's audit log.
        usage: what the tenant uses of what it may.
    """

    migrate = crossed(Session.migrate)
    resign = crossed(Session.resign)

    def __init__(self, session: Session, threads: Threads) -> None:
        super().__init__(session, threads)
        self.keys = AsyncKeys(session.keys, threads)
        self.kem = AsyncKem(session.kem, threads)
        self.signatures = AsyncSignatures(session.signatures, threads)
        self.audit = AsyncAudit(session.audit, threads)
        self.usage = AsyncUsage(session.usage, threads)
