# SPDX-License-Identifier: Apache-2.0
"""What every ``Store`` promises of policies."""

from qpher_core.models import PolicyDocument
from qpher_core.protocols import Store
from qpher_core.testing.records import add_tenant


def _set_policy(store: Store, document: PolicyDocument) -> None:
    store.commit(lambda w: w.policies.insert(document))


def test_the_last_policy_revision_counts(store: Store) -> None:
    """The newest revision is the current document, separately for service and tenants."""
    tenant = add_tenant(store)
    assert store.policies.get(None) is None
    for owner in (None, tenant.id):
        for revision in range(1, 12):
            document = PolicyDocument(owner, revision, f'[{{"rule":"plan"}}, "{revision}"]')
            _set_policy(store, document)
            assert store.policies.get(owner) == document


def test_every_policy_revision_stays_readable(store: Store) -> None:
    """Earlier revisions are read by their number; what never was is None."""
    tenant = add_tenant(store)
    for owner in (None, tenant.id):
        documents = [PolicyDocument(owner, number, f"[{number}]") for number in (1, 2, 3)]
        for document in documents:
            _set_policy(store, document)
        assert [store.policies.revision(owner, number) for number in (1, 2, 3)] == documents
        assert store.policies.revision(owner, 0) is None
        assert store.policies.revision(owner, 4) is None
    assert store.policies.revision(add_tenant(store, "other").id, 1) is None
