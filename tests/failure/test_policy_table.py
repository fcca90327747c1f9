# SPDX-License-Identifier: Apache-2.0
"""The failure table of docs/policy.md: every failure, on every policy engine, through a service.

Each denies every operation, is recorded, and releases and changes nothing.
"""

import os
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from attrs import evolve

import qpher_core
from qpher_core import PermissionDenied, PolicyUnavailable, QpherError, Session
from qpher_core.algorithms import ALGORITHMS
from qpher_core.calls import Effect, KeyCall, KeySelector
from qpher_core.models import AuditEntry, KeyRecord, RequestContext
from qpher_core.operations import OPERATIONS
from qpher_core.service import Qpher
from tests.failure.policy_engines import ALLOWS, ENGINES, ROWS
from tests.world import CALLS, KEM, Goods, make_goods

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "policy.md"
_TABLE: Final = re.compile(r"(<!-- failures -->\n)(.*?)(<!-- end -->)", re.DOTALL)

#: One of every kind: protecting, processing, signing, reading, making and moving keys.
TRIED: Final = (
    *("kem.encrypt", "kem.decrypt", "kem.unwrap", "signatures.sign", "signatures.verify"),
    *("keys.get", "keys.list", "audit.read", "keys.generate", "keys.rotate", "keys.retire"),
)

_CELLS: Final = [(engine, row) for engine, rows in ENGINES.items() for row in rows]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Goods]:
    """Make a store with something of everything; tests work on copies of it."""
    folder = tmp_path_factory.mktemp("prepared")
    with qpher_core.open(f"sqlite:///{folder}/q.db") as kms:
        kms.tenants.create("acme")
        return folder, make_goods(kms.session("acme", actor="tester"))


@pytest.fixture
def folder(prepared: tuple[Path, Goods], tmp_path: Path) -> Path:
    """Return the folder of a store of one's own."""
    for file in prepared[0].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
        (tmp_path / file.name).chmod(0o600)
    return tmp_path


def _calls(kms: Qpher, row: str) -> dict[str, Callable[[Session, Goods], object]]:
    if row != "unknown action":
        return {action: CALLS[action] for action in TRIED}
    released: list[object] = []
    operation = evolve(OPERATIONS["kem.encapsulate"], action="kem.unknown")
    selector = KeySelector("k-main", ALGORITHMS[KEM], 1)
    call = KeyCall(
        operation=operation, selector=selector, execute=lambda _: Effect(released.append(1))
    )

    def unknown(_: Session, __: Goods) -> None:
        try:
            kms._pipeline.run(RequestContext(kms.tenants.get("acme").id, "tester"), call)
        finally:
            assert released == []

    return {operation.action: unknown}


def _refusal(kms: Qpher, goods: Goods, row: str) -> str:
    """Run the operations; each is refused in the same way, recorded, and changes nothing else."""
    session = kms.session("acme", actor="tester")
    outcomes = set()
    for action, call in _calls(kms, row).items():
        keys, entries = _content(kms)
        with pytest.raises((PolicyUnavailable, PermissionDenied)) as caught:
            call(session, goods)
        outcomes.add(_outcome(caught.value))
        keys_after, (*others, last) = _content(kms)
        assert (keys_after, others) == (keys, entries)
        assert (last.fields["action"], last.fields["outcome"]) == (action, "denied")
        assert last.fields["reason"].startswith(caught.value.code)
    assert kms.audit.verify("acme").ok
    [outcome] = outcomes
    return outcome


def _content(kms: Qpher) -> tuple[list[KeyRecord], list[AuditEntry]]:
    """Return the tenant's keys and its log, past every check."""
    tenant_id = kms.tenants.get("acme").id
    return list(kms._store.keys.find(tenant_id)), list(kms._store.audit.read(tenant_id))


def _outcome(error: QpherError) -> str:
    if isinstance(error, PermissionDenied):
        return f"denied (`{error.rule}`)"
    assert type(error) is PolicyUnavailable
    return "unavailable"


def _stated() -> dict[tuple[str, str], str]:
    """Return what the document says, by engine and row."""
    found = _TABLE.search(PAGE.read_text(encoding="utf-8"))
    assert found is not None
    lines = [line.strip("|").split("|") for line in found[2].splitlines()]
    engines = [cell.strip() for cell in lines[0][1:]]
    by_text = {text: row for row, text in ROWS.items()}
    return {
        (engine, by_text[line[0].strip()]): cell.strip()
        for line in lines[2:]
        for engine, cell in zip(engines, line[1:], strict=True)
    }


@pytest.mark.parametrize(("engine", "row"), _CELLS)
def test_every_failure_denies(
    engine: str, row: str, folder: Path, prepared: tuple[Path, Goods]
) -> None:
    """Refused as the document says; where nothing fails, the same operations are done."""
    goods = prepared[1]
    url = f"sqlite:///{folder}/q.db"
    with (
        ENGINES[engine][row](folder) as setting,
        qpher_core.open(url, policy=setting.policy, policy_deadline=30) as kms,
        warnings.catch_warnings(action="ignore", category=qpher_core.KeyStillNeeded),
    ):
        setting.begin()
        if row == ALLOWS:
            for action in TRIED:
                CALLS[action](kms.session("acme", actor="tester"), goods)
            return
        refused = _refusal(kms, goods, row)
    if os.environ.get("QPHER_WRITE_TABLE"):
        _write(engine, row, refused)
    assert _stated()[engine, row] == refused


def test_the_table_has_every_cell() -> None:
    """A failure that an engine cannot have is n/a, and every other cell is tried."""
    tried = {cell for cell in _CELLS if cell[1] != ALLOWS}
    stated = _stated()
    assert {engine for engine, _ in stated} == set(ENGINES)
    assert {row for _, row in stated} == set(ROWS)
    assert {cell for cell, text in stated.items() if text != "n/a"} == tried


def _write(engine: str, row: str, outcome: str) -> None:
    """Write one cell into the document."""
    cells = {(e, r): "n/a" for e in ENGINES for r in ROWS}
    page = PAGE.read_text(encoding="utf-8")
    if "<!-- failures -->\n|" in page:
        cells |= {cell: text for cell, text in _stated().items() if cell in cells}
    cells[engine, row] = outcome
    lines = ["| what happens | " + " | ".join(ENGINES) + " |", "|---" * (len(ENGINES) + 1) + "|"]
    lines += [
        f"| {text} | " + " | ".join(cells[e, r] for e in ENGINES) + " |" for r, text in ROWS.items()
    ]
    text = "\n".join(lines) + "\n"
    PAGE.write_text(_TABLE.sub(lambda m: m[1] + text + m[3], page), encoding="utf-8")
