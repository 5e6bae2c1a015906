"""From one signature of a SavedModel to the other forms in which models are deployed.

    result = formats.convert(run.export_dir, "litert_int8",
                             representative=formats.representative_examples(run.pipeline),
                             gate=formats.pipeline_gate(run.pipeline))
    answer = formats.open_format(result.path)(image=images)

The way of a signature:

kinds           the formats there are, what each can hold and how near it must come
convert         has it converted, asks the gate, and gives what came of it its name
process         starts the worker; a converter that crashes harms nobody else
worker          in a process of its own: choose a signature, narrow, freeze, write, open, compare
narrowing       a SavedModel with this signature alone
frozen, graphs  the optimized frozen graph, by itself a format
litert, onnx, openvino
comparison      against the SavedModel, with batches of 1, 3 and 32
gate            refuses what is too much worse by a metric
from_pipeline   real examples, and the task's metric
result          `format.json` beside each model
running         calls a converted model by the signature's names
table           size, latency and metric side by side
"""

from framework.export.formats.convert import convert, convert_all
from framework.export.formats.errors import FormatError, FormatRefused
from framework.export.formats.from_pipeline import pipeline_gate, representative_examples
from framework.export.formats.gate import Gate
from framework.export.formats.kinds import FORMATS, check_formats
from framework.export.formats.result import FormatResult, list_formats
from framework.export.formats.running import FormatRunner, open_format, open_saved_model
from framework.export.formats.table import FormatRow, measure_formats

__all__ = [
    "FORMATS",
    "FormatError",
    "FormatRefused",
    "FormatResult",
    "FormatRow",
    "FormatRunner",
    "Gate",
    "check_formats",
    "convert",
    "convert_all",
    "list_formats",
    "measure_formats",
    "open_format",
    "open_saved_model",
    "pipeline_gate",
    "representative_examples",
]
