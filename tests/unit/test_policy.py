# SPDX-License-Identifier: Apache-2.0
"""Rules: how they are read, what each denies, and how the chain decides."""

import itertools
import json
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from attrs import evolve

import qpher_core
from qpher_core.algorithms import ALGORITHMS
from qpher_core.audit.log import StoredAuditLog
from qpher_core.discovery import open_store
from qpher_core.errors import (
    NotFound,
    PermissionDenied,
    PolicyUnavailable,
    RateLimited,
    ValidationError,
)
from qpher_core.models import Decision, PolicyDocument, PolicyRequest
from qpher_core.operations import OPERATIONS, Operation
from qpher_core.policy.chain import DEFAULT_RULES, RuleChain
from qpher_core.policy.documents import parse_rules
from qpher_core.policy.plans import PLANS, check_plan
from qpher_core.policy.profiles import PROFILES
from qpher_core.policy.usage import StoreUsage, next_month
from qpher_core.service import Qpher
from qpher_core.session import Session
from tests.records import NOW, draft

TENANT = uuid.uuid4()

REQUEST = PolicyRequest(
    tenant_id=TENANT,
    plan=None,
    actor="billing",
    scopes=None,
    action="kem.encrypt",
    features=frozenset({"kem"}),
    key_name="payments",
    algorithm="ML-KEM-768",
    key_version=1,
    key_state="active",
    context_keys=frozenset(),
    payload_bytes=100,
    time=NOW,
    source=None,
)


class FixedUsage:
    """A tenant that has used some of everything."""

    def __init__(self, calls: int = 0, versions: int = 0, api_keys: int = 0) -> None:
        self.counts = calls, versions, api_keys

    def calls(self, tenant_id: uuid.UUID, now: datetime) -> int:
        """Return the calls of the month."""
        assert (tenant_id, now) == (TENANT, NOW)
        return self.counts[0]

    def key_versions(self, tenant_id: uuid.UUID) -> int:
        """Return the key versions."""
        assert tenant_id == TENANT
        return self.counts[1]

    def api_keys(self, tenant_id: uuid.UUID, now: datetime) -> int:
        """Return the API keys."""
        assert (tenant_id, now) == (TENANT, NOW)
        return self.counts[2]


USAGE = FixedUsage(calls=10, versions=3, api_keys=2)


def denial(rules: object, **changes: object) -> str | None:
    """Return the reason for which rules deny a request, or None."""
    request = evolve(REQUEST, **changes)
    parsed = parse_rules(json.dumps(rules))
    return next((reason for rule in parsed if (reason := rule.denies(request, USAGE))), None)


