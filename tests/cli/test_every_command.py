# SPDX-License-Identifier: Apache-2.0
"""Every command, one after the other, on a local store and on a service elsewhere."""

import json
import re
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import click
import pytest
from attrs import define, field, frozen
from click.testing import CliRunner, Result

import qpher_core
from qpher_core.api_keys import SCOPES
from qpher_core.asgi import create_app
from qpher_core.cli.main import main
from tests.http.server import serving
from tests.http.test_serve import serve

KINDS: Final = ("local", "service")
_WHERE: Final = "done where the service runs"


@frozen
class Row:
    """A command line that is run, and what must come of it.

    Attributes:
        words: the command line; members that were kept stand in braces.
        shows: pattern of what it prints.
        status: the exit status.
        elsewhere: (pattern, status) at a service, where they are others.
        keep: member of the JSON that later rows use.
        output: file that standard output is kept in.
    """

    words: str
    shows: str = r"^$"
    status: int = 0
    elsewhere: tuple[str, int] | None = None
    keep: str = ""
    output: str = ""

    def expected(self, kind: str) -> tuple[str, int]:
        """Return pattern and status for one kind of store."""
        here = (self.shows, self.status)
        return here if kind == "local" or self.elsewhere is None else self.elsewhere


#: The refusal of what by its nature is done where the service runs.
_THERE: Final = (_WHERE, 2)

ROWS: Final = (
    # Tenants, API keys, rules
    Row("init --store {fresh}", "api key .* qph_", elsewhere=_THERE),
    Row("tenant create beta --json", '"name": "beta"', keep="id"),
    Row("tenant list", "beta .* active"),
    Row("tenant set-plan beta --plan pro", "plan +pro"),
    Row("tenant suspend beta", "status +suspended"),
    Row("tenant resume beta", "status +active"),
    Row("api-key create beta --name ci --scope kem --json", "qph_", keep="id"),
    Row("api-key list beta", "ci .* kem"),
    Row("api-key rotate beta {id} --json", '"version": 2', keep="id"),
    Row("api-key revoke beta {id}", "valid +False"),
    Row("policy check rules.json", "2 rules, all well-formed"),
    Row("policy schema", "namespace|entity"),
    Row("policy set rules.json", r"revision \d counts now"),
    Row("policy show", "max_uses"),
    Row("policy diff 1 2", r'\+\{.*"rotation"', 1),
    Row("policy diff 2 2"),
    Row("policy explain kem.encrypt --tenant operators", r"allowed: .*\n.*\n.* plan"),
    Row("policy explain kem.decrypt --tenant operators --policy rules:", "allowed",
        elsewhere=_THERE),
    # Keys
    Row("keys generate ML-KEM-512", "version +1"),
    Row("keys generate ML-DSA-44", "version +1"),
    Row("keys list", "ML-DSA-44 .* active"),
    Row("keys show ML-KEM-512 1", "state +active"),
    Row("keys public ML-DSA-44 --output dsa.pem"),
    Row("keys import-parameters", '"encapsulation_key"|algorithm', output="parameters.json"),
    Row("keys wrap ML-KEM-512 seed --parameters parameters.json --name own -o own.wrapped"),
    Row("keys import ML-KEM-512 own.wrapped --name own", "name +own"),
    Row("keys suspend ML-KEM-512 1 --name own", "state +suspended"),
    Row("keys resume ML-KEM-512 1 --name own", "state +active"),
    Row("keys retire ML-KEM-512 1 --name own", "state +retired"),
    Row("keys archive ML-KEM-512 1 --name own", "state +archived"),
    Row("keys restore ML-KEM-512 1 --name own", "state +retired"),
    Row("keys compromise ML-KEM-512 1 --name own", "state +compromised"),
    Row("keys evidence ML-KEM-512 1 --name own", "protected +0"),
    Row("keys destroy ML-KEM-512 1 --name own --yes", "state +destroyed"),
    # Files
    Row("encrypt plain --algorithm ML-KEM-512 --output a.qph"),
    Row("decrypt a.qph --output -", "^some text$"),
    Row("sign plain --algorithm ML-DSA-44"),
    Row("verify plain", "valid +True"),
    Row("keys rotate ML-DSA-44", "version +2"),
    Row("rotate ML-KEM-512", "version +2"),
    Row("rewrap a.qph --algorithm ML-KEM-512", "moved"),
    Row("migrate archive --algorithm ML-KEM-512 --json", '"moved": 0'),
    Row("maintain --dry-run", "ML-KEM-512 .* overdue|overdue", 1),
    Row("maintain", "rotated"),
    # Key encryption keys
    Row("protector show", "KEK in use: [0-9a-f]{16}"),
    Row("protector rewrap", "0 records moved"),
    Row("protector rewrap --renew", r"[1-9]\d* records moved", elsewhere=_THERE),
    Row("protector create file://{here}/other.kek", "^[0-9a-f]{16}$"),
    Row("protector new-kek", "^[0-9A-Za-z+/]{43}=$"),
    # Audit logs
    Row("audit keys", r"\+", output="anchor.vkey"),
    Row("audit export all.jsonl --tenant operators"),
    Row("audit verify all.jsonl --key anchor.vkey", "^sound: .* entries"),
    Row("audit export signed.jsonl.gz --tenant operators --action signatures.sign_hash"),
    Row("audit verify signed.jsonl.gz --key anchor.vkey", "^sound: 1 of"),
    Row("audit export service.jsonl"),
    Row("audit verify service.jsonl --key anchor.vkey", "^sound: "),
    Row("audit proof all.jsonl --seq 0 --out p --entry e"),
    # The entry is about a content, the tenant's document, and none is given.
    Row("audit verify-proof p --entry e --key anchor.vkey", "NOT SOUND: other-content", 1),
    Row("audit anchor --tenant operators", "qpher", elsewhere=_THERE),
    Row("audit rotate-key", r"\+", elsewhere=_THERE),
    Row("audit verify-store --tenant operators", "^sound: ", elsewhere=_THERE),
    Row("audit move-out out --tenant operators", "entries", elsewhere=_THERE),
    # All of it
    Row("report --json", '"provider"'),
    Row("doctor --json", '"standing": "ok"'),
    Row("bench -a ML-KEM-512 --rounds 1 --json", "ML-KEM-512"),
    Row("demo plain --output demo", "ok"),
    Row("completion bash", "_QPHER_CORE_COMPLETE"),
)  # fmt: skip

