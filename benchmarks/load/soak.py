# SPDX-License-Identifier: Apache-2.0
"""Many requests while things fail and change: ``make soak``.

Sixteen clients use a service with two workers. Meanwhile workers and the whole server are killed,
the server is stopped in order, the policy engine breaks or hangs, and connections are cut in the
middle of a request; another process revokes API keys, suspends a key and denies an operation.
With ``--together`` (``make soak SOAK=--together``) the rules alone decide, so that requests share
threads and commits.

At the end every answer that said yes is looked for in the audit log, as the entry of that very
request; nothing was allowed once a change that forbids it had returned, nor does the log tell of
a use between a key's suspension and its return; every key that was made under one idempotency key
is one key; the log is verified; and the memory of the workers that ran through the last part, in
which only the other faults go on, is compared.
"""

import argparse
import base64
import http.client
import itertools
import json
import random
import signal
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final

from rich.progress import Progress

import qpher_core
from benchmarks.load.soak_changes import KEM, MOVING, SIGNATURE, TENANT, Changes
from benchmarks.load.soak_server import Engine, Policy, Server, cut, memory
from qpher_core.models import AuditEntry
from qpher_core.service import Qpher

CLIENTS: Final = 16
MESSAGE: Final = base64.b64encode(bytes(32)).decode()

#: What part of the requests is made while processes are killed.
KILLING: Final = 0.6

#: Memory may grow by so much in the last part.
GROWTH: Final = 1.15

#: What part of the requests has an API key that is revoked.
REVOKED: Final = 0.02

#: What an answer tells of its entry: hash, request id, action, actor, key name and version.
Acknowledged = tuple[str, str, str, str, str, int]

#: Workers, and how much memory they have, in KiB.
Sample = tuple[list[int], int]


