import ml_dtypes
import numpy as np
import pytest

from framework.export.held_out import Call
from framework.export.staged import keep_calls, list_staged, staged, staging

CALLS = [
    Call(
        "encoded",
        {"image": np.array([b"\x89PNG\x00\x00", "text"], object), "size": np.array([1, 2], np.uint8)},
        {"logits": np.array([[1.5], [np.nan]], np.float32), "name": np.array([b"\x00", b""], object)},
    ),
    Call("features", {"x": np.zeros((1, 0, 2))}, {"y": np.array([1.5], ml_dtypes.bfloat16), "ok": np.array([True])}),
]
PROGRESS = [{}, {"loss": 0.5, "auc": float("nan")}]


def stage(base, version, text="model"):
    with staging(base, version) as directory:
        (directory / "saved_model.pb").write_text(text)
        keep_calls(directory, CALLS, PROGRESS)
    return staged(base, version)


def test_what_proves_it_is_kept_with_it(tmp_path):
    stage(tmp_path, 3)
    [found] = list_staged(tmp_path)
    for call, expected in zip(found.calls(), CALLS, strict=True):
        assert (call.signature, call.batch_size) == (expected.signature, expected.batch_size)
        for got, arrays in ((call.inputs, expected.inputs), (call.answers, expected.answers)):
            assert got.keys() == arrays.keys()
            for name, array in arrays.items():
                assert got[name].dtype == array.dtype
                as_bytes = [item.encode() if isinstance(item, str) else item for item in array.ravel().tolist()]
                np.testing.assert_array_equal(got[name].ravel(), np.array(as_bytes, array.dtype))
                assert got[name].shape == array.shape
    assert found.progress()[0] == {}
    assert found.progress()[1]["loss"] == 0.5
    assert np.isnan(found.progress()[1]["auc"])


def test_it_isnt_there_before_it_is_whole(tmp_path):
    def interrupted():
        with staging(tmp_path, 3) as directory:
            (directory / "saved_model.pb").write_text("half")
            assert list_staged(tmp_path) == []
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_published_it_has_its_name_and_nothing_else_is_left(tmp_path):
    stage(tmp_path, 3).publish()
    assert [path.name for path in tmp_path.iterdir()] == ["3"]
    assert [path.name for path in (tmp_path / "3").iterdir()] == ["saved_model.pb"]
    assert (tmp_path / "3").stat().st_mode & 0o777 == 0o755


def test_nothing_is_overwritten(tmp_path):
    stage(tmp_path, 3).publish()
    again = stage(tmp_path, 3, "another")
    with pytest.raises(FileExistsError, match="3 exists already"):
        again.publish()
    assert (tmp_path / "3" / "saved_model.pb").read_text() == "model"


def test_remains_of_a_published_one_are_deleted(tmp_path, monkeypatch):
    export = stage(tmp_path, 3)
    with monkeypatch.context() as patch:
        patch.setattr(type(export), "discard", lambda self: None)  # the process dies after the rename
        export.publish()
    assert {path.name for path in tmp_path.iterdir()} == {"3", ".staged-3"}
    assert list_staged(tmp_path) == []
    assert [path.name for path in tmp_path.iterdir()] == ["3"]


def test_they_are_listed_by_number(tmp_path):
    for version in (10, 9):
        stage(tmp_path, version)
    (tmp_path / ".staged-x").mkdir()
    assert [export.version for export in list_staged(tmp_path)] == [9, 10]
    assert list_staged(tmp_path / "nowhere") == []


def test_discarded_it_is_gone(tmp_path):
    stage(tmp_path, 3).discard()
    assert list(tmp_path.iterdir()) == []


def test_what_an_interrupted_deletion_left_stands_in_nobodys_way(tmp_path):
    (tmp_path / ".tmp-.staged-3" / "model").mkdir(parents=True)
    stage(tmp_path, 3).publish()
    assert [path.name for path in tmp_path.iterdir()] == ["3"]
