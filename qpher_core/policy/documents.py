# SPDX-License-Identifier: Apache-2.0
"""Policy documents: a JSON array of rules, or the same in TOML as an array of tables ``rules``.

    [{"rule": "profile", "profile": "cnsa2"}]      [[rules]]
                                                   rule = "profile"
                                                   profile = "cnsa2"

What is wrong in a document is reported with the line on which the rule begins.
"""

import difflib
import glob
import json
import re
import tomllib
from collections.abc import Callable, Mapping
from datetime import time, timedelta
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, Final, NoReturn
from zoneinfo import ZoneInfo

from qpher_core.errors import ValidationError
from qpher_core.policy.match import MATCH_MEMBERS, Match
from qpher_core.policy.plans import Limits
from qpher_core.policy.profiles import PROFILES
from qpher_core.policy.rules import (
    DAYS,
    DenyRule,
    HoursRule,
    NetworksRule,
    OnlyRule,
    PayloadRule,
    PlanRule,
    ProfileRule,
    QuotaRule,
    RotationRule,
    Rule,
)

__all__ = ["diff_documents", "parse_rules", "with_rotation"]

_LONGEST_DOCUMENT: Final = 1 << 20
_MOST_DAYS: Final = 36_500
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_BETWEEN_ITEMS: Final = re.compile(r"[\s,]*")
_TOML_RULE: Final = re.compile(r"^[ \t]*\[\[[ \t]*rules[ \t]*\]\]", re.MULTILINE)

#: A rule's members as a document has them, the name of its type left out.
_Members = Mapping[str, Any]


def parse_rules(
    document: object, *, also: Callable[[Rule, str], None] | None = None
) -> tuple[Rule, ...]:
    """Return the rules of a document.

    Args:
        document: JSON or TOML.
        also: checks each rule further, with where it is, by raising ``ValidationError``.

    Raises:
        ValidationError: the document is not one; the message names the rule by its index and
            line.
    """
    if not isinstance(document, str) or len(document) > _LONGEST_DOCUMENT:
        _fail("rules", "text of at most 1 MiB")
    if _SURROGATE.search(document):
        _fail("rules", "text without lone surrogates")
    items, lines = _read(document)
    rules = []
    for index, item in enumerate(items):
        where = f"rules[{index}]"
        try:
            rules.append(_parse_rule(item, where))
            if also is not None:
                also(rules[-1], where)
        except ValidationError as error:
            raise ValidationError(
                f"line {lines[index]}: {error}", parameter=error.parameter
            ) from None
    return tuple(rules)


def diff_documents(old: str, new: str, *, names: tuple[str, str]) -> str:
    """Return the difference of two documents as a unified diff, a rule to a line."""
    before, after = (list(map(_line, _read(document)[0])) for document in (old, new))
    return "\n".join(difflib.unified_diff(before, after, *names, lineterm="", n=1))


def with_rotation(
    document: str, algorithm: str, key_name: str, members: Mapping[str, int] | None
) -> str:
    """Return a document as JSON in which one key has this rotation rule of its own, or none."""
    which = {"algorithms": [algorithm], "key_names": [glob.escape(key_name)]}
    items = [item for item in _read(document)[0] if not _is_rotation_of(item, which)]
    if members is not None:
        items.append({"rule": "rotation", **which, **members})
    return json.dumps(items, default=lambda moment: f"{moment:%H:%M}")  # TOML has times


def _is_rotation_of(item: object, which: Mapping[str, object]) -> bool:
    if not isinstance(item, dict) or item.get("rule") != "rotation":
        return False
    return all(item.get(name) == patterns for name, patterns in which.items())


def _line(item: object) -> str:
    return json.dumps(item, sort_keys=True, default=str)  # TOML has times, JSON has not


def _read(document: str) -> tuple[list[Any], list[int]]:
    """Return the items of a document and the line on which each begins."""
    return _read_toml(document) if _TOML_RULE.search(document) else _read_json(document)


def _read_json(document: str) -> tuple[list[Any], list[int]]:
    try:
        parsed = json.loads(document)
    except (ValueError, RecursionError) as error:
        raise ValidationError(f"rules are not JSON: {error}", parameter="rules") from None
    if not isinstance(parsed, list):
        _fail("rules", "a JSON array, or TOML with [[rules]] tables")
    return _json_items(document, len(parsed))


def _json_items(document: str, count: int) -> tuple[list[Any], list[int]]:
    """Return the items of a well-formed JSON array, and the line on which each begins."""
    decoder = json.JSONDecoder(object_pairs_hook=_no_duplicates)
    at, counted, line = document.index("[") + 1, 0, 1
    items, lines = [], []
    for _ in range(count):
        between = _BETWEEN_ITEMS.match(document, at)
        at = between.end() if between else at
        line += document.count("\n", counted, at)
        counted = at
        try:
            item, at = decoder.raw_decode(document, at)
        except ValueError as error:
            raise ValidationError(
                f"line {line}: rules are not JSON: {error}", parameter="rules"
            ) from None
        items.append(item)
        lines.append(line)
    return items, lines


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError("an object has the same member twice")
    return dict(pairs)


def _read_toml(document: str) -> tuple[list[Any], list[int]]:
    try:
        parsed = tomllib.loads(document)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ValidationError(f"rules are not TOML: {error}", parameter="rules") from None
    rules = parsed.pop("rules", None)
    if not isinstance(rules, list) or parsed:
        _fail("rules", "[[rules]] tables and nothing else, in TOML")
    found = [document.count("\n", 0, m.start()) + 1 for m in _TOML_RULE.finditer(document)]
    return rules, found if len(found) == len(rules) else [1] * len(rules)


