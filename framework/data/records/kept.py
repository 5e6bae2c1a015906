"""What takes a pass over records to know, and is kept beside the files' indexes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import zipfile
from collections.abc import Callable, Mapping

import numpy as np

from framework import files
from framework.data.records.index import places
from framework.data.records.source import RecordSource
from framework.data.statistics import progress

_CHUNK = 1024


def kept(source: RecordSource, what: str, make: Callable[[], Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Arrays that are made once, and read where they have been made before of the same records.

    Args:
        source: Whose records these are.
        what: Of which arrays there are several; all that decides them besides the records.
        make: Makes them.
    """
    digest = hashlib.blake2b(json.dumps([source.content, what]).encode(), digest_size=16).hexdigest()
    kept_at = [place.with_name(f"{digest}.npz") for place in places(source.paths[0])]
    for place in kept_at:
        # The file is opened here: NumPy would leave one open that is damaged.
        broken = contextlib.suppress(OSError, ValueError, EOFError, zipfile.BadZipFile)
        with broken, place.open("rb") as file, np.load(file) as arrays:
            return dict(arrays)
    made = make()
    for place in kept_at:
        with contextlib.suppress(OSError):  # read-only or full, here or there: then they are made again next time
            place.parent.mkdir(parents=True, exist_ok=True)
            with files.replacing(place) as temporary, temporary.open("wb") as output:
                np.savez(output, **made)  # type: ignore[arg-type]
            break
    return dict(made)


def number_each(source: RecordSource, number: Callable[[bytes], int], title: str) -> np.ndarray:
    """A number of every record, int64 `[examples]`; there is a progress bar with this title."""
    numbers, count = map(number, source.raw_records()), source.num_examples
    parts = (np.fromiter(numbers, np.int64, min(_CHUNK, count - first)) for first in range(0, count, _CHUNK))
    return np.concatenate([*progress(parts, title, total=math.ceil(count / _CHUNK))])
