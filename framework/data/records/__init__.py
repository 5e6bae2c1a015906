"""TFRecord files of `tf.Example`s or sequences: written, read, checked and described; ours and other people's.

framing         the file format: lengths, checksums, records
index           where each record begins
feature_text    features as text
schema          what is in a record: a tf.Example or (sequence_schema) a tf.train.SequenceExample
summary         what examples look like, in numbers that can be added up
sidecar         `dataset.json`, beside the records
reading         any record at any time, or all of them in turn
source          records as a source of examples
kept            what takes a pass over records to know; `labels`, those of all of them
finding         which files there are, of which split, and what seems to be in them
data_set        all of it together
task            the task of a data set
feed            what is written
split_writer    the files of one split, each whole or not there
writer          examples and pipelines become data sets
verify          every checksum, every example, every image
"""

from framework.data.records.data_set import DataSet
from framework.data.records.feature_text import feature_text, parse_feature
from framework.data.records.finding import find_files, find_splits, seen_keys
from framework.data.records.framing import CorruptRecordError, read_records
from framework.data.records.index import Index, load_index, make_index
from framework.data.records.schema import Field, Schema
from framework.data.records.sequence_schema import SequenceSchema
from framework.data.records.sidecar import Shard, Sidecar, Split
from framework.data.records.source import RecordSource
from framework.data.records.split_writer import Layout
from framework.data.records.task import parse_task, task_of_label
from framework.data.records.verify import Problem, verify, verify_data_set
from framework.data.records.writer import write, write_pipeline

__all__ = [
    "CorruptRecordError",
    "DataSet",
    "Field",
    "Index",
    "Layout",
    "Problem",
    "RecordSource",
    "Schema",
    "SequenceSchema",
    "Shard",
    "Sidecar",
    "Split",
    "feature_text",
    "find_files",
    "find_splits",
    "load_index",
    "make_index",
    "parse_feature",
    "parse_task",
    "read_records",
    "seen_keys",
    "task_of_label",
    "verify",
    "verify_data_set",
    "write",
    "write_pipeline",
]
