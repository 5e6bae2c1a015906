"""What the file says of each signature, as TensorFlow Serving reads it: method names, tensors, metadata."""

from __future__ import annotations

import pathlib
from typing import Any

from google.protobuf import descriptor_pool, json_format, message, message_factory

from framework.serving.locating import SAVED_MODEL

CLASSIFY = "tensorflow/serving/classify"
REGRESS = "tensorflow/serving/regress"
_SERVE = "serve"


def signature_definitions(export_dir: pathlib.Path) -> dict[str, Any]:
    """`{name: SignatureDef}` of a SavedModel's graph for serving.

    `tf.saved_model.load` doesn't keep method names; they decide whether a signature classifies or regresses.

    Raises:
        ValueError: The file is no SavedModel, or has no graph for serving.
    """
    # TensorFlow registers its protos with protobuf's pool; it has no public name for this one.
    descriptor = descriptor_pool.Default().FindMessageTypeByName("tensorflow.SavedModel")
    path = pathlib.Path(export_dir, SAVED_MODEL)
    saved_model = message_factory.GetMessageClass(descriptor)()
    try:
        saved_model.ParseFromString(path.read_bytes())
    except message.DecodeError as error:
        raise ValueError(f"{path} isn't a SavedModel: {error}") from error
    for graph in saved_model.meta_graphs:
        if _SERVE in graph.meta_info_def.tags:
            return dict(graph.signature_def)
    raise ValueError(f"{path} has no graph with the tag {_SERVE!r}.")


def as_json(definition: Any) -> dict[str, Any]:
    """A SignatureDef as plain values, with all fields, under their names in the proto."""
    return json_format.MessageToDict(
        definition, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
