# SPDX-License-Identifier: Apache-2.0
"""The properties that fuzzing looks for hold of its seeds and of random inputs."""

import random

import pytest

from tests.fuzz.containers import PARSERS, one_input, seeds


def test_seeds_hold() -> None:
    """Well-formed inputs of each parser."""
    for given in seeds():
        one_input(given)


@pytest.mark.parametrize("parser", range(len(PARSERS)), ids=lambda n: PARSERS[n].__name__)
def test_altered_seeds_hold(parser: int) -> None:
    """Random changes of them; ``make fuzz-files`` goes on from here, led by coverage."""
    choose = random.Random(parser)
    starts = [given for given in seeds() if given[0] == parser]
    for _ in range(60):
        data = bytearray(choose.choice(starts))
        for _ in range(choose.randint(1, 4)):
            place = choose.randrange(len(data))
            data[place : place + choose.choice([0, 1, 1, 8])] = choose.randbytes(
                choose.randint(0, 8)
            )
        one_input(bytes([parser]) + bytes(data[1:]))
