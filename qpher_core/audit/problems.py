# SPDX-License-Identifier: Apache-2.0
"""The names of everything that can be wrong with a log, an anchor or a proof."""

import enum

from qpher_core.errors import IntegrityError

__all__ = ["AuditIntegrityError", "Problem"]


class Problem(enum.StrEnum):
    """What verification reports. The text is stable; programs may compare it."""

    # entries
    ALTERED = "altered"  #: another body than the one that the next entry follows
    MISSING = "missing"  #: a place that no entry has
    REORDERED = "reordered"  #: present, but at another place
    DUPLICATED = "duplicated"  #: the same entry twice
    INSERTED = "inserted"  #: an entry that takes the place of another
    BROKEN_LINK = "broken-link"  #: does not follow the entry before it
    FOREIGN = "foreign"  #: an entry of another log
    MALFORMED = "malformed"  #: not a canonical audit entry
    # logs
    CUT = "cut"  #: entries at the end are gone
    REWRITTEN = "rewritten"  #: a sound chain, but not the one that was anchored
    ROLLED_BACK = "rolled-back"  #: shorter than an anchor kept from before
    FORKED = "forked"  #: another history than that of an anchor kept from before
    UNANCHORED = "unanchored"  #: entries that no anchor covers
    BAD_BASE = "bad-base"  #: an export begins where no anchor says that it may
    # anchors
    BAD_ANCHOR = "bad-anchor"  #: not a checkpoint of this log
    INCONSISTENT_ANCHORS = "inconsistent-anchors"  #: one does not continue another
    BAD_SIGNATURE = "bad-signature"  #: by a known key, but wrong
    UNKNOWN_KEY = "unknown-key"  #: by no trusted key
    REVOKED_KEY = "revoked-key"  #: by a key that was revoked, or rotated away before
    BAD_STATEMENT = "bad-statement"  #: a rotation that the old key did not sign
    # proofs and exports
    BAD_PROOF = "bad-proof"  #: does not lead from the entry to the anchor
    OTHER_CONTENT = "other-content"  #: the entry is about another signature or ciphertext
    BAD_EXPORT = "bad-export"  #: not an export, or cut in the middle


class AuditIntegrityError(IntegrityError):
    """Something is wrong with a log, an anchor or a proof.

    Attributes:
        problem: what, as a stable name.
    """

    default_code = "ERR_INTEGRITY_002"

    def __init__(self, problem: Problem, message: str) -> None:
        super().__init__(f"{problem}: {message}")
        self.problem = problem
