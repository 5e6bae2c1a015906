"""TFRecord files of `tf.Example`s: written, read, checked and described; ours and other people's.

framing         the file format: lengths, checksums, records
index           where each record begins
feature_text    features as text
schema          what is in a record
summary         what examples look like, in numbers that can be added up
sidecar         `dataset.json`, beside the records
reading         any record at any time, or all of them in turn
source          records as a source of examples
feed, writer    examples become files
verify          every checksum, every example, every image
"""

from framework.data.records.feature_text import feature_text, parse_feature
from framework.data.records.framing import CorruptRecordError, read_records
from framework.data.records.index import Index, load_index, make_index
from framework.data.records.schema import Field, Schema
from framework.data.records.sidecar import Shard, Sidecar, Split, parse_task
from framework.data.records.source import RecordSource, open_split
from framework.data.records.verify import Problem, verify, verify_data_set
from framework.data.records.writer import Layout, write, write_pipeline

__all__ = [
    "CorruptRecordError",
    "Field",
    "Index",
    "Layout",
    "Problem",
    "RecordSource",
    "Schema",
    "Shard",
    "Sidecar",
    "Split",
    "feature_text",
    "load_index",
    "make_index",
    "open_split",
    "parse_feature",
    "parse_task",
    "read_records",
    "verify",
    "verify_data_set",
    "write",
    "write_pipeline",
]
