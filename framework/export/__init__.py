"""From a trained model and its pipeline to a SavedModel that a client can call.

signatures      one explicit `tf.function` for each way in, around one shared forward pass
saved_model     written aside, loaded again and compared, then renamed to `<base>/<integer>`
versions        what lies in an export directory: manifests, the best, what may go
"""

from framework.export.saved_model import Exporter, ParityError
from framework.export.versions import Record, best_record, list_versions, read_manifest

__all__ = ["Exporter", "ParityError", "Record", "best_record", "list_versions", "read_manifest"]
