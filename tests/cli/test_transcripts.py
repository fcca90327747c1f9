# SPDX-License-Identifier: Apache-2.0
"""The transcripts of docs/cli.md, run again on every kind of store."""

from pathlib import Path

import pytest

from tests.cli.transcripts import DOCUMENT, blocks, local_store, rerun, statuses

#: What is done where the store is, and what a service counts in another way.
LOCAL = {"Setting up", "Before a key goes"}

TEXT = DOCUMENT.read_text(encoding="utf-8")


def test_every_transcript_is_what_a_local_store_gives(tmp_path: Path) -> None:
    """The document shows what happens; ``python -m tests.cli.transcripts`` writes it anew."""
    with local_store(tmp_path) as environment:
        for block in blocks(TEXT):
            assert rerun(block, environment, tmp_path) == block.text


def test_transcripts_are_the_same_on_every_store(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """A service over HTTP gives what a local store gives, refusals included."""
    for block in blocks(TEXT):
        if block.heading not in LOCAL:
            assert rerun(block, environment, tmp_path) == block.text


def test_the_table_of_exit_statuses_is_current() -> None:
    """The document has the table that the code has."""
    assert statuses() in TEXT


@pytest.mark.parametrize("status", [2, 3, 5])
def test_refusals_are_shown(status: int) -> None:
    """The transcripts show refusals, too."""
    assert f"[exit status {status}]" in TEXT
