"""`scripts/train.py`, in this process."""

import sys

import pytest

from framework.training.run_directory import RunDirectory


def test_list_shows_what_there_is_and_what_it_takes(run_script):
    code, out, _ = run_script("train", "--list")
    assert code == 0
    for text in (
        "small_cnn",
        "Stages of a 3x3 convolution",
        "dropout: float = 0.3",
        "digits",
        "rotation: float = 10.0",
    ):
        assert text in out
    assert "**kwargs" not in out


@pytest.mark.parametrize(
    ("argv", "messages"),
    [
        ([], ["--model and --pipeline and --run_dir must be given", "--list"]),
        (["--model=smal_cnn"], ["No model is registered as 'smal_cnn'", "Did you mean 'small_cnn'"]),
        (["--pipeline=wines"], ["No pipeline is registered as 'wines'", "Did you mean 'wine'"]),
        (["--hparam", "widht=64"], ["no hyper-parameter 'widht'", "Did you mean 'width'"]),
        (["--hparam", "width=wide"], ["'width' must be int", "got 'wide' (str)"]),
        (["--option", "shift=0.1"], ["The pipeline 'wine'", "shift"]),
        (["--optimizer=adma"], ["Unknown optimizer 'adma'", "Did you mean 'adam'"]),
        (["--learning_rate=-1"], ["learning_rate must be positive, got -1"]),
        (["--batch_size=1000"], ["batch_size 1000 is larger than the training split"]),
        (["--objective=val_acuracy"], ["Is more or less of 'val_acuracy' better? Say --mode=max"]),
        (
            ["--objective=val_acuracy", "--mode=max"],
            ["'val_acuracy' won't be in the logs", "Did you mean 'val_accuracy'"],
        ),
        (["--import=not_there"], ["--import not_there: there is no module"]),
        (["--run_dir=/proc/nowhere"], ["run_dir '/proc/nowhere' can't be written"]),
    ],
)
def test_a_mistake_is_a_message_and_not_a_traceback(run_script, tmp_path, argv, messages):
    flags = {"--model": "mlp", "--pipeline": "wine", "--run_dir": str(tmp_path / "run")} if argv else {}
    flags |= {name: value for name, _, value in (arg.partition("=") for arg in argv) if name in flags}
    rest = [arg for arg in argv if arg.partition("=")[0] not in flags]
    code, out, err = run_script("train", *(f"{name}={value}" for name, value in flags.items()), *rest)
    assert code == 2
    assert err.startswith("error: ")
    assert "Traceback" not in err
    for message in messages:
        assert message in err
    assert not out


def test_a_loss_that_is_no_number(run_script, tmp_path):
    argv = ["--model=mlp", "--pipeline=diabetes", f"--run_dir={tmp_path}/run", "--epochs=2", "--verbose=0"]
    code, _, err = run_script("train", *argv, "--optimizer=sgd", "--learning_rate=1e20", "--warmup=0")
    assert code == 2
    assert "error: The loss is" in err
    assert "at epoch 0, step " in err


def test_a_directory_that_another_process_writes_to(run_script, tmp_path):
    with RunDirectory(tmp_path / "run"):
        argv = ["--model=mlp", "--pipeline=wine", f"--run_dir={tmp_path}/run", "--batch_size=32"]
        code, _, err = run_script("train", *argv)
    assert code == 2
    assert f"{tmp_path}/run is being written by process " in err


def test_the_summary_says_where_everything_lies(run_script, wine_run):
    argv = [
        "--model=mlp",
        "--hparam",
        "width=8",
        "--pipeline=wine",
        f"--run_dir={wine_run}",
        "--epochs=2",
        "--verbose=0",
    ]
    code, out, _ = run_script("train", *argv, "--learning_rate=0.02", "--batch_size=32")
    assert code == 0
    assert f"The run in {wine_run} was finished before: 2 epochs" in out
    assert "val_accuracy" in out
    assert f"{wine_run}/export/" in out


def test_another_configuration_is_refused_with_the_difference(run_script, wine_run):
    argv = ["--model=mlp", "--hparam", "width=9", "--pipeline=wine", f"--run_dir={wine_run}", "--epochs=2"]
    code, _, err = run_script("train", *argv, "--learning_rate=0.02", "--batch_size=32")
    assert code == 2
    assert "model.hparams.width: was 8, now 9" in err


def test_a_model_and_a_pipeline_of_ones_own(run_script, tmp_path, monkeypatch):
    """In a folder named as one of ours is."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "lines.py").write_text(
        "import framework\n"
        "import keras\n"
        "@framework.register_model\n"
        "def line(inputs, task, *, scales: tuple[float, ...] = (1.0,)):\n"
        "    return task.logits(keras.layers.Rescaling(scales[0])(inputs['features']))\n"
    )
    (tmp_path / "my_data.py").write_text(
        "import framework\n"
        "import numpy as np\n"
        "@framework.register_pipeline\n"
        "def sums(count: int = 32):\n"
        "    x = np.arange(2 * count, dtype=np.float32).reshape(count, 2) / count\n"
        "    return framework.pipeline_from_arrays(x, x.sum(axis=1), validation=0.25)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("models", "models.lines", "my_data"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    argv = ["--import=models.lines", "--import=my_data", "--model=line", "--pipeline=sums", "--run_dir=runs/sums"]
    options = ["--hparam", "scales=(0.5, 2.0)", "--option", "count=40", "--callback=keras.callbacks:TerminateOnNaN"]
    code, out, err = run_script("train", *argv, *options, "--epochs=1", "--batch_size=10", "--verbose=0")
    assert code == 0, err
    assert "val_rmse" in out
    assert (tmp_path / "runs/sums/export/1/saved_model.pb").exists()
    code, out, err = run_script("evaluate", "--run_dir=runs/sums", "--phase=validation", *argv[:2])
    assert code == 0, err
    assert "on the 10 examples of the validation split" in out
