# SPDX-License-Identifier: Apache-2.0
"""Run every operation while no file may grow, then again with room: ``full_disk.py URL``."""

import resource
import sys

import qpher_core
from tests.world import CALLS, RECORDED, make_goods, snapshot


def main(url: str) -> None:
    """Print how each ended."""
    with qpher_core.open(url, anchors=qpher_core.AnchorSettings(every_seconds=None)) as kms:
        kms.tenants.create("acme")
        session = kms.session("acme", actor="tester")
        goods = make_goods(session)
        before = snapshot(kms)
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        lines = []
        resource.setrlimit(resource.RLIMIT_FSIZE, (1, limits[1]))
        for action in RECORDED:
            try:
                CALLS[action](session, goods)
            except qpher_core.QpherError as error:
                lines.append(f"{action} {type(error).__name__}")
            else:
                lines.append(f"{action} released")
        unchanged = snapshot(kms) == before
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        lines.append("unchanged" if unchanged else "changed")
        for call in CALLS.values():
            call(session, goods)
        lines.append("all work" if kms.audit.verify("acme").ok else "the chain is broken")
        sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
