"""The model card: an export's manifest for people, in Markdown, with a ready call of each signature."""

from __future__ import annotations

import math
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from framework import files
from framework.export.client_calls import MODEL, client_calls
from framework.export.held_out import Arrays

CARD = "model_card.md"
# More of something is cut off, and it is said that it is.
_MAX_CLASSES = 15
_MAX_ROWS = 30
_SERVING = f"""TensorFlow Serving serves the highest version of the directory that this one lies in:

```sh
docker run -p 8500:8500 -p 8501:8501 -v "$PWD/..":/models/{MODEL} tensorflow/serving
```"""
_CLONES = """```sh
git clone --depth 1 https://github.com/tensorflow/serving
git clone --depth 1 https://github.com/tensorflow/tensorflow
```"""


def write_card(export_dir: pathlib.Path, manifest: Mapping[str, Any], requests: Mapping[str, Arrays]) -> None:
    """Writes `model_card.md` into an export that isn't published yet.

    Args:
        export_dir: The export.
        manifest: What it holds.
        requests: One real example for each signature, `{signature: {input: [1, ...]}}`.
    """
    calls = {
        name: client_calls(export_dir, name, _method(manifest["signatures"][name]), request)
        for name, request in requests.items()
    }
    text = "\n".join(_card(manifest, calls)) + "\n"
    with files.replacing(pathlib.Path(export_dir) / CARD) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _method(signature: Mapping[str, Any]) -> str:
    return str(signature["method_name"]).rpartition("/")[2]


