import functools
import importlib
import inspect
import os
import pathlib
import subprocess
import sys
import textwrap

import pytest

import framework
from framework import registry
from framework.registry import Registry, check_builder, did_you_mean


@pytest.fixture
def models(monkeypatch):
    """A registry of its own, whose misses load nothing."""
    monkeypatch.setattr(registry, "load_plugins", lambda: None)
    return Registry("model", check_builder)


def build(inputs, task, *, width: int = 3):
    return width


def other(inputs, task):
    return None


def test_decorator_without_arguments_takes_the_function_s_name(models):
    @models.register
    def tiny(inputs, task, *, width=3):
        return width

    assert models.get("tiny") is tiny
    assert tiny(None, None, width=5) == 5


def test_decorator_with_a_name(models):
    @models.register(name="short")
    def a_long_name(inputs, task):
        return None

    @models.register()
    def unnamed(inputs, task):
        return None

    assert models.names() == ["short", "unnamed"]
    assert models.get("short") is a_long_name


def test_the_function_is_returned_unchanged(models):
    before = dict(vars(build)), build.__name__, inspect.signature(build)
    assert models.register(build) is build
    assert models.register(name="again")(build) is build
    assert models.register(build, name="third") is build
    assert (dict(vars(build)), build.__name__, inspect.signature(build)) == before
    assert models.name_of(build) == "build"
    assert models.name_of(other) is None


def test_a_name_taken_twice_names_both_places(models):
    models.register(build)
    with pytest.raises(ValueError, match="'build' is taken twice: by ") as error:
        models.register(name="build")(other)
    lines = [inspect.getsourcelines(function)[1] for function in (build, other)]
    assert all(f"{__file__}:{line}" in str(error.value) for line in lines)
    assert "@register_model(name=...)" in str(error.value)
    assert models.get("build") is build


def test_two_of_a_name_in_one_module_are_refused(models):
    def define():
        @models.register
        def twin(inputs, task):
            return None

    def define_another():
        @models.register
        def twin(inputs, task):
            return None

    define()
    define()  # the same place: the same function
    with pytest.raises(ValueError, match="'twin' is taken twice"):
        define_another()


def test_classes_are_told_apart_by_their_place(monkeypatch):
    monkeypatch.setattr(registry, "load_plugins", lambda: None)
    pipelines = Registry("pipeline", lambda target: None)

    @pipelines.register(name="one")
    class First:
        pass

    class Second:
        pass

    with pytest.raises(
        ValueError, match=rf"{os.path.basename(__file__)}:\d+ and by .*{os.path.basename(__file__)}:\d+"
    ):
        pipelines.register(name="one")(Second)


def run_cell(models, cell, source, **names):
    """Defines something as an interactive session does: no file holds the source."""
    scope = {"__name__": "__main__", "models": models, **names}
    exec(compile(textwrap.dedent(source), f"<cell {cell}>", "exec"), scope)
    return scope


CELL = """
@models.register
def notebook_cnn(inputs, task):
    return {value}
"""


def test_a_cell_run_again_replaces_its_function(models):
    run_cell(models, 1, CELL.format(value=1))
    assert models.get("notebook_cnn")(None, None) == 1
    run_cell(models, 2, "\n\n" + CELL.format(value=2))
    assert models.get("notebook_cnn")(None, None) == 2


def test_a_class_of_a_cell_run_again_is_replaced(monkeypatch):
    monkeypatch.setattr(registry, "load_plugins", lambda: None)
    pipelines = Registry("pipeline", lambda target: None)
    for cell in (1, 2):
        run_cell(pipelines, cell, f"@models.register\nclass Notebook: cell = {cell}")
    assert pipelines.get("Notebook").cell == 2


def test_a_cell_can_t_take_a_name_from_a_file(models):
    models.register(name="notebook_cnn")(build)
    with pytest.raises(ValueError, match=r"taken twice: by .*test_registry\.py:\d+ and by <cell 1>:2"):
        run_cell(models, 1, CELL.format(value=1))


def test_another_function_of_a_cell_is_refused(models):
    run_cell(models, 1, CELL.format(value=1))
    with pytest.raises(ValueError, match="by <cell 1>:2 and by <cell 2>:1"):
        run_cell(models, 2, "@models.register(name='notebook_cnn')\ndef another(inputs, task): return None")


