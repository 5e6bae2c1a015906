"""What the package promises to those who import it."""

import ast
import doctest
import importlib
import pathlib
import subprocess
import sys

import pytest

import framework

ROOT = pathlib.Path(framework.__file__).parent

# In the order in which an example meets them.
PUBLIC = [
    "callbacks",
    "data",
    "export",
    "tasks",
    "testing",
    "Feature",
    "Image",
    "get_model",
    "get_pipeline",
    "list_models",
    "list_pipelines",
    "register_model",
    "register_pipeline",
    "Objective",
    "ArraySource",
    "DatasetSource",
    "Source",
    "BadExamples",
    "Pipeline",
    "signature",
    "pipeline_from_arrays",
    "pipeline_from_datasets",
    "build_model",
    "Checkpoints",
    "Divergence",
    "Exports",
    "Optimization",
    "Schedule",
    "Stopping",
    "WarmStart",
    "fit",
    "Run",
    "load_export",
]


def in_the_stub():
    """Public names in the order of `__init__.pyi`, from which `__all__` is made in whatever order."""
    tree = ast.parse((ROOT / "__init__.pyi").read_text(encoding="utf-8"))
    return [alias.asname for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names]


def test_public_names_are_these_and_in_this_order():
    assert in_the_stub() == PUBLIC
    assert sorted(framework.__all__) == sorted(PUBLIC)


def test_every_public_name_is_there_and_documented():
    for name in framework.__all__:
        assert getattr(framework, name).__doc__, name
    assert set(PUBLIC) <= set(dir(framework))
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = framework.no_such_name


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)


def test_importing_the_package_costs_nothing():
    heavy = "print(sorted({'tensorflow', 'keras', 'numpy', 'matplotlib', 'models', 'pipelines'} & set(sys.modules)))"
    assert run(f"import sys, framework; {heavy}").stdout.strip() == "[]"
    assert run(f"import sys, framework.registry; framework.register_model; {heavy}").stdout.strip() == "[]"


@pytest.mark.parametrize(("chosen", "backend"), [(None, "tensorflow"), ("jax", "jax")])
def test_keras_backend_is_tensorflow_unless_chosen(monkeypatch, chosen, backend):
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    if chosen:
        monkeypatch.setenv("KERAS_BACKEND", chosen)
    assert run("import framework, os; print(os.environ['KERAS_BACKEND'])").stdout.strip() == backend


def with_examples():
    for path in sorted(ROOT.rglob("*.py")):
        if ">>>" in path.read_text(encoding="utf-8"):
            yield ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("name", list(with_examples()))
def test_examples_in_docstrings_run(name):
    results = doctest.testmod(importlib.import_module(name))
    assert results.attempted > 0
    assert results.failed == 0
