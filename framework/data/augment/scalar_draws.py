"""What `framework.data.random` draws for one example, in plain Python.

For code that NumPy or another library runs image by image: there twenty small TensorFlow operations would cost as much
as what is done with the numbers. Same seed, same numbers, to the bit.
"""

import hashlib
from collections.abc import Sequence

from framework.data.random import GAMMA, MIX_1, MIX_2

_MASK = 2**64 - 1


def salt_of(*salts: int | str) -> int:
    """The number that `fold_in` makes of these salts; computed once, it serves all examples."""
    return int.from_bytes(hashlib.blake2b(repr(salts).encode(), digest_size=8).digest(), "little")


def uniform(seed: Sequence[int], salt: int, count: int) -> list[float]:
    """As `random.uniform(random.fold_in(seeds, *salts), [count])` for one row of `seeds`.

    Args:
        seed: The row: int64 `[2]`, as Python integers.
        salt: `salt_of(*salts)`.
        count: How many numbers.
    """
    stream = _mix64((seed[0] & _MASK) ^ salt)
    state = _mix64(stream + (seed[1] + 1) * GAMMA & _MASK)
    draws: list[float] = []
    for step in range(1, (count + 1) // 2 + 1):
        word = _mix64(state + step * GAMMA & _MASK)
        # The upper 24 bits of each half, the low half first.
        draws += ((word >> 8 & 0xFFFFFF) * 2.0**-24, (word >> 40) * 2.0**-24)
    return draws[:count]


def _mix64(word: int) -> int:
    word = (word ^ word >> 30) * MIX_1 & _MASK
    word = (word ^ word >> 27) * MIX_2 & _MASK
    return word ^ word >> 31
