# SPDX-License-Identifier: Apache-2.0
"""The published accumulated digests of ML-KEM, which are of the draft of FIPS 203.

The digests that C2SP/CCTV publishes for 10,000 cases come from the draft, whose key generation
hashed d where the standard hashes d and k. A copy of the core without that one byte must give
them: so all the rest of this core agrees with an independent implementation in 30,000 cases.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from cffi import FFI

from tests.native.internal import CSRC

CASES = 10_000
SETS = {
    0: "845913ea5a308b803c764a9ed8e9d814ca1fd9c82ba43c7b1e64b79c7a6ec8e4",
    1: "f7db260e1137a742e05fe0db9525012812b004d29040a5b606aad3d134b548d3",
    2: "47ac888fe61544efc0518f46094b4f8a600965fc89822acb06dc7169d24f3543",
}
# Algorithm 13 line 1, as the core has it and as the draft had it.
FINAL = "mlkem_queue_g(queue, &jobs[i].g, SYM + 1);"
DRAFT = "mlkem_queue_g(queue, &jobs[i].g, SYM);"
DRIVER = """
/* The accumulated test of CCTV: out = SHAKE128 over the results of the cases. */
#include "keccak.h"
#include "qpher_native.h"
void accumulate(int set, int cases, qpher_mlkem_dk *dk, uint8_t *out);
void accumulate(int set, int cases, qpher_mlkem_dk *dk, uint8_t *out)
{
    static uint8_t ek[1568], expanded[3168], ct[1568], random[1568], seed[64], m[32], ss[2][32];
    const size_t ct_len = qpher_mlkem_ct_length(set);
    keccak_sponge input, total;
    shake128_init(&input);
    shake_finalize(&input);
    shake128_init(&total);
    for (int i = 0; i < cases; i++) {
        shake_squeeze(&input, seed, 64);
        shake_squeeze(&input, m, 32);
        shake_squeeze(&input, random, ct_len);
        qpher_mlkem_from_seed(dk, set, seed, 64);
        qpher_mlkem_encode_ek(qpher_mlkem_ek_of(dk), ek, qpher_mlkem_ek_length(set));
        qpher_mlkem_expanded(dk, expanded, qpher_mlkem_dk_length(set));
        qpher_mlkem_encapsulate_with(qpher_mlkem_ek_of(dk), ct, ss[0], m, 32);
        qpher_mlkem_decapsulate(dk, ss[1], random, ct_len);
        shake_absorb(&total, ek, qpher_mlkem_ek_length(set));
        shake_absorb(&total, expanded, qpher_mlkem_dk_length(set));
        shake_absorb(&total, ct, ct_len);
        shake_absorb(&total, ss[0], 64);
    }
    shake_finalize(&total);
    shake_squeeze(&total, out, 32);
}
"""


@pytest.fixture(scope="module")
def draft(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the core with the key generation of the draft, compiled."""
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        pytest.skip("no C compiler")
    folder = tmp_path_factory.mktemp("draft") / "csrc"
    shutil.copytree(CSRC, folder)
    found = [path for path in folder.glob("mlkem*.c") if FINAL in path.read_text(encoding="utf-8")]
    assert len(found) == 1, "the hash of algorithm 13 line 1 is written in another way now"
    text = found[0].read_text(encoding="utf-8")
    assert text.count(FINAL) == 1
    found[0].write_text(text.replace(FINAL, DRAFT), encoding="utf-8")
    (folder / "driver.c").write_text(DRIVER, encoding="utf-8")
    library = folder / "libdraft.so"
    sources = map(str, folder.glob("*.c"))
    command = [compiler, "-std=c11", "-O2", "-shared", "-fPIC", "-o", str(library), *sources]
    subprocess.run(command, check=True)
    return library


@pytest.mark.parametrize("set_", SETS)
def test_the_draft_of_this_core_gives_the_published_digests(draft: Path, set_: int) -> None:
    """10,000 cases of one parameter set."""
    ffi = FFI()
    ffi.cdef(
        "int qpher_init(int); size_t qpher_mlkem_dk_bytes(void); void *qpher_map(size_t, int *);"
        "void accumulate(int, int, void *, uint8_t *);"
    )
    lib = ffi.dlopen(str(draft))
    assert lib.qpher_init(-1) >= 0
    key, out = lib.qpher_map(lib.qpher_mlkem_dk_bytes(), ffi.NULL), ffi.new("uint8_t[32]")
    lib.accumulate(set_, CASES, key, out)
    assert bytes(out).hex() == SETS[set_]