def _card(manifest: Mapping[str, Any], calls: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    task = manifest["task"] or {}
    name = (manifest["pipeline"] or {}).get("name")
    yield f"# {name or 'Model'}, version {manifest['version']}"
    yield ""
    yield (
        f"Epoch {manifest['epoch'] + 1}, {manifest['step']} optimizer steps, {manifest['parameters']:,} parameters. "
        f"Exported {manifest['created']} by TensorFlow {manifest['versions']['tensorflow']} and Keras "
        f"{manifest['versions']['keras']}."
    )
    yield from _task(task)
    yield from _data(manifest)
    yield from _metrics(manifest)
    for head, confusion in manifest["confusion"].items():
        yield from _confusion(head, confusion)
    yield from _slices(manifest["slices"])
    yield from _signatures(manifest, calls)
    yield from _formats(manifest)
    yield from _proof(manifest)


def _task(task: Mapping[str, Any]) -> Iterator[str]:
    if not task:
        return
    yield from ("", "## Task", "")
    for head, part in task.get("tasks", {"": task}).items():
        settings = ", ".join(
            f"{key} {_shortened(value)}" for key, value in part.items() if key != "type" and value not in (None, [])
        )
        yield f"- {f'`{head}`: ' if head else ''}{part['type']}{f' ({settings})' if settings else ''}"


def _data(manifest: Mapping[str, Any]) -> Iterator[str]:
    profile = manifest["data"]
    pipeline = manifest["pipeline"]
    if pipeline is None:
        return
    yield from ("", "## Data and intended inputs", "")
    if not profile:
        declared = pipeline["features"].items()
        yield from _table(
            ("feature", "dtype", "shape"),
            [(f"`{name}`", feature["dtype"], _shape(feature)) for name, feature in declared],
        )
        return
    yield f"{profile['num_examples']:,} training examples. Inputs unlike these are outside of what was measured."
    yield ""
    rows = [
        (f"`{name}`", feature["dtype"], _shape(feature), _range(feature))
        for name, feature in profile["features"].items()
    ]
    yield from _table(("feature", "dtype", "shape", "in training"), rows)
    for label, summary in profile["labels"].items():
        yield from ("", f"{label}: {_range(summary)}")


def _range(summary: Mapping[str, Any]) -> str:
    """What values were seen, in few words."""
    parts = []
    counts = summary.get("values") or summary.get("yes")
    if counts:
        shown = list(counts.items())[:_MAX_CLASSES]
        more = f" and {len(counts) - len(shown)} more" if len(counts) > len(shown) else ""
        parts.append(", ".join(f"{_cell(value)} ({count:,})" for value, count in shown) + more)
    elif summary.get("quantiles"):
        quantiles = summary["quantiles"]
        parts.append(f"{_number(quantiles['0'])} to {_number(quantiles['1'])}, median {_number(quantiles['0.5'])}")
    elif summary.get("lengths"):
        parts.append(f"{_number(summary['lengths']['0'])} to {_number(summary['lengths']['1'])} long")
    if summary.get("missing"):
        parts.append(f"{summary['missing']:.1%} missing")
    return "; ".join(parts)


def _metrics(manifest: Mapping[str, Any]) -> Iterator[str]:
    if not manifest["metrics"]:
        return
    yield from ("", "## Metrics", "")
    recomputed = manifest["proof"]["metrics"]
    values = recomputed.get("values", {})
    rows = []
    for name, value in manifest["metrics"].items():
        through = values.get(name.removeprefix("val_"), "") if name.startswith("val_") else ""
        rows.append((f"`{name}`", _number(value), _number(through)))
    yield from _table(("", "Keras", "through a signature"), rows)
    if values:
        yield ""
        yield (
            f"The last column: {recomputed['examples']:,} of {recomputed['of']:,} validation examples, sent to "
            f"`{recomputed['signature']}` in another process."
        )
    else:
        yield from ("", f"Not recomputed through a signature: {recomputed['not_computed']}.")


def _confusion(head: str, confusion: Mapping[str, Any]) -> Iterator[str]:
    yield from ("", f"### Confusion{f' of {head}' if head else ''}", "")
    matrix = confusion.get("matrix")
    if matrix is not None and len(matrix) <= _MAX_CLASSES:
        names = [_cell(name) for name in confusion["class_names"]]
        yield from _table(
            ("true \\ predicted", *names), [(name, *row) for name, row in zip(names, matrix, strict=True)]
        )
        return
    if matrix is not None:
        confusion = _worst(confusion["class_names"], matrix)
    yield f"{confusion['correct']:,} of {confusion['of']:,} correct. Taken for another class most often:"
    yield ""
    rows = [(_cell(true), _cell(predicted), count) for true, predicted, count in confusion["worst"]]
    yield from _table(("true", "predicted", "examples"), rows)


def _worst(names: Sequence[str], matrix: Sequence[Sequence[int]]) -> dict[str, Any]:
    wrong = [
        (names[true], names[predicted], count)
        for true, row in enumerate(matrix)
        for predicted, count in enumerate(row)
        if count and true != predicted
    ]
    return {
        "correct": sum(row[index] for index, row in enumerate(matrix)),
        "of": sum(map(sum, matrix)),
        "worst": sorted(wrong, key=lambda entry: -entry[2])[:_MAX_CLASSES],
    }


def _slices(slices: Mapping[str, Any]) -> Iterator[str]:
    for name, parts in slices.items():
        yield from ("", f"### By {_cell(name)}", "")
        metrics = list(next(iter(parts.values()))["metrics"]) if parts else []
        rows = [
            (_cell(value), part["examples"], *(_number(part["metrics"].get(metric, "")) for metric in metrics))
            for value, part in parts.items()
        ]
        yield from _table(("", "examples", *(f"`{metric}`" for metric in metrics)), rows)


def _signatures(manifest: Mapping[str, Any], calls: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    yield from ("", "## Signatures", "")
    yield from (_SERVING, "")
    yield "The calls below are meant for this directory. For grpcurl, which needs descriptions of what it sends:"
    yield from ("", _CLONES)
    for name, signature in manifest["signatures"].items():
        yield from ("", f"### `{name}`", "")
        rows = [
            (side, f"`{key}`", value["dtype"], _shape(value))
            for side in ("inputs", "outputs")
            for key, value in signature[side].items()
        ]
        yield from _table(("", "name", "dtype", "shape"), rows)
        if name in calls:
            yield from ("", "```sh", calls[name]["curl"], "", calls[name]["grpcurl"], "```")


def _formats(manifest: Mapping[str, Any]) -> Iterator[str]:
    if not manifest["formats"]:
        return
    yield from ("", "## Formats", "")
    sizes = list(manifest["formats"][0]["latency_ms"])
    rows = [
        (
            f"`{row['format']}`",
            f"`{row['signature']}`",
            f"{row['size_bytes'] / 1e6:.2f} MB",
            *(f"{float(row['latency_ms'][size]):.2f} ms" for size in sizes),
            f"{row['metric']} {_number(row['value'])}" if row["metric"] else "",
            _number(row["max_difference"]),
        )
        for row in manifest["formats"]
    ]
    yield from _table(("", "signature", "size", *(f"batch of {size}" for size in sizes), "metric", "difference"), rows)
    for name, why in manifest.get("formats_refused", {}).items():
        yield from ("", f"`{name}` is missing: {why.splitlines()[0]}")


def _proof(manifest: Mapping[str, Any]) -> Iterator[str]:
    yield from ("", "## Proof", "")
    yield (
        "Loaded from scratch in another process that has TensorFlow alone; each signature answered "
        f"{' and '.join(map(str, manifest['proof']['batch_sizes']))} real examples at once, and was compared with the "
        "live model:"
    )
    yield ""
    rows = [(f"`{name}`", _number(value)) for name, value in manifest["largest_difference"].items()]
    rows += [(f"`{name}`", f"not called: {why}") for name, why in manifest["proof"]["not_called"].items()]
    yield from _table(("signature", "largest difference"), rows)


def _table(head: Sequence[Any], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    rows = list(rows)
    yield f"| {' | '.join(map(str, head))} |"
    yield f"|{' --- |' * len(head)}"
    for row in rows[:_MAX_ROWS]:
        yield f"| {' | '.join(map(str, row))} |"
    if len(rows) > _MAX_ROWS:
        yield f"| ... and {len(rows) - _MAX_ROWS} more{' |' * len(head)}"


def _shape(feature: Mapping[str, Any]) -> str:
    axes = ", ".join("?" if axis is None else str(axis) for axis in feature["shape"])
    encoded = f" ({feature['encoded']})" if "encoded" in feature else ""
    return f"[batch{', ' if axes else ''}{axes}]{encoded}"


def _number(value: Any) -> str:
    if isinstance(value, str) or value is None:
        return value or ""
    return f"{value:.5g}" if math.isfinite(value) else str(value)


def _cell(text: Any) -> str:
    """Text that doesn't end a table's cell."""
    return " ".join(str(text).split()).replace("|", "\\|") or "(empty)"


def _shortened(value: Any) -> str:
    if isinstance(value, (list, tuple)) and len(value) > _MAX_CLASSES:
        return f"{', '.join(map(_cell, value[:_MAX_CLASSES]))} and {len(value) - _MAX_CLASSES} more"
    return ", ".join(map(_cell, value)) if isinstance(value, (list, tuple)) else _cell(value)
