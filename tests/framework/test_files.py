import json
import os
import stat

import pytest

from framework import files


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def write_half(context):
    with context as temporary:
        (temporary / "file" if temporary.is_dir() else temporary).write_text("half")
        raise RuntimeError("disk on fire")


def test_replacing_shows_the_file_only_when_it_is_whole(tmp_path):
    path = tmp_path / "value"
    path.write_text("old")
    with files.replacing(path) as temporary:
        temporary.write_text("new")
        assert temporary.parent == tmp_path
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert names(tmp_path) == ["value"]
    assert mode(path) == 0o644


def test_replacing_keeps_the_old_file_when_writing_fails(tmp_path):
    path = tmp_path / "value"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="disk on fire"):
        write_half(files.replacing(path))
    assert path.read_text() == "old"
    assert names(tmp_path) == ["value"]


def test_what_is_written_is_synced_before_it_gets_its_name(tmp_path, monkeypatch):
    calls = []
    sync, replace = files.sync, os.replace
    monkeypatch.setattr(files, "sync", lambda path: (calls.append(("sync", path)), sync(path)))
    monkeypatch.setattr(os, "replace", lambda a, b: (calls.append(("replace", b)), replace(a, b)))
    with files.replacing(tmp_path / "value") as temporary:
        temporary.write_text("new")
    assert calls == [("sync", temporary), ("replace", tmp_path / "value"), ("sync", tmp_path)]


def test_publishing_shows_the_directory_only_when_it_is_whole(tmp_path):
    target = tmp_path / "base" / "1"
    with files.publishing(target) as temporary:
        (temporary / "deep").mkdir()
        (temporary / "deep" / "file").write_text("content")
        assert temporary.parent == target.parent
        # What a model server takes for a version is an integer.
        assert not any(name.isdecimal() for name in names(target.parent))
    assert names(target.parent) == ["1"]
    assert (target / "deep" / "file").read_text() == "content"
    assert mode(target) == 0o755


def test_publishing_syncs_every_file_and_directory(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(files, "sync", synced.append)
    with files.publishing(tmp_path / "1") as temporary:
        (temporary / "deep").mkdir()
        (temporary / "deep" / "file").write_text("content")
    assert set(synced[:-1]) == {temporary, temporary / "deep", temporary / "deep" / "file"}
    assert synced[-1] == tmp_path


def test_publishing_leaves_nothing_when_writing_fails(tmp_path):
    with pytest.raises(RuntimeError, match="disk on fire"):
        write_half(files.publishing(tmp_path / "1"))
    assert names(tmp_path) == []


def test_publishing_overwrites_nothing(tmp_path):
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "file").write_text("first")
    with pytest.raises(FileExistsError, match=r"1 exists already"), files.publishing(tmp_path / "1") as temporary:
        (temporary / "file").write_text("second")
    assert (tmp_path / "1" / "file").read_text() == "first"
    assert names(tmp_path) == ["1"]


@pytest.mark.parametrize("write", [files.replacing, files.publishing])
def test_an_error_speaks_of_what_was_to_be_written(write, tmp_path, monkeypatch):
    def refuse(dir, prefix):
        raise OSError(30, "Read-only file system", f"{dir}/{prefix}abc")

    monkeypatch.setattr("tempfile.mkstemp", refuse)
    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    with pytest.raises(OSError, match="Read-only") as raised, write(tmp_path / "a"):
        pass
    assert raised.value.filename == str(tmp_path / "a")


def test_sweep_removes_leftovers_and_nothing_else(tmp_path):
    (tmp_path / f"{files.TEMPORARY}1-abc" / "deep").mkdir(parents=True)
    (tmp_path / f"{files.TEMPORARY}config.json-abc").write_text("{")
    (tmp_path / "1").mkdir()
    (tmp_path / "config.json").write_text("{}")
    files.sweep(tmp_path)
    assert names(tmp_path) == ["1", "config.json"]
    files.sweep(tmp_path / "not there")


def test_json_comes_back(tmp_path):
    value = {"b": [1, 2.5, None], "a": "ü", "nan": float("inf")}
    files.write_json(tmp_path / "value.json", value)
    assert files.read_json(tmp_path / "value.json") == value
    assert list(json.loads((tmp_path / "value.json").read_text())) == list(value)


def test_what_is_no_json_is_named(tmp_path):
    (tmp_path / "value.json").write_text("{half")
    with pytest.raises(ValueError, match=r"value\.json isn't valid JSON"):
        files.read_json(tmp_path / "value.json")


def test_what_json_can_t_hold_leaves_the_old_file(tmp_path):
    files.write_json(tmp_path / "value.json", 1)
    with pytest.raises(TypeError):
        files.write_json(tmp_path / "value.json", object())
    assert files.read_json(tmp_path / "value.json") == 1
    assert names(tmp_path) == ["value.json"]