class Clients:
    """What the clients share: how much is to be done, and what was acknowledged."""

    def __init__(self, server: Server, changes: Changes, signature: str, total: int) -> None:
        self._server = server
        self._changes = changes
        self._signature = signature
        self._numbers = itertools.count()
        self._total = total
        self._lock = threading.Lock()
        self.done = 0
        self.statuses: Counter[str] = Counter()
        self.receipts: list[tuple[int, Acknowledged]] = []
        self.made: dict[str, set[int]] = {}
        self.forbidden: Counter[str] = Counter()

    def run(self, seed: int) -> None:
        """Make requests until all are made."""
        choose = random.Random(seed)
        connection = self._connection()
        while (number := next(self._numbers)) < self._total:
            while not self._tried(connection, choose, number):
                connection.close()
                time.sleep(0.1)
            with self._lock:
                self.done += 1
        connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self._server.port, timeout=30)

    def _tried(
        self, connection: http.client.HTTPConnection, choose: random.Random, number: int
    ) -> bool:
        """Make one request; False if nobody was there, because the server is being started."""
        try:
            self._request(connection, choose, number)
        except ConnectionRefusedError:
            return False
        except (OSError, http.client.HTTPException) as error:
            self.statuses[type(error).__name__] += 1
            connection.close()  # it connects again by itself
        return True

    def _request(
        self, connection: http.client.HTTPConnection, choose: random.Random, number: int
    ) -> None:
        changes = self._changes
        key_id, secret = changes.revoked if choose.random() < REVOKED else changes.current
        headers = {"x-api-key": secret, "content-type": "application/json"}
        action, name, path, body = self._chosen(choose.random())
        made = str(uuid.UUID(int=number // 500))  # several requests stand for one
        if action == "keys.rotate":
            headers["idempotency-key"] = made
        kinds = (secret, name, action)
        before = [changes.refused.get(kind) for kind in kinds]
        connection.request("POST", f"/api/v1/{path}", json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read()
        self.statuses[str(answer.status)] += 1
        if answer.status not in {200, 201}:
            return
        for kind, mark in zip(kinds, before, strict=True):
            if mark is not None and changes.refused.get(kind) is mark:
                self.forbidden["API key" if kind == secret else kind] += 1
        whole: dict[str, Any] = json.loads(text)
        data = whole["data"]
        if action == "keys.rotate":
            self.made.setdefault(made, set()).add(data["key_version"])
        else:
            told = (whole["request_id"], action, f"key:{key_id}", name, data["key_version"])
            receipt = data["receipt"]
            self.receipts.append((receipt["seq"], (receipt["hash"], *told)))

    def _chosen(self, kind: float) -> tuple[str, str, str, dict[str, Any]]:
        """Return action and key name of a request, its path and its body."""
        message = {"message": MESSAGE}
        if kind < 0.35:
            return "signatures.sign", "default", "signature/sign", message
        if kind < 0.45:
            return "signatures.sign", MOVING, "signature/sign", {**message, "name": MOVING}
        if kind < 0.7:
            body = {**message, "signature": self._signature, "key_version": 1}
            return "signatures.verify", "default", "signature/verify", body
        if kind < 0.99:
            return KEM, "default", "kem/encapsulate", {}
        rotated = {"algorithm": SIGNATURE, "name": "rotated"}
        return "keys.rotate", "rotated", "kms/keys/rotate", rotated


def _faults(server: Server, changes: Changes, choose: random.Random) -> dict[str, Any]:
    """Return what can be made to fail or change, by name."""

    def restart(how: signal.Signals) -> None:
        server.restart(how)
        time.sleep(3)

    def cut_some() -> None:
        for _ in range(20):
            cut(server.port, choose)

    def policy() -> None:
        Policy.mode = choose.choice(["fail", "break", "deny", "hang"])
        time.sleep(0.1)
        Policy.mode = "allow"

    return {
        "worker": server.kill_worker,
        "kill": lambda: restart(signal.SIGKILL),
        "stop": lambda: restart(signal.SIGTERM),
        "cut": cut_some,
        "policy": policy,
        "revoke": changes.revoke,
        "suspend": changes.suspend,
        "deny": changes.deny,
    }


def _disturb(
    server: Server, clients: Clients, total: int, faults: dict[str, Callable[[], None]]
) -> tuple[Counter[str], list[Sample]]:
    """Make things fail until all requests are made; return how often, and memory in between."""
    choose, counts, sizes = random.Random(3), Counter[str](), list[Sample]()
    gentle = [name for name in faults if name not in {"worker", "kill", "stop"}]
    while clients.done < total:
        time.sleep(choose.uniform(0.2, 1.2))
        early = clients.done < total * KILLING
        fault = choose.choice([*faults, "cut"] if early else gentle)
        counts[fault] += 1
        faults[fault]()
        if not early:
            workers = server.workers()
            sizes.append((workers, memory(workers)))
    return counts, sizes


def _told(entry: AuditEntry) -> Acknowledged:
    """Return of an entry what an answer tells of it."""
    fields = entry.fields
    key = fields["key"] or {"name": "", "version": 0}
    told = (fields["request_id"], fields["action"], fields["actor"], key["name"], key["version"])
    return entry.hash.hex(), *told


def _used_while_suspended(entries: Sequence[Acknowledged]) -> int:
    """Return how often the log tells of a signature between a suspension and its end."""
    suspended, found = False, 0
    for _, _, action, _, name, _ in entries:
        if name == MOVING and action in {"keys.suspend", "keys.resume"}:
            suspended = action == "keys.suspend"
        elif name == MOVING and action == "signatures.sign":
            found += suspended
    return found


def _judge(kms: Qpher, clients: Clients, samples: list[Sample]) -> list[str]:
    """Return what is wrong."""
    wrong = []
    report = kms.audit.verify(TENANT)
    session = kms.session(TENANT, actor="soak")
    log = {e.seq: _told(e) for e in session.audit.entries() if e.fields["outcome"] == "success"}
    versions = {key.version for key in session.keys.list(SIGNATURE, name="rotated")}
    if len(clients.receipts) < clients.done // 2:
        wrong.append("too little was acknowledged to tell anything")
    if not report.ok:
        wrong.append(f"the log is broken: {report}")
    lost = sum(log.get(seq) != told for seq, told in clients.receipts)
    if lost or len({seq for seq, _ in clients.receipts}) < len(clients.receipts):
        wrong.append(f"{lost} acknowledged operations are not in the log, or share an entry")
    if clients.forbidden:
        wrong.append(f"allowed after it was forbidden: {dict(clients.forbidden)}")
    if used := _used_while_suspended(list(log.values())):
        wrong.append(f"{used} signatures by a suspended key")
    twice = [made for made in clients.made.values() if len(made) > 1]
    if twice or not set().union(*clients.made.values()) <= versions:
        wrong.append(f"rotations were repeated or lost: {twice}")
    # One that was killed just before may still be starting: only the last ones' sizes count.
    sizes = [size for workers, size in samples if workers == samples[-1][0]]
    few = max(1, len(sizes) // 5)
    before, after = max(sizes[:few], default=0), min(sizes[-few:], default=0)
    print(f"memory of both workers in the last part: {before:,} KiB, at its end {after:,} KiB")
    if after > before * GROWTH:
        wrong.append("memory grew")
    return wrong


def _prepare(kms: Qpher) -> str:
    """Make a tenant and its keys; return a signature of the message."""
    kms.tenants.create(TENANT)
    session = kms.session(TENANT, actor="soak")
    for name in ("default", "rotated", MOVING):
        session.keys.generate(SIGNATURE, name=name)
    session.keys.generate("ML-KEM-768")
    return base64.b64encode(session.signatures.sign(bytes(32)).signature).decode()


def main() -> int:
    """Run it and print what happened."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=200_000)
    parser.add_argument("--together", action="store_true", help="let the rules alone decide")
    chosen = parser.parse_args()
    engine = Engine(("127.0.0.1", 0), Policy)
    threading.Thread(target=engine.serve_forever, daemon=True).start()
    policies = ["rules:"]
    if not chosen.together:
        policies.append(f"http://127.0.0.1:{engine.server_port}/decide")
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/q.db"
        with qpher_core.open(url) as kms:
            signature = _prepare(kms)
            changes = Changes(kms)
            server = Server(url, *policies)
            clients = Clients(server, changes, signature, chosen.requests)
            faults = _faults(server, changes, random.Random(4))
            if chosen.together:
                del faults["policy"]
            counts, sizes = _run(server, clients, chosen.requests, faults)
            server.stop()
            print("faults: " + ", ".join(f"{name} {count}" for name, count in counts.items()))
            print("answers: " + ", ".join(f"{k} {n:,}" for k, n in clients.statuses.most_common()))
            print(f"acknowledged with a receipt: {len(clients.receipts):,}")
            wrong = _judge(kms, clients, sizes)
    engine.shutdown()
    print("\n".join(wrong) or "nothing acknowledged is lost; the log is whole")
    return int(bool(wrong))


def _run(
    server: Server, clients: Clients, total: int, faults: dict[str, Callable[[], None]]
) -> tuple[Counter[str], list[Sample]]:
    """Make all requests while things fail."""
    threads = [threading.Thread(target=clients.run, args=(n,)) for n in range(CLIENTS)]
    start = time.monotonic()
    for thread in threads:
        thread.start()
    with Progress() as bar:
        task = bar.add_task("requests", total=total)
        watch = threading.Thread(target=_show, args=(bar, task, clients, total), daemon=True)
        watch.start()
        found = _disturb(server, clients, total, faults)
        for thread in threads:
            thread.join()
    print(f"{clients.done:,} requests in {time.monotonic() - start:.0f} s")
    return found


def _show(bar: Progress, task: Any, clients: Clients, total: int) -> None:
    while clients.done < total:
        bar.update(task, completed=clients.done)
        time.sleep(0.5)


if __name__ == "__main__":
    sys.exit(main())