def _parse_rule(item: object, where: str) -> Rule:
    if not isinstance(item, dict):
        _fail(where, "an object")
    kind = item.get("rule")
    parser = _PARSERS.get(kind) if isinstance(kind, str) else None
    if parser is None:
        _fail(f"{where}.rule", f"one of: {', '.join(_PARSERS)}")
    return parser({name: value for name, value in item.items() if name != "rule"}, where)


# --- one parser for each type of rule ----------------------------------------------------------


def _plan(members: _Members, where: str) -> Rule:
    _only_members(members, where, ())
    return PlanRule()


def _quota(members: _Members, where: str) -> Rule:
    names = ("calls", "key_versions", "api_keys")
    _only_members(members, where, names)
    limits = {name: _count(members[name], f"{where}.{name}") for name in names if name in members}
    if not limits:
        return QuotaRule(None)
    return QuotaRule(
        Limits(limits.get("calls"), limits.get("key_versions"), limits.get("api_keys"))
    )


def _profile(members: _Members, where: str) -> Rule:
    _only_members(members, where, ("profile", "processing"))
    profile = members.get("profile")
    if not isinstance(profile, str) or profile not in PROFILES:
        _fail(f"{where}.profile", f"one of: {', '.join(PROFILES)}")
    processing = members.get("processing", True)
    if not isinstance(processing, bool):
        _fail(f"{where}.processing", "true or false")
    return ProfileRule(profile, processing)


def _payload(members: _Members, where: str) -> Rule:
    _only_members(members, where, ("max_bytes",))
    return PayloadRule(_count(members.get("max_bytes"), f"{where}.max_bytes"))


def _hours(members: _Members, where: str) -> Rule:
    _only_members(members, where, ("from", "to", "days", "zone"))
    start, end = (_time(members.get(name), f"{where}.{name}") for name in ("from", "to"))
    if start == end:
        _fail(f"{where}.to", "another time than 'from'")
    days = members.get("days", list(DAYS))
    if not isinstance(days, list) or not days or not all(day in DAYS for day in days):
        _fail(f"{where}.days", f"an array of: {', '.join(DAYS)}")
    return HoursRule(start, end, frozenset(days), _zone(members.get("zone", "UTC"), where))


def _networks(members: _Members, where: str) -> Rule:
    _only_members(members, where, ("allow",))
    texts = _texts(members.get("allow"), f"{where}.allow")
    return NetworksRule(tuple(_network(text, f"{where}.allow") for text in texts))


def _match(members: _Members, where: str) -> Match:
    _only_members(members, where, MATCH_MEMBERS)
    if not members:
        _fail(where, f"an object with one of: {', '.join(MATCH_MEMBERS)}")
    return Match(**{name: _texts(value, f"{where}.{name}") for name, value in members.items()})


def _rotation(members: _Members, where: str) -> Rule:
    numbers, patterns = ("max_age_days", "max_uses", "warn_days"), ("algorithms", "key_names")
    _only_members(members, where, (*numbers, *patterns))
    given = {n: _count(members[n], f"{where}.{n}") for n in numbers if n in members}
    age = given.get("max_age_days")
    if not age and not given.get("max_uses"):
        _fail(where, "an object with max_age_days or max_uses, from 1")
    match = Match(**{n: _texts(members[n], f"{where}.{n}") for n in patterns if n in members})
    warn = given.get("warn_days", 14 if age is None else min(14, age // 4))
    if max(age or 0, warn) > _MOST_DAYS:
        _fail(where, f"an object with at most {_MOST_DAYS} days")
    return RotationRule(
        match,
        timedelta(days=age) if age else None,
        given.get("max_uses") or None,
        timedelta(days=warn),
    )


_PARSERS: Final[Mapping[str, Callable[[_Members, str], Rule]]] = {
    "plan": _plan,
    "quota": _quota,
    "profile": _profile,
    "deny": lambda members, where: DenyRule(_match(members, where)),
    "only": lambda members, where: OnlyRule(_match(members, where)),
    "payload": _payload,
    "hours": _hours,
    "networks": _networks,
    "rotation": _rotation,
}


# --- values ------------------------------------------------------------------------------------


def _fail(where: str, expected: str) -> NoReturn:
    raise ValidationError(f"{where} must be {expected}", parameter=where)


def _only_members(members: _Members, where: str, allowed: tuple[str, ...]) -> None:
    for name in members:
        if name not in allowed:
            raise ValidationError(
                f"{where} has an unknown member {name!r}; allowed: {', '.join(allowed) or 'none'}",
                parameter=where,
            )


def _count(value: object, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        _fail(where, "an integer from 0")
    return value


def _texts(value: object, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(v, str) for v in value):
        _fail(where, "an array of text, not empty")
    return tuple(value)


def _time(value: object, where: str) -> time:
    if isinstance(value, time) and value.tzinfo is None:
        return value  # TOML has times
    if isinstance(value, str) and re.fullmatch(r"([01][0-9]|2[0-3]):[0-5][0-9]", value):
        return time.fromisoformat(value)
    _fail(where, "a time such as 08:30")


def _zone(value: object, where: str) -> ZoneInfo:
    try:
        return ZoneInfo(str(value))
    except (KeyError, ValueError, OSError):
        _fail(f"{where}.zone", "an IANA time zone such as Europe/Vienna")


def _network(text: str, where: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text)
    except ValueError:
        _fail(where, f"an array of networks such as 10.0.0.0/8, not {text!r}")
