# SPDX-License-Identifier: Apache-2.0
"""Memory for opened keys: aligned, zeroed, wiped when free, never shared by two keys."""

from __future__ import annotations

import gc
import os
import re
import threading
from pathlib import Path

import pytest

from qpher_native import key_memory
from qpher_native._memory import Pool
from qpher_native._native import ffi, lib


def address(slot: object) -> int:
    """Where a slot lies."""
    return int(ffi.cast("uintptr_t", slot))


def content(slot: object, size: int) -> bytes:
    """The bytes of a slot."""
    return bytes(ffi.buffer(ffi.cast("uint8_t *", slot), size))


def test_slots_are_aligned_zeroed_and_distinct() -> None:
    """Every slot is aligned to 64 bytes, all zero, and overlaps no other."""
    pool = Pool("uint8_t *", 1000)
    slots = [pool.take() for _ in range(600)]
    places = sorted(address(slot) for slot in slots)
    assert all(place % 64 == 0 for place in places)
    assert all(b - a >= 1000 for a, b in zip(places, places[1:], strict=False))
    assert all(content(slot, 1000) == bytes(1000) for slot in slots)


def test_a_dropped_slot_is_wiped_and_used_again() -> None:
    """What was in a slot is gone as soon as nothing refers to it, and the slot comes back."""
    pool = Pool("uint8_t *", 256)
    slot = pool.take()
    place = address(slot)
    ffi.buffer(slot, 256)[:] = b"\xa5" * 256
    alias = ffi.cast("uint8_t *", place)
    del slot
    gc.collect()
    assert content(alias, 256) == bytes(256)
    assert address(pool.take()) == place


def test_what_is_public_of_a_slot_is_not_wiped() -> None:
    """Only the first ``wiped`` bytes of a dropped slot are zeroed."""
    pool = Pool("uint8_t *", 256, wiped=100)
    slot = pool.take()
    alias = ffi.cast("uint8_t *", address(slot))
    ffi.buffer(slot, 256)[:] = b"\xa5" * 256
    del slot
    gc.collect()
    assert content(alias, 256) == bytes(100) + b"\xa5" * 156


def test_a_second_reference_keeps_the_slot() -> None:
    """A computation that holds the pointer keeps it from being wiped and given away."""
    pool = Pool("uint8_t *", 256)
    key = pool.take()
    in_flight = key
    ffi.buffer(key, 256)[:] = b"\xa5" * 256
    del key
    others = [pool.take() for _ in range(5)]
    assert content(in_flight, 256) == b"\xa5" * 256
    assert address(in_flight) not in map(address, others)


def test_many_threads_never_share_a_slot() -> None:
    """Threads that take, fill, check and drop slots never see each other's bytes."""
    pool = Pool("uint8_t *", 512)
    wrong: list[int] = []

    def work(mark: int) -> None:
        for _ in range(300):
            held = [pool.take() for _ in range(4)]
            for slot in held:
                if content(slot, 512) != bytes(512):
                    wrong.append(mark)
                ffi.buffer(slot, 512)[:] = bytes([mark]) * 512
            if any(content(slot, 512) != bytes([mark]) * 512 for slot in held):
                wrong.append(mark)

    threads = [threading.Thread(target=work, args=(i + 1,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_secret_pages_are_left_out_of_core_dumps() -> None:
    """The kernel's flags of the pages say: not dumped, and locked if the limit allowed it."""
    smaps = Path("/proc/self/smaps")
    if not smaps.exists():
        pytest.skip("no /proc/self/smaps on this system")
    locked = ffi.new("int *")
    place = lib.qpher_map(8192, locked)
    assert place
    start = address(place)
    flags = None
    inside = False
    for line in smaps.read_text().splitlines():
        mapping = re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line)
        if mapping:
            inside = int(mapping[1], 16) <= start < int(mapping[2], 16)
        elif inside and line.startswith("VmFlags:"):
            flags = line.split()[1:]
    lib.qpher_unmap(place, 8192)
    assert flags is not None
    assert "dd" in flags
    if "asan" not in os.environ.get("LD_PRELOAD", ""):  # AddressSanitizer makes mlock do nothing
        assert ("lo" in flags) == bool(locked[0])


def test_secret_memory_is_counted() -> None:
    """key_memory counts the pages of secret pools and no others."""
    before = key_memory()
    Pool("uint8_t *", 64, secret=False).take()
    assert key_memory() == before
    Pool("uint8_t *", 64).take()
    after = key_memory()
    assert sum(after.values()) > sum(before.values())


def test_sizes_that_make_no_sense_are_refused() -> None:
    """A pool needs a positive size; a mapping of nothing or of too much is null."""
    with pytest.raises(ValueError, match="size must be positive"):
        Pool("uint8_t *", 0)
    assert not lib.qpher_map(0, ffi.NULL)
    assert not lib.qpher_map(1 << 40, ffi.NULL)
    lib.qpher_unmap(ffi.NULL, 5)
    lib.qpher_wipe(ffi.NULL, 5)
