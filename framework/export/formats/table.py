"""Size, latency and metric of each format, side by side."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
import statistics
import time
from collections.abc import Callable, Mapping

import numpy as np

from framework.data.serving import DEFAULT
from framework.export.formats.comparison import made_up, take
from framework.export.formats.kinds import FORMATS, SAVED_MODEL
from framework.export.formats.result import FormatResult, list_formats
from framework.export.formats.running import FormatRunner, open_format, open_saved_model

_WARM_UP = 3
_MAX_CALLS = 200


@dataclasses.dataclass(frozen=True)
class FormatRow:
    """One format's figures, measured on this machine's CPU, from Python, with each runtime's own number of threads.

    Attributes:
        format: `"saved_model"`, or the format's name.
        signature: Which signature it is.
        size_bytes: Of all files that its runtime needs.
        latency_ms: `{batch size: median of a call, in milliseconds}`.
        metric: The gate's metric, or `None` where there was no gate.
        value: The metric's value.
        max_difference: The largest difference from the SavedModel, of any floating output; 0 for itself.
    """

    format: str
    signature: str
    size_bytes: int
    latency_ms: Mapping[int, float]
    metric: str | None
    value: float | None
    max_difference: float


def measure_formats(
    export_dir: str | pathlib.Path,
    *,
    examples: Mapping[str, Mapping[str, np.ndarray]] | None = None,
    batch_sizes: tuple[int, ...] = (1, 32),
    budget_secs: float = 5.0,
) -> list[FormatRow]:
    """The SavedModel, and below it what it was converted to, in the order of `FORMATS`.

    Args:
        export_dir: The SavedModel, with its formats in it.
        examples: What is sent, `{signature: {input: [examples, ...]}}`; made up where there is none.
        batch_sizes: For which latency is measured.
        budget_secs: About how long all measurements may take, without loading.
    """
    export_dir = pathlib.Path(export_dir)
    results = sorted(list_formats(export_dir).values(), key=lambda result: list(FORMATS).index(result.format))
    each = budget_secs / (len(results) + 1) / len(batch_sizes)
    # A format keeps the signature's figure of its SavedModel; if formats hold several, the first one's is shown.
    shown = results[0] if results else None
    signature = shown.signature if shown else DEFAULT

    def latency(run: FormatRunner) -> dict[int, float]:
        given = (examples or {}).get(run.signature) or made_up(run.inputs)
        batches = {size: take(given, size) for size in batch_sizes}
        return {size: _median_ms(functools.partial(run, **batch), each) for size, batch in batches.items()}

    rows = [
        FormatRow(
            SAVED_MODEL,
            signature,
            _saved_model_bytes(export_dir),
            latency(open_saved_model(export_dir, signature)),
            shown.metric if shown else None,
            shown.before if shown else None,
            0.0,
        )
    ]
    return rows + [_row(result, latency(open_format(result.path))) for result in results]


def _row(result: FormatResult, latency_ms: Mapping[int, float]) -> FormatRow:
    difference = max(result.max_difference.values(), default=0.0)
    return FormatRow(
        result.format, result.signature, result.size_bytes, latency_ms, result.metric, result.after, difference
    )


def _saved_model_bytes(export_dir: pathlib.Path) -> int:
    parts = [export_dir / "saved_model.pb", export_dir / "variables", export_dir / "assets"]
    files = [path for part in parts for path in ([part] if part.is_file() else part.rglob("*"))]
    return sum(path.stat().st_size for path in files if path.is_file())


def _median_ms(call: Callable[[], object], budget_secs: float, clock: Callable[[], float] = time.perf_counter) -> float:
    """The median of as many calls as the budget allows, at least one."""
    for _ in range(_WARM_UP):
        call()
    times: list[float] = []
    end = clock() + budget_secs
    while not times or (clock() < end and len(times) < _MAX_CALLS):
        start = clock()
        call()
        times.append(clock() - start)
    return 1e3 * statistics.median(times)
