"""The file format, by hand and against TensorFlow's own reader and writer."""

import gzip
import io
import struct

import google_crc32c
import pytest
import tensorflow as tf

from framework.data.records import CorruptRecordError, read_records
from framework.data.records.framing import MAX_RECORD_BYTES, frame, masked_crc, masked_crcs, record_length

RECORDS = [b"", b"a", b"records", bytes(range(256)) * 40]


def by_hand(records, mask=0xA282EAD8):
    """A file as the format's description says, with nothing of the framework."""
    file = io.BytesIO()
    for record in records:
        length = struct.pack("<Q", len(record))
        for part in (length, record):
            crc = google_crc32c.value(part)
            rotated = (crc >> 15 | crc << 17) & 0xFFFFFFFF
            file.write(part + struct.pack("<I", (rotated + mask) & 0xFFFFFFFF))
    return file.getvalue()


def write(path, data):
    path.write_bytes(data)
    return str(path)


def test_a_framed_record_is_what_the_format_says():
    assert b"".join(frame(record, masked_crc(record)) for record in RECORDS) == by_hand(RECORDS)
    assert masked_crcs(RECORDS, len(RECORDS)).tolist() == [masked_crc(record) for record in RECORDS]


def test_a_known_checksum():
    # RFC 3720, appendix B.4: 32 bytes of zeros have the CRC-32C 0x8a9136aa.
    crc = 0x8A9136AA
    assert masked_crc(bytes(32)) == (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


@pytest.mark.parametrize("compression", ["", "GZIP"])
def test_tensorflow_reads_what_we_frame_and_we_read_what_it_writes(tmp_path, compression):
    ending = ".gz" if compression else ""
    ours = write(tmp_path / f"ours{ending}", gzip.compress(by_hand(RECORDS)) if compression else by_hand(RECORDS))
    assert [record.numpy() for record in tf.data.TFRecordDataset(ours, compression)] == RECORDS
    theirs = str(tmp_path / f"theirs{ending}")
    with tf.io.TFRecordWriter(theirs, compression) as writer:
        for record in RECORDS:
            writer.write(record)
    found = list(read_records(theirs))
    assert [record for _, record, _ in found] == RECORDS
    assert [fault for _, _, fault in found] == [None] * 4
    assert [offset for offset, _, _ in found] == [0, 16, 33, 56]


def test_a_damaged_record_is_named_and_the_next_ones_are_read(tmp_path):
    data = bytearray(by_hand(RECORDS))
    data[33 + 12] ^= 1
    found = list(read_records(write(tmp_path / "file", bytes(data))))
    assert [fault is None for _, _, fault in found] == [True, True, False, True]


def cut(data):
    return data[:-3]


def header_damaged(data):
    return data[:33] + b"\xff" + data[34:]


def with_length(length):
    packed = struct.pack("<Q", length)
    return lambda data: data[:33] + packed + struct.pack("<I", masked_crc(packed)) + data[45:]


@pytest.mark.parametrize(
    ("damage", "offset", "says"),
    [
        (cut, 56, "ends 3 bytes before"),
        (lambda data: data + b"abc", 56 + 16 + len(RECORDS[3]), "ends after 3 bytes of its header"),
        (header_damaged, 33, "its length has another checksum"),
        (with_length(2**64 - 1), 33, "a length of 18446744073709551615 bytes"),
        (with_length(2**31), 33, "a length of 2147483648 bytes"),
        (with_length(2**31 - 1), 33, "bytes before it does"),
    ],
)
@pytest.mark.parametrize("compressed", [False, True])
def test_what_follows_a_broken_frame_is_lost_and_said(tmp_path, damage, offset, says, compressed):
    data = damage(by_hand(RECORDS))
    path = write(tmp_path / ("data.gz" if compressed else "data"), gzip.compress(data) if compressed else data)
    records = read_records(path, "data")
    with pytest.raises(CorruptRecordError, match=f"data, offset {offset}: corrupt record: .*{says}") as caught:
        list(records)
    assert (caught.value.offset, says in caught.value.reason) == (offset, True)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (gzip.compress(by_hand(RECORDS))[:-30], "ended before the end-of-stream marker"),
        (b"no gzip at all", "Not a gzipped file"),
        (gzip.compress(by_hand(RECORDS))[:-8] + bytes(8), "CRC check failed"),
    ],
)
def test_a_broken_gzip_file(tmp_path, data, says):
    with pytest.raises(CorruptRecordError, match=says):
        list(read_records(write(tmp_path / "data.gz", data)))


def test_gzip_without_its_ending_is_recognized(tmp_path):
    with pytest.raises(CorruptRecordError, match=r"name it \.gz"):
        list(read_records(write(tmp_path / "data", gzip.compress(by_hand(RECORDS)))))


def test_the_longest_record():
    length = struct.pack("<Q", MAX_RECORD_BYTES)
    assert record_length(length + struct.pack("<I", masked_crc(length))) == MAX_RECORD_BYTES
