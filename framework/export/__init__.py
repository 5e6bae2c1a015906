"""From a trained model and its pipeline to a SavedModel that a client can call.

The way of an export:

signatures      one explicit `tf.function` for each way in, around one shared forward pass (`forward`, `answers`,
                `method_names`)
exporter        writes the SavedModel aside (`saved_model`, `staged`), with real requests and the live model's answers
                (`held_out`), has it proven and gives it its name
proof           in another process that has TensorFlow alone (`fresh_process`, `plain_loader`): what is in it
                (`graph_checks`), how it answers (`parity`), and the validation split's metrics through a signature
                (`validating`, `scoring`, `slices`, `confusion`)
manifest, card  what it is, for programs (`plain_json`) and people (`client_calls`); `warm_up` for TensorFlow Serving
formats         LiteRT, ONNX and others from the same signatures
versions        what lies in an export directory: the best, the latest, what may go
policy          what a new best must be besides better; `promotion` is a person's decision
"""

from framework.export.answers import Answers
from framework.export.errors import ParityError, ProofError
from framework.export.exporter import Exporter
from framework.export.fresh_process import FreshProcessError
from framework.export.manifest import Moment
from framework.export.options import Exports
from framework.export.policy import Candidate, Policy
from framework.export.promotion import promote, roll_back
from framework.export.proof import Proof
from framework.export.scoring import Evaluation
from framework.export.slices import Slice
from framework.export.versions import Record, best_record, list_versions, read_manifest

__all__ = [
    "Answers",
    "Candidate",
    "Evaluation",
    "Exporter",
    "Exports",
    "FreshProcessError",
    "Moment",
    "ParityError",
    "Policy",
    "Proof",
    "ProofError",
    "Record",
    "Slice",
    "best_record",
    "list_versions",
    "promote",
    "read_manifest",
    "roll_back",
]
