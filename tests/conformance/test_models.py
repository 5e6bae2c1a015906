"""Every registered model, by being registered, goes through what a run will ask of it."""

import pytest

import framework
from framework.testing.model_checks import trained_on_toy
from framework.testing.reloading import assert_export_reloads

# Now, before other tests register theirs.
NAMES = framework.list_models()
# Smaller than by default, where that saves a minute and leaves no line of the builder out.
SMALL = {"resnet": {"depth": 8, "width": 8}, "text_cnn": {"vocabulary_size": 100}}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Each model's run, made once and checked up to its export."""
    runs = {}

    def trained(name):
        if name not in runs:
            run_dir = tmp_path_factory.mktemp(name) / "run"
            runs[name] = trained_on_toy(name, hparams=SMALL.get(name), run_dir=run_dir)
        return runs[name]

    return trained


@pytest.mark.parametrize("name", NAMES)
def test_model_conforms(name, trained):
    assert trained(name).export_dir.is_dir()


def test_exports_reload_with_tensorflow_alone(trained):
    # All in one new process: starting TensorFlow takes longer than the rest.
    assert_export_reloads([trained(name) for name in NAMES])