def test_a_module_edited_and_reloaded_replaces_its_functions(models, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # its timestamp is too coarse to notice the edit
    path = tmp_path / "edited_models.py"
    head = "import sys\nmodels = sys.test_models\n"
    monkeypatch.setattr(sys, "test_models", models, raising=False)
    path.write_text(head + CELL.format(value=1))
    module = importlib.import_module("edited_models")
    monkeypatch.setitem(sys.modules, "edited_models", module)
    importlib.reload(module)
    path.write_text(head + "\n# moved\n" + CELL.format(value=2))
    importlib.reload(module)
    assert models.get("notebook_cnn")(None, None) == 2
    # A real duplicate within the file still is one.
    path.write_text(head + CELL.format(value=3) + CELL.format(value=4))
    with pytest.raises(ValueError, match="taken twice"):
        importlib.reload(module)


def test_a_miss_loads_the_plugins_and_shows_near_names(monkeypatch):
    loaded = []
    models = Registry("model", check_builder)

    def load():
        if not loaded:
            models.register(name="small_cnn")(build)
        loaded.append(1)

    monkeypatch.setattr(registry, "load_plugins", load)
    with pytest.raises(
        LookupError, match=r"No model is registered as 'smal_cnn'\. Did you mean 'small_cnn'\?"
    ) as error:
        models.get("smal_cnn")
    assert "Registered: small_cnn." in str(error.value)
    assert "--import" in str(error.value)
    assert models.get("small_cnn") is build
    assert len(loaded) == 1


def test_a_hit_loads_nothing(monkeypatch):
    models = Registry("model", check_builder)
    models.register(build)

    def load():
        raise AssertionError("loaded plugins")

    monkeypatch.setattr(registry, "load_plugins", load)
    assert models.get("build") is build


def test_an_empty_registry_says_so(models):
    with pytest.raises(LookupError, match="Registered: none"):
        models.get("x")


def test_names_match_a_shell_pattern(models):
    for name in ("small_cnn", "cnn_large", "mlp"):
        models.register(name=name)(build)
    assert models.names() == ["cnn_large", "mlp", "small_cnn"]
    assert models.names("*cnn*") == ["cnn_large", "small_cnn"]
    assert models.names("cnn*") == ["cnn_large"]
    assert models.names("x") == []


def test_did_you_mean():
    assert did_you_mean("drop_out", ["width", "dropout"]) == " Did you mean 'dropout'?"
    assert did_you_mean("wdith", ["width", "depth"]) == " Did you mean 'width' or 'depth'?"
    assert did_you_mean("zzz", ["width"]) == ""


def test_a_name_isn_t_a_positional_argument(models):
    with pytest.raises(TypeError, match=r"Write @register_model\(name='cnn'\)"):
        models.register("cnn")


def only_one(inputs):
    return None


def three(inputs, task, width=3):
    return None


def swallows_keywords(inputs, task, **hparams):
    return None


def swallows_arguments(inputs, task, *rest):
    return None


@pytest.mark.parametrize("function", [only_one, three, swallows_keywords, swallows_arguments])
def test_a_builder_has_two_arguments_and_named_ones(models, function):
    with pytest.raises(TypeError, match=rf"Model '{function.__name__}' has the signature \(inputs.*expected build\("):
        models.register(function)
    assert models.names() == []


class Builder:
    def __call__(self, inputs, task):
        return None


@pytest.mark.parametrize("target", [5, Builder, [build]])
def test_a_builder_is_a_function(models, target):
    with pytest.raises(TypeError, match=r"A model is a function build\(inputs, task, \*, \.\.\.\), got "):
        models.register(target)


@pytest.mark.parametrize("target", [Builder(), functools.partial(build, width=4)])
def test_what_has_no_name_needs_one(models, target):
    with pytest.raises(TypeError, match=r"has no name of its own: register_model\(\.\.\., name="):
        models.register(target)
    assert models.register(target, name="given") is target
    assert models.get("given") is target
    with pytest.raises(ValueError, match="taken twice"):
        models.register(build, name="given")


def test_a_pipeline_is_callable():
    with pytest.raises(TypeError, match="A pipeline is a Pipeline subclass or a function that returns one, got 3"):
        framework.register_pipeline(3)


def test_the_public_functions_are_one_registry_each():
    assert "mlp" in framework.list_models()
    assert "mlp" not in framework.list_pipelines()
    assert framework.list_models("*cnn*") == [name for name in framework.list_models() if "cnn" in name]
    with pytest.raises(LookupError, match=r"No pipeline is registered as 'digit'\. Did you mean 'digits'"):
        framework.get_pipeline("digit")


def test_the_registry_imports_neither_tensorflow_nor_keras():
    code = "import sys, framework, framework.registry; print([m for m in ('tensorflow', 'keras') if m in sys.modules])"
    root = pathlib.Path(framework.__file__).parent.parent
    printed = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"