#: Run as a process of its own, which goes on until it is stopped.
_PROCESSES: Final = {"serve"}


@define
class Place:
    """Where commands are run: a folder, an environment, and what earlier ones gave."""

    kind: str
    folder: Path
    environment: Mapping[str, str]
    kept: dict[str, str] = field(factory=dict)

    def run(self, row: Row) -> Result:
        """Run the command line of a row."""
        words = row.words.format(here=self.folder, fresh=self.fresh, **self.kept).split()
        done = CliRunner(env=self.environment).invoke(main, words)
        if row.keep and done.exit_code == 0:
            self.kept[row.keep] = json.loads(done.stdout)[row.keep]
        if row.output:
            (self.folder / row.output).write_text(done.stdout)
        return done

    def wrong(self, row: Row) -> str:
        """Run the command line of a row and return what is not as it must be."""
        done = self.run(row)
        shows, status = row.expected(self.kind)
        good = done.exit_code == status and re.search(shows, done.output, re.MULTILINE)
        return "" if good else f"{row.words}: {done.exit_code}: {done.output}{done.exception}"

    @property
    def fresh(self) -> str:
        """A store that is not there yet; at a service, the service."""
        url = self.environment["QPHER_STORE"]
        return url if self.kind == "service" else f"sqlite:///{self.folder}/fresh.db"


@pytest.fixture(params=KINDS)
def place(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Place]:
    """Yield a folder with the files that the rows name, and a store."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plain").write_text("some text")
    (tmp_path / "seed").write_bytes(bytes(range(64)))
    (tmp_path / "archive").mkdir()
    rules = [{"rule": "plan"}, {"rule": "rotation", "max_uses": 1}]
    (tmp_path / "rules.json").write_text(json.dumps(rules))
    url = f"sqlite:///{tmp_path}/qpher.db"
    with qpher_core.open(url) as kms:
        kms.tenants.create("operators")
        _, secret = kms.api_keys.create("operators", name="admin", scopes=SCOPES)
        common = {"QPHER_TENANT": "operators"}
        if request.param == "local":
            yield Place("local", tmp_path, {"QPHER_STORE": url, **common})
            return
        with serving(create_app(kms)) as base:
            remote = {"QPHER_STORE": base, "QPHER_API_KEY": secret, **common}
            yield Place("service", tmp_path, remote)


def _leaves(command: click.Command, name: str = "") -> Iterator[str]:
    """Yield the names of all commands below one."""
    if not isinstance(command, click.Group):
        yield name
        return
    for part, inner in command.commands.items():
        yield from _leaves(inner, f"{name} {part}".strip())


def _named(row: Row) -> str:
    """Return the command that a row runs."""
    first, second, *_ = [*row.words.split(), ""]
    return f"{first} {second}" if isinstance(main.commands[first], click.Group) else first


def test_no_command_is_missing() -> None:
    """The table has every command, and no other."""
    assert {_named(row) for row in ROWS} | _PROCESSES == set(_leaves(main))


def test_every_command(place: Place) -> None:
    """Each gives what it is for on both kinds of store, or says that its place is elsewhere."""
    assert [wrong for row in ROWS if (wrong := place.wrong(row))] == []


def test_serve(place: Place) -> None:
    """A local store is served until the process is told to stop; a service is not served again."""
    url = place.environment["QPHER_STORE"]
    if place.kind == "service":
        done = CliRunner().invoke(main, ["serve", "--store", url])
        assert (done.exit_code, _WHERE in done.output) == (2, True)
        return
    served = serve(url)
    try:
        served.wait()
    finally:
        served.process.send_signal(signal.SIGTERM)
    assert served.process.wait(timeout=60) in {0, -signal.SIGTERM}
