import importlib.metadata
import sys
import types

import pytest

import framework
from framework import plugins


@pytest.fixture
def install(monkeypatch, tmp_path):
    """Installs modules as plugins of other distributions, for the length of a test."""
    entries = []
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(plugins, "_loaded", False)
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: entries if group == plugins.GROUP else [])

    def install(module, source, distribution="their-models"):
        (tmp_path / f"{module}.py").write_text(source)
        monkeypatch.delitem(sys.modules, module, raising=False)
        entry = importlib.metadata.EntryPoint(f"{module}_entry", module, plugins.GROUP)
        vars(entry)["dist"] = types.SimpleNamespace(name=distribution)
        entries.append(entry)

    yield install
    for entry in entries:
        sys.modules.pop(entry.module, None)


def test_a_plugin_is_imported_once(install, monkeypatch):
    monkeypatch.setattr(sys, "plugin_imports", [], raising=False)
    install("first_plugin", "import sys; sys.plugin_imports.append(1)")
    install("second_plugin", "import sys; sys.plugin_imports.append(2)")
    plugins.load_plugins()
    plugins.load_plugins()
    assert sys.plugin_imports == [1, 2]


def test_a_plugin_registers_by_being_imported(install):
    function = "def only_in_this_test(inputs, task): return task.logits(inputs['x'])"
    install("their_models", f"import framework\n@framework.register_model\n{function}")
    try:
        builder = framework.get_model("only_in_this_test")
        assert builder.__module__ == "their_models"
        assert "only_in_this_test" in framework.list_models()
    finally:
        framework.registry._MODELS._entries.pop("only_in_this_test", None)


def test_a_plugin_may_look_up_names_while_it_is_imported(install):
    install("curious_plugin", "import framework\nnames = framework.list_pipelines('no such*')")
    plugins.load_plugins()
    assert sys.modules["curious_plugin"].names == []


def test_a_broken_plugin_is_named_and_tried_again(install, monkeypatch):
    install("broken_plugin", "import a_module_that_is_not_there", distribution="their-broken-models")
    message = (
        r"The plugin 'broken_plugin_entry' \(broken_plugin\) of the distribution 'their-broken-models' can't be "
        r"imported: No module named 'a_module_that_is_not_there'\. Repair or uninstall it"
    )
    for _ in range(2):
        with pytest.raises(ImportError, match=message):
            plugins.load_plugins()
    monkeypatch.setitem(sys.modules, "a_module_that_is_not_there", types.ModuleType("a_module_that_is_not_there"))
    plugins.load_plugins()
    assert "broken_plugin" in sys.modules


def test_our_own_are_loaded_under_names_of_our_own():
    framework.list_models()
    modules = {framework.get_model(name).__module__ for name in ("mlp", "resnet", "small_cnn", "wide_and_deep")}
    assert all(module.startswith("keras_shipyard_models.") for module in modules)
    assert framework.get_pipeline("digits").__module__ == "keras_shipyard_pipelines.digits"


def test_a_missing_package_of_our_own_leaves_no_half_loaded_module(monkeypatch, tmp_path):
    monkeypatch.setattr(plugins, "__file__", str(tmp_path / "framework" / "plugins.py"))
    (tmp_path / "unfinished").mkdir()
    (tmp_path / "unfinished" / "__init__.py").write_text("raise ImportError('not ready')")
    entry = importlib.metadata.EntryPoint("unfinished", "unfinished", plugins.GROUP)
    vars(entry)["dist"] = types.SimpleNamespace(name="keras-shipyard")
    with pytest.raises(ImportError, match=r"The plugin 'unfinished' \(unfinished\) .*not ready"):
        plugins._load(entry)
    assert "keras_shipyard_unfinished" not in sys.modules
