# SPDX-License-Identifier: Apache-2.0
"""The published SDK and its CLI work with nothing changed but the base URL."""

import subprocess
from pathlib import Path

import pytest

import qpher_core
from qpher_core.asgi import create_app
from qpher_core.service import Qpher
from tests.http.sdk import VERSIONS, binaries, document_blocks, rerun, run_program, world
from tests.http.server import serving


def test_slh_dsa_is_refused_at_once_where_it_is_missing(
    kms: Qpher, base: str, api_key: str, tmp_path: Path
) -> None:
    """An algorithm that the provider lacks is ERR_SIG_022, which the SDK does not retry."""
    if "SLH-DSA-SHA2-128f" in {row.name for row in kms.algorithms}:
        pytest.skip("the default provider has SLH-DSA")
    program = tmp_path / "slh.py"
    program.write_text(
        "import sys, time, qpher\n"
        "client = qpher.Qpher(sys.argv[2], base_url=sys.argv[1])\n"
        "begun = time.monotonic()\n"
        "try:\n"
        "    client.keys.generate('SLH-DSA-SHA2-128f')\n"
        "except qpher.ServerError as error:\n"
        "    print(error.status_code, error.error_code, time.monotonic() - begun < 0.5)\n"
    )
    done = run_program("1.4.0", program, base, api_key)
    assert done.stdout.split() == ["503", "ERR_SIG_022", "True"], done.stderr


def test_slh_dsa_works_where_a_provider_has_it(tmp_path: Path) -> None:
    """With a provider that has SLH-DSA the SDK signs and verifies with it."""
    pytest.importorskip("pqcrypto", reason="the provider of SLH-DSA is not installed")
    program = tmp_path / "slh.py"
    program.write_text(
        "import sys, qpher\n"
        "client = qpher.Qpher(sys.argv[2], base_url=sys.argv[1])\n"
        "name = 'SLH-DSA-SHA2-128f'\n"
        "client.keys.generate(name)\n"
        "signed = client.signatures.sign(b'x', 1, algorithm=name)\n"
        "print(len(signed.signature), signed.algorithm)\n"
        "print(client.signatures.verify(b'x', signed.signature, 1, algorithm=name).valid)\n"
    )
    with qpher_core.open("memory:", primitives="rustcrypto") as kms:
        kms.tenants.create("acme")
        _, key = kms.api_keys.create("acme")
        with serving(create_app(kms)) as base:
            done = run_program("1.4.0", program, base, key)
    assert done.stdout.split() == ["17088", "SLH-DSA-SHA2-128f", "True"], done.stderr


@pytest.mark.parametrize("version", VERSIONS)
def test_the_transcripts_are_what_the_sdk_gives(version: str, tmp_path: Path) -> None:
    """Each method and command gives what docs/sdk.md shows (``make sdk-transcripts``)."""
    library, commands = document_blocks(version)
    for block in (library, commands):
        folder = tmp_path / block.heading.split()[0]
        folder.mkdir()
        with world(folder) as environment:
            assert rerun(version, block, environment, folder) == block.text


@pytest.mark.parametrize("version", VERSIONS)
def test_the_transcripts_have_every_command(version: str) -> None:
    """No command of the command line is left out."""
    code = (
        "from qpher.cli.main import cli\n"
        "for name, command in cli.commands.items():\n"
        "    inner = getattr(command, 'commands', None)\n"
        "    print(*([f'{name} {i}' for i in inner] if inner else [name]), sep='\\n')\n"
    )
    python = str(binaries(version) / "python")
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    text = document_blocks(version)[1].text
    used = {name for name in done.stdout.splitlines() if f"qpher {name}" in text}
    assert used == set(done.stdout.splitlines())