# --- reading -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "parameter"),
    [
        (None, "rules"),
        (b"[]", "rules"),
        ([], "rules"),
        ("", "rules"),
        ("[", "rules"),
        ("[" * 100_000, "rules"),
        (" " * (1 << 20) + "[]", "rules"),
        ("{}", "rules"),
        ('"plan"', "rules"),
        ("null", "rules"),
        ('["plan"]', "rules[0]"),
        ("[[]]", "rules[0]"),
        ("[{}]", "rules[0].rule"),
        ('[{"rule":"allow"}]', "rules[0].rule"),
        ('[{"rule":["plan"]}]', "rules[0].rule"),
        ('[{"rule":"plan"},{"rule":"plan","x":1}]', "rules[1]"),
        ('[{"rule":"profile"}]', "rules[0].profile"),
        ('[{"rule":"profile","profile":"other"}]', "rules[0].profile"),
        ('[{"rule":"profile","profile":["fips"]}]', "rules[0].profile"),
        ('[{"rule":"profile","profile":"fips","actions":["a"]}]', "rules[0]"),
        ('[{"rule":"deny"}]', "rules[0]"),
        ('[{"rule":"deny","action":["a"]}]', "rules[0]"),
        ('[{"rule":"deny","actions":[]}]', "rules[0].actions"),
        ('[{"rule":"deny","actions":"a"}]', "rules[0].actions"),
        ('[{"rule":"deny","actors":[1]}]', "rules[0].actors"),
        ('[{"rule":"only"}]', "rules[0]"),
        ('[{"rule":"only","key_names":{}}]', "rules[0].key_names"),
        ('[{"rule":"plan","rule":"plan"}]', "rules"),
        ('[[rules]]\nrule = "plan"\n[other]', "rules"),
        ("[[rules]]\nrule = ", "rules"),
        ('[{"rule":"profile","profile":"fips","processing":1}]', "rules[0].processing"),
        ('[{"rule":"quota","calls":-1}]', "rules[0].calls"),
        ('[{"rule":"quota","days":1}]', "rules[0]"),
        ('[{"rule":"hours","from":"8:00","to":"18:00"}]', "rules[0].from"),
        ('[{"rule":"hours","from":"08:00"}]', "rules[0].to"),
        ('[{"rule":"hours","from":"08:00","to":"08:00"}]', "rules[0].to"),
        ('[{"rule":"hours","from":"08:00","to":"24:00"}]', "rules[0].to"),
        ('[{"rule":"hours","from":"08:00","to":"09:00","days":[]}]', "rules[0].days"),
        ('[{"rule":"hours","from":"08:00","to":"09:00","days":["Mon"]}]', "rules[0].days"),
        ('[{"rule":"hours","from":"08:00","to":"09:00","zone":"Moon"}]', "rules[0].zone"),
        ('[{"rule":"hours","from":"08:00","to":"09:00","zone":"../x"}]', "rules[0].zone"),
        ('[{"rule":"networks","allow":["10.0.0.1/8"]}]', "rules[0].allow"),
        ('[{"rule":"networks","allow":[8]}]', "rules[0].allow"),
        ('[{"rule":"networks"}]', "rules[0].allow"),
        ('[{"rule":"payload"}]', "rules[0].max_bytes"),
        ('[{"rule":"payload","max_bytes":-1}]', "rules[0].max_bytes"),
        ('[{"rule":"payload","max_bytes":true}]', "rules[0].max_bytes"),
        ('[{"rule":"payload","max_bytes":1.0}]', "rules[0].max_bytes"),
        ('[{"rule":"deny","actors":["\ud800"]}]', "rules"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_malformed_rules_are_refused(rules: object, parameter: str) -> None:
    """Each malformed document is refused, naming the rule and member at fault."""
    with pytest.raises(ValidationError) as caught:
        parse_rules(rules)
    assert caught.value.parameter == parameter
    assert parameter in str(caught.value)


@pytest.mark.parametrize("kind", ["deny", "only"])
@pytest.mark.parametrize("member", ["actions", "actors", "algorithms", "key_names"])
def test_null_patterns_are_refused(kind: str, member: str) -> None:
    """A pattern of null is a mistake, not a rule that limits nothing."""
    with pytest.raises(ValidationError):
        parse_rules(json.dumps([{"rule": kind, member: None}]))


def test_good_rules_are_read() -> None:
    """Every kind of rule is read, in order."""
    document = [
        {"rule": "plan"},
        {"rule": "profile", "profile": "cnsa2"},
        {"rule": "deny", "actions": ["keys.destroy"], "actors": ["intern"]},
        {"rule": "only", "key_names": ["payments"]},
        {"rule": "payload", "max_bytes": 0},
        {"rule": "quota", "calls": 5},
        {"rule": "hours", "from": "22:00", "to": "06:00", "days": ["fri"], "zone": "Asia/Tokyo"},
        {"rule": "networks", "allow": ["10.0.0.0/8", "2001:db8::/32"]},
    ]
    names = [rule.name for rule in parse_rules(json.dumps(document))]
    assert names == [item["rule"] for item in document]
    assert parse_rules("[]") == ()


TOML = """
# Only what is final, and nobody at night.
[[rules]]
rule = "profile"
profile = "fips"

[[rules]]
rule = "hours"
from = 08:00:00
to = "18:00"
days = ["mon", "fri"]
"""


def test_toml_says_the_same_as_json() -> None:
    """A TOML document gives the rules that the same document in JSON gives."""
    hours = {"rule": "hours", "from": "08:00", "to": "18:00", "days": ["mon", "fri"]}
    document = [{"rule": "profile", "profile": "fips"}, hours]
    assert parse_rules(TOML) == parse_rules(json.dumps(document))


@pytest.mark.parametrize(
    ("rules", "line"),
    [
        (TOML.replace("fips", "fops"), 3),
        (TOML.replace("mon", "moon"), 7),
        (TOML.replace('"18:00"', "???"), 10),
        ('[\n {"rule":"plan"},\n\n {"rule":\n"none"}]', 4),
        ('[\n {"rule":"plan"},\n {"rule"\n}]', 4),
        ('[\n {"rule":"plan"},\n {"rule":"plan",\n"rule":"plan"}]', 3),
    ],
)
def test_what_is_wrong_is_told_with_its_line(rules: str, line: int) -> None:
    """The message names the line on which the rule, or the syntax error, is."""
    with pytest.raises(ValidationError, match=rf"line {line}\b"):
        parse_rules(rules)


@pytest.mark.parametrize("kind", ["deny", "only"])
@pytest.mark.parametrize(
    ("member", "pattern", "told"),
    [
        ("actions", "keys.destory", "keys.destroy"),
        ("actions", "KEYS.*", "keys.destroy"),
        ("algorithms", "Kyber768", "canonical name is ML-KEM-768"),
        ("algorithms", "ML-KEM-769", "ML-KEM-768"),
        ("scopes", "signature", "signatures"),
    ],
)
def test_patterns_that_match_nothing_are_not_set(
    kms: Qpher, kind: str, member: str, pattern: str, told: str
) -> None:
    """A rule that can never apply protects nothing, and whoever made it should know."""
    rules = json.dumps([{"rule": "plan"}, {"rule": kind, member: ["*", pattern]}])
    with pytest.raises(ValidationError) as caught:
        kms.policies.set(rules)
    assert caught.value.parameter == f"rules[1].{member}"
    for part in ("line 1: ", repr(pattern), told):
        assert part in str(caught.value)
    assert len(parse_rules(rules)) == 2  # what is stored already stays in force


def test_the_schedule_of_a_key_that_cannot_be_is_not_set(kms: Qpher) -> None:
    """A rotation of an algorithm by another name than requests have never comes."""
    rules = '[{"rule": "rotation", "max_age_days": 1, "algorithms": ["Dilithium3"]}]'
    with pytest.raises(ValidationError, match="canonical name is ML-DSA-65"):
        kms.policies.set(rules)


# --- each rule ---------------------------------------------------------------------------------


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("row", OPERATIONS.values(), ids=lambda row: row.action)
def test_plans_deny_what_they_lack(plan: str, row: Operation) -> None:
    """A plan allows exactly the operations whose features it has."""
    reason = denial([{"rule": "plan"}], plan=plan, features=row.features)
    lacking = row.features - PLANS[plan]
    assert (reason is not None) == bool(lacking)
    assert all(feature in (reason or "") for feature in lacking)


def test_no_plan_has_everything() -> None:
    """A tenant without a plan is never denied by it."""
    assert denial([{"rule": "plan"}], plan=None, features=frozenset({"anything"})) is None


def test_the_table_of_plans() -> None:
    """Each plan contains the one before; features are those that operations know."""
    order = ["free", "starter", "growth", "pro", "enterprise"]
    assert [*PLANS] == order
    for smaller, larger in itertools.pairwise(order):
        assert PLANS[smaller] < PLANS[larger]
    used = frozenset[str]().union(*(row.features for row in OPERATIONS.values()))
    assert used | {"hybrid", "deterministic"} == PLANS["enterprise"]


@pytest.mark.parametrize("plan", ["", "Free", "gold", 5, [], b"free"])
def test_unknown_plans_are_refused(plan: object) -> None:
    """What is not the name of a plan is refused, and the choice is told."""
    with pytest.raises(ValidationError, match="enterprise") as caught:
        check_plan(plan)
    assert caught.value.parameter == "plan"


@pytest.mark.parametrize("profile", PROFILES)
def test_profiles_deny_new_use_of_other_algorithms(profile: str) -> None:
    """A profile denies making and protecting with algorithms that it does not admit."""
    rules = [{"rule": "profile", "profile": profile}]
    for name in ALGORITHMS:
        for action in ("keys.generate", "keys.rotate", "kem.encrypt", "signatures.sign"):
            denied = denial(rules, algorithm=name, action=action) is not None
            assert denied == (name not in PROFILES[profile])
    assert denial(rules, algorithm=None, action="keys.list") is None


def test_profiles_let_existing_keys_be_processed_and_retired() -> None:
    """A profile denies no way out of an algorithm, unless it says so."""
    outside = {"algorithm": "ML-KEM-768"}
    ways_out = ["kem.decrypt", "kem.unwrap", "keys.retire", "keys.destroy", "keys.get"]
    for action in ways_out:
        rule: dict[str, object] = {"rule": "profile", "profile": "cnsa2"}
        assert denial([rule], action=action, **outside) is None
        assert "cnsa2" in (denial([rule | {"processing": False}], action=action, **outside) or "")


@pytest.mark.parametrize("action", ["keys.generate", "keys.rotate", "keys.import"])
def test_quotas_of_key_versions(action: str) -> None:
    """A limit on key versions denies making one more, and nothing else."""
    assert denial([{"rule": "quota", "key_versions": 4}], action=action) is None
    assert denial([{"rule": "quota", "key_versions": 3}], action=action) is not None
    assert denial([{"rule": "quota", "key_versions": 3}]) is None


def test_quotas_of_calls() -> None:
    """A limit on calls denies the call that would go beyond it."""
    assert denial([{"rule": "quota", "calls": 11}]) is None
    assert "10 calls" in (denial([{"rule": "quota", "calls": 10}]) or "")


def test_quotas_of_api_keys() -> None:
    """A limit on API keys denies creating one more, and nothing else."""
    creating = {"action": "api_keys.create"}
    assert denial([{"rule": "quota", "api_keys": 3}], **creating) is None
    assert "2 API keys" in (denial([{"rule": "quota", "api_keys": 2}], **creating) or "")
    assert denial([{"rule": "quota", "api_keys": 2}]) is None


def test_quotas_of_plans() -> None:
    """Without limits of its own the rule has the plan's; without a plan there are none."""
    full = FixedUsage(calls=5000, versions=3)
    (rule,) = parse_rules('[{"rule":"quota"}]')
    assert rule.denies(REQUEST, full) is None
    assert rule.denies(evolve(REQUEST, plan="enterprise"), full) is None
    assert rule.denies(evolve(REQUEST, plan="free"), full) == "the month's 5000 calls are used up"
    assert rule.denies(evolve(REQUEST, plan="free"), FixedUsage(4999, 3)) is None


@pytest.mark.parametrize(
    ("moment", "window", "denied"),
    [
        ("2026-11-23T08:00:00+00:00", ("08:00", "18:00"), False),
        ("2026-11-23T07:59:59+00:00", ("08:00", "18:00"), True),
        ("2026-11-23T18:00:00+00:00", ("08:00", "18:00"), True),
        ("2026-11-23T09:00:00+02:00", ("08:00", "18:00"), True),
        ("2026-11-23T23:00:00+00:00", ("22:00", "06:00"), False),
        ("2026-11-24T05:59:00+00:00", ("22:00", "06:00"), False),
        ("2026-11-24T06:00:00+00:00", ("22:00", "06:00"), True),
        ("2026-11-24T23:00:00+00:00", ("22:00", "06:00"), True),
        ("2026-11-23T05:00:00+00:00", ("22:00", "06:00"), True),
    ],
)
def test_hours_on_mondays(moment: str, window: tuple[str, str], denied: bool) -> None:  # noqa: FBT001
    """A window opens and closes on time; one that passes midnight belongs to its first day."""
    rule = {"rule": "hours", "from": window[0], "to": window[1], "days": ["mon"]}
    assert (denial([rule], time=datetime.fromisoformat(moment)) is not None) == denied


def test_hours_in_a_zone() -> None:
    """Times are those of the zone, summer time included."""
    rule = {"rule": "hours", "from": "08:00", "to": "09:00", "zone": "Europe/Vienna"}
    summer, winter = "2026-07-01T06:30:00+00:00", "2026-12-01T07:30:00+00:00"
    for moment in (summer, winter):
        assert denial([rule], time=datetime.fromisoformat(moment)) is None
    assert denial([rule], time=datetime.fromisoformat("2026-12-01T06:30:00+00:00")) is not None


@pytest.mark.parametrize(
    ("source", "denied"),
    [
        ("10.1.2.3", False),
        ("::ffff:10.1.2.3", False),
        ("11.0.0.1", True),
        ("2001:db8::1", False),
        ("2001:db9::1", True),
        (None, True),
        ("localhost", True),
    ],
)
def test_networks(source: str | None, denied: bool) -> None:  # noqa: FBT001
    """Requests come from the networks, or are denied; an unknown source is none of them."""
    rule = {"rule": "networks", "allow": ["10.0.0.0/8", "2001:db8::/32"]}
    assert (denial([rule], source=source) is not None) == denied


@pytest.mark.parametrize(
    ("scopes", "denied"), [({"kem", "keys"}, False), ({"keys"}, True), (None, False)]
)
def test_only_scopes(scopes: set[str] | None, denied: bool) -> None:  # noqa: FBT001
    """A limit on scopes is for callers that have scopes."""
    held = None if scopes is None else frozenset(scopes)
    assert (denial([{"rule": "only", "scopes": ["kem"]}], scopes=held) is not None) == denied


def test_the_profiles() -> None:
    """The profiles admit what their names promise."""
    assert PROFILES["default"] == set(ALGORITHMS)
    assert PROFILES["cnsa2"] == {"ML-KEM-1024", "ML-DSA-87"}
    assert PROFILES["hybrid"] == {"X-Wing", "MLDSA65-ECDSA-P256", "MLDSA87-ECDSA-P384"}
    assert PROFILES["fips"] == set(ALGORITHMS) - PROFILES["hybrid"]


@pytest.mark.parametrize(
    ("match", "denied"),
    [
        ({"actions": ["kem.encrypt"]}, True),
        ({"actions": ["kem.*"]}, True),
        ({"actions": ["KEM.*"]}, False),
        ({"actions": ["kem.decrypt", "kem.encrypt"]}, True),
        ({"actions": ["kem.decrypt"]}, False),
        ({"actors": ["bill*"]}, True),
        ({"algorithms": ["ML-KEM-*"]}, True),
        ({"key_names": ["pay?ents"]}, True),
        ({"actions": ["kem.*"], "actors": ["intern"]}, False),
        ({"actions": ["kem.*"], "actors": ["billing"], "key_names": ["payments"]}, True),
    ],
    ids=str,
)
def test_deny_needs_every_part_to_match(match: Mapping[str, object], denied: bool) -> None:  # noqa: FBT001
    """A ``deny`` rule denies requests that match all of its parts."""
    assert (denial([{"rule": "deny", **match}]) is not None) == denied


@pytest.mark.parametrize(
    ("match", "denied"),
    [
        ({"actions": ["kem.*"]}, False),
        ({"actions": ["signatures.*"]}, True),
        ({"key_names": ["payments"]}, False),
        ({"key_names": ["other"]}, True),
        ({"actors": ["billing"], "key_names": ["other"]}, True),
        ({"algorithms": ["X-Wing", "ML-KEM-768"]}, False),
    ],
    ids=str,
)
def test_only_needs_every_part_to_match(match: Mapping[str, object], denied: bool) -> None:  # noqa: FBT001
    """An ``only`` rule denies requests that differ in any of its parts."""
    assert (denial([{"rule": "only", **match}]) is not None) == denied


def test_only_leaves_requests_without_the_part() -> None:
    """A request that is about no key passes a limit on key names; a ``deny`` needs the part."""
    about_none = {"key_name": None, "algorithm": None, "action": "keys.list"}
    assert denial([{"rule": "only", "key_names": ["x"]}], **about_none) is None
    assert denial([{"rule": "deny", "key_names": ["*"]}], **about_none) is None


def test_payloads_have_a_largest_size() -> None:
    """A payload of the limit passes, one byte more does not."""
    rules = [{"rule": "payload", "max_bytes": 100}]
    assert denial(rules, payload_bytes=100) is None
    assert "100" in (denial(rules, payload_bytes=101) or "")


# --- the chain ---------------------------------------------------------------------------------


class Documents:
    """Stored documents, as a chain reads them."""

    def __init__(self, service: str | None, tenant: str | None = None) -> None:
        self.documents = {None: service, TENANT: tenant}
        self.revision = 1

    def get(self, tenant_id: uuid.UUID | None) -> PolicyDocument | None:
        """Return the current document."""
        rules = self.documents.get(tenant_id)
        return None if rules is None else PolicyDocument(tenant_id, self.revision, rules)


def test_the_first_denial_wins() -> None:
    """The service's rules come first, then the tenant's, each in order."""
    service = '[{"rule":"plan"},{"rule":"payload","max_bytes":50}]'
    tenant = '[{"rule":"deny","actions":["kem.*"]}]'
    chain = RuleChain(Documents(service, tenant), USAGE)
    decision = chain.decide(REQUEST)
    assert (decision.allow, decision.rule) == (False, "payload")
    assert chain.decide(evolve(REQUEST, plan="free", features=frozenset({"x"}))).rule == "plan"
    assert chain.decide(evolve(REQUEST, payload_bytes=50)).rule == "deny"
    allowed = chain.decide(evolve(REQUEST, payload_bytes=50, action="keys.list"))
    assert allowed == Decision(allow=True, rule="chain", reason="no rule denies")


@pytest.mark.parametrize("service", [None, "[]"])
def test_no_service_rules_deny_everything(service: str | None) -> None:
    """A service without rules denies, whatever the tenant's rules say."""
    decision = RuleChain(Documents(service, '[{"rule":"plan"}]'), USAGE).decide(REQUEST)
    assert (decision.allow, decision.rule) == (False, "empty")


def test_empty_tenant_rules_deny_nothing() -> None:
    """A tenant with no rules of its own has the service's alone."""
    for tenant in (None, "[]"):
        assert RuleChain(Documents(DEFAULT_RULES, tenant), USAGE).decide(REQUEST).allow is True


def test_broken_documents_make_the_engine_unavailable() -> None:
    """A stored document that cannot be read is no allowance."""
    for documents in (Documents("[{"), Documents(DEFAULT_RULES, "nonsense")):
        with pytest.raises(PolicyUnavailable, match="broken"):
            RuleChain(documents, USAGE).decide(REQUEST)


def test_a_new_revision_counts_at_once() -> None:
    """Parsed documents are kept by revision: the next decision uses the new one."""
    documents = Documents(DEFAULT_RULES)
    chain = RuleChain(documents, USAGE)
    assert chain.decide(REQUEST).allow
    documents.documents[None] = '[{"rule":"deny","actions":["*"]}]'
    documents.revision = 2
    assert not chain.decide(REQUEST).allow


# --- through the service -----------------------------------------------------------------------


def test_rules_apply_from_the_next_operation_on(kms: Qpher, acme: Session) -> None:
    """Rules of the service and of one tenant are set, read and take effect at once."""
    acme.keys.generate("ML-KEM-768")
    kms.tenants.create("other")
    document = kms.policies.set('[{"rule":"deny","actions":["kem.encrypt"]}]', tenant="acme")
    assert document.revision == 1
    assert kms.policies.get("acme") == document
    assert kms.policies.get("other") is None
    with pytest.raises(PermissionDenied) as caught:
        acme.kem.encrypt(b"")
    assert caught.value.rule == "deny"
    assert kms.policies.set("[]", tenant="acme").revision == 2
    acme.kem.encrypt(b"")
    kms.policies.set('[{"rule":"deny","actors":["tester"]}]')
    with pytest.raises(PermissionDenied):
        acme.kem.encrypt(b"")
    kms.session("acme", actor="another").kem.encrypt(b"")


def test_service_rules_must_not_be_empty(kms: Qpher) -> None:
    """Setting an empty service document is refused, and so are malformed ones."""
    for rules in ("[]", "[{}]", "x"):
        with pytest.raises(ValidationError):
            kms.policies.set(rules)
    found = kms.policies.get()
    assert found is not None
    assert (found.revision, found.rules) == (1, DEFAULT_RULES)


def test_hybrid_and_deterministic_are_features(kms: Qpher) -> None:
    """A plan without them denies hybrid algorithms and deterministic mode."""
    kms.tenants.create("small", plan="growth")
    small = kms.session("small", actor="x")
    with pytest.raises(PermissionDenied, match="hybrid"):
        small.keys.generate("X-Wing")
    small.keys.generate("ML-KEM-768")
    with pytest.raises(PermissionDenied, match="deterministic"):
        small.kem.encrypt(b"", mode="deterministic", salt=bytes(32))


def test_generating_again_is_a_rotation(kms: Qpher) -> None:
    """A plan without rotation may generate a first key and no second one beside it."""
    kms.tenants.create("small", plan="free")
    small = kms.session("small", actor="x")
    small.keys.generate("ML-KEM-768")
    for attempt in (small.keys.generate, small.keys.rotate):
        with pytest.raises(PermissionDenied, match="rotation"):
            attempt("ML-KEM-768")
    assert [key.version for key in small.keys.list()] == [1]


def test_quotas_through_the_service(kms: Qpher) -> None:
    """The free plan has three key versions and its calls; a used up quota is not a denial."""
    kms.policies.set('[{"rule":"quota","calls":4}]')
    kms.tenants.create("small", plan="enterprise")
    small = kms.session("small", actor="x")
    small.keys.generate("ML-KEM-768")
    small.keys.generate("ML-DSA-65")
    small.signatures.sign(b"")
    with pytest.raises(RateLimited, match="4 calls") as caught:
        small.signatures.sign(b"")
    assert caught.value.code == "ERR_QUOTA_001"
    kms.policies.set('[{"rule":"quota"}]')
    kms.tenants.set_plan("small", "free")
    small.keys.generate("ML-KEM-1024")
    with pytest.raises(RateLimited, match="3 key versions"):
        small.keys.generate("ML-DSA-44")
    assert kms.audit.verify("small").ok


def test_calls_are_those_of_the_month(kms: Qpher, acme: Session) -> None:
    """Entries of earlier months do not count; each entry of the month does."""
    store = open_store("memory:", parameter="url")
    year = [datetime(2026, month, 15, tzinfo=UTC) for month in range(1, 13) for _ in range(month)]
    clock = iter(year)
    log = StoredAuditLog(store.audit, lambda: next(clock))
    for _ in year:
        store.commit(lambda writer: log.append(writer.audit, TENANT, draft()))
    for month in (12, 11):  # the log's end is what is asked for
        usage = StoreUsage(store.keys, store.audit, store.api_keys)
        expected = sum(moment.month >= month for moment in year)
        assert usage.calls(TENANT, datetime(2026, month, 28, tzinfo=UTC)) == expected
    assert StoreUsage(store.keys, store.audit, store.api_keys).calls(uuid.uuid4(), NOW) == 0


def test_asking_about_a_month_to_come_counts_nothing_towards_it() -> None:
    """What is recorded after the question and before the month is not the month's."""
    store = open_store("memory:", parameter="url")
    moments = [datetime(2026, month, 15, tzinfo=UTC) for month in (1, 1, 2)]
    clock = iter(moments)
    log = StoredAuditLog(store.audit, lambda: next(clock))
    usage = StoreUsage(store.keys, store.audit, store.api_keys)
    for expected in (0, 0, 1):
        store.commit(lambda writer: log.append(writer.audit, TENANT, draft()))
        assert usage.calls(TENANT, moments[-1]) == expected


def test_quotas_renew_with_the_month() -> None:
    """After December comes January."""
    assert next_month(datetime(2026, 12, 31, tzinfo=UTC)) == datetime(2027, 1, 1, tzinfo=UTC)


def test_revisions_and_their_difference(kms: Qpher, acme: Session) -> None:
    """Every revision can be read again and compared with another."""
    kms.policies.set('[{"rule":"plan"},{"rule":"payload","max_bytes":5}]', tenant="acme")
    kms.policies.set(TOML, tenant="acme")
    assert kms.policies.revision(2, "acme").rules == TOML
    lines = kms.policies.diff(1, 2, "acme").splitlines()
    assert lines[:2] == ["--- revision 1", "+++ revision 2"]
    assert '-{"rule": "plan"}' in lines
    assert '+{"profile": "fips", "rule": "profile"}' in lines
    assert kms.policies.diff(2, 2, "acme") == ""
    with pytest.raises(NotFound):
        kms.policies.revision(3, "acme")
    for number in (0, -1, True, "1", None):
        with pytest.raises(ValidationError, match=r"^number "):
            kms.policies.revision(number, "acme")  # type: ignore[arg-type]


def test_explanations_say_what_each_rule_says(kms: Qpher, acme: Session) -> None:
    """Policy is asked without doing anything; the verdicts are those of all rules."""
    kms.policies.set('[{"rule":"profile","profile":"cnsa2"}]')
    kms.policies.set('[{"rule":"deny","actions":["keys.*"]}]', tenant="acme")
    before = len([*acme.audit.entries()])
    found = kms.policies.explain("acme", "keys.generate", algorithm="X-Wing")
    assert (found.decision.allow, found.decision.rule) == (False, "profile")
    told = [(v.document, v.index, v.rule, v.reason is None) for v in found.verdicts]
    assert told == [("service", 0, "profile", False), ("tenant", 0, "deny", False)]
    allowed = kms.policies.explain("acme", "kem.encrypt", algorithm="ML-KEM-1024", key_name="k")
    assert allowed.decision.allow
    assert all(verdict.reason is None for verdict in allowed.verdicts)
    with pytest.raises(ValidationError):
        kms.policies.explain("acme", "kem.encript")
    wrong: dict[str, Any] = {
        "actor": "",
        "payload_bytes": -1,
        "key_version": 0,
        "time": datetime.max.replace(tzinfo=UTC),
    }
    for name, value in wrong.items():
        with pytest.raises(ValidationError, match=rf"^{name} "):
            kms.policies.explain("acme", "kem.encrypt", **{name: value})
    assert len([*acme.audit.entries()]) == before


class Overtaking:
    """The rule chain, and a stranger who acts at the moment of a decision."""

    may_block = False

    def __init__(self, chain: RuleChain) -> None:
        self.chain = chain
        self.meanwhile: Callable[[], object] | None = None

    def decide(self, request: PolicyRequest) -> Decision:
        """Decide, then let the stranger act once."""
        decision = self.chain.decide(request)
        act, self.meanwhile = self.meanwhile, None
        if act is not None:
            act()
        return decision


def test_generating_at_the_same_moment_is_a_rotation_too() -> None:
    """A plan without rotation has one version, also when two generate the first at once."""
    store = open_store("memory:", parameter="url")
    engine = Overtaking(
        RuleChain(store.policies, StoreUsage(store.keys, store.audit, store.api_keys))
    )
    with qpher_core.open(store, policy=engine) as kms:
        kms.tenants.create("small", plan="free")
        small = kms.session("small", actor="x")
        engine.meanwhile = lambda: small.keys.generate("ML-KEM-768")
        with pytest.raises(PermissionDenied, match="rotation"):
            small.keys.generate("ML-KEM-768")
        assert [key.version for key in small.keys.list()] == [1]


def test_who_is_denied_does_not_learn_what_exists(kms: Qpher, acme: Session) -> None:
    """Policy decides before a missing key is reported."""
    kms.policies.set('[{"rule":"deny","actions":["kem.decrypt"]}]', tenant="acme")
    with pytest.raises(PermissionDenied):
        acme.kem.decrypt(b"", 9)
