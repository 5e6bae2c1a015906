"""An interrupted run ends as if nothing had happened: state, history, decisions, the best record and its export."""

import os
import signal
import subprocess
import sys
import textwrap

import keras
import pytest
from exactness import StopAt, busy_network, differences, images_pipeline

import framework
from framework.training.preemption import Preempted

CONSTANT = framework.Schedule("constant", warmup=0.0)


class Counting(keras.callbacks.Callback):
    """Lowers the learning rate after every 11th batch: lost state shows in the weights."""

    def __init__(self):
        super().__init__()
        self.batches = 0

    def on_train_batch_end(self, batch, logs=None):
        self.batches += 1
        if self.batches % 11 == 0:
            self.model.optimizer.learning_rate = float(self.model.optimizer.learning_rate) * 0.7

    def get_state(self):
        return {"batches": self.batches}

    def set_state(self, state):
        self.batches = state["batches"]


CASES = {
    "plain": {},
    "several_steps_a_call": {"optimization": framework.Optimization(steps_per_execution=2)},
    "ema": {"optimization": framework.Optimization(ema=0.9, steps_per_execution=1)},
    "float16": {"optimization": framework.Optimization(precision="mixed_float16", steps_per_execution=1)},
    "bfloat16": {"optimization": framework.Optimization(precision="mixed_bfloat16", steps_per_execution=1)},
    "accumulation": {"optimization": framework.Optimization(accumulation_steps=3, steps_per_execution=1)},
    "jit": {"optimization": framework.Optimization(jit_compile=True, steps_per_execution=1)},
    "early_stopping": {"stopping": framework.Stopping(patience=1, min_delta=0.5), "epochs": 6},
    "plateau": {
        "optimization": framework.Optimization(schedule=CONSTANT),
        "callbacks": lambda: [
            keras.callbacks.ReduceLROnPlateau(monitor="val_loss", patience=1, min_delta=1.0),
            keras.callbacks.EarlyStopping(monitor="val_loss", patience=3, min_delta=1.0, restore_best_weights=True),
        ],
    },
    "own_callback": {"optimization": framework.Optimization(schedule=CONSTANT), "callbacks": lambda: [Counting()]},
}


def train(run_dir, stop, **arguments):
    arguments = {"epochs": 3, "stopping": None, **arguments}
    callbacks = [*arguments.pop("callbacks", list)(), stop]
    return framework.fit(
        busy_network,
        images_pipeline(),
        run_dir=run_dir,
        batch_size=8,
        checkpoints=framework.Checkpoints(every_steps=2),
        callbacks=callbacks,
        verbose=0,
        **arguments,
    )


@pytest.mark.parametrize("name", CASES)
def test_killed_within_an_epoch(name, tmp_path):
    train(tmp_path / "whole", StopAt(1, 5), **CASES[name])
    for at in ((0, 4), (1, 5)) if name in ("plain", "ema") else ((1, 5),):
        stop = StopAt(*at)
        stop.armed = True
        with pytest.raises(RuntimeError, match="killed"):
            train(tmp_path / "cut", stop, **CASES[name])
    train(tmp_path / "cut", StopAt(1, 5), **CASES[name])
    assert differences(tmp_path / "whole", tmp_path / "cut") == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_finishes_the_step_saves_and_leaves(number, code, tmp_path):
    class Signalled(StopAt):
        def die(self):
            os.kill(os.getpid(), number)

    train(tmp_path / "whole", Signalled(1, 3))
    stop = Signalled(1, 3)
    stop.armed = True
    handler = signal.getsignal(number)
    with pytest.raises(Preempted) as preempted:
        train(tmp_path / "cut", stop)
    assert preempted.value.code == code
    assert signal.getsignal(number) == handler
    assert (tmp_path / "cut/checkpoints/00000001-00000004").is_dir()  # that very step, not the one before
    train(tmp_path / "cut", Signalled(1, 3))
    assert differences(tmp_path / "whole", tmp_path / "cut") == []


def test_mirrored_replicas_resume_exactly(tmp_path):
    script = textwrap.dedent(
        """
        import sys
        import tensorflow as tf
        tf.config.set_logical_device_configuration(
            tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2)
        from exactness import StopAt, differences
        from test_exact_resume import train
        import pathlib
        base = pathlib.Path(sys.argv[1])
        strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
        with strategy.scope():
            assert train(base / "whole", StopAt(1, 5)).model.distribute_strategy.num_replicas_in_sync == 2
            stop = StopAt(1, 5)
            stop.armed = True
            try:
                train(base / "cut", stop)
            except RuntimeError as error:
                assert "killed" in str(error), error
            train(base / "cut", StopAt(1, 5))
        found = differences(base / "whole", base / "cut")
        assert found == [], found
        print("replicas agree")
        """
    )
    environment = {**os.environ, "PYTHONPATH": os.path.dirname(__file__)}
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], env=environment, capture_output=True, text=True, timeout=300
    )
    assert "replicas agree" in done.stdout, done.stderr[-3000:]


def test_csv_logger_has_each_epoch_once(tmp_path):
    def logged(name):
        logger = keras.callbacks.CSVLogger(tmp_path / name)
        return logger, {"callbacks": lambda: [logger]}

    train(tmp_path / "whole", StopAt(1, 5), **logged("whole.csv")[1])
    stop = StopAt(1, 5)
    stop.armed = True
    logger, arguments = logged("cut.csv")
    with pytest.raises(RuntimeError, match="killed"):
        train(tmp_path / "cut", stop, **arguments)
    logger.csv_file.close()  # a killed process has no open files
    train(tmp_path / "cut", StopAt(1, 5), **logged("cut.csv")[1])
    assert (tmp_path / "cut.csv").read_text() == (tmp_path / "whole.csv").read_text()
    assert len((tmp_path / "cut/history.csv").read_text().splitlines()) == 4


def test_state_that_nobody_saves_is_named(tmp_path, caplog):
    class Forgetful(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.seen = 0

        def on_train_batch_begin(self, batch, logs=None):
            self.seen += 1

    with caplog.at_level("WARNING", logger="absl"):
        train(tmp_path / "run", StopAt(9, 9), callbacks=lambda: [Forgetful()])
    warnings = [record.getMessage() for record in caplog.records if "get_state" in record.getMessage()]
    assert len(warnings) == 1
    assert "Forgetful changes seen" in warnings[0]


def test_more_epochs_go_on_where_the_run_ended(tmp_path):
    constant = {"optimization": framework.Optimization(schedule=CONSTANT)}
    train(tmp_path / "long", StopAt(9, 9), epochs=4, **constant)
    train(tmp_path / "short", StopAt(9, 9), epochs=2, **constant)
    train(tmp_path / "short", StopAt(9, 9), epochs=4, **constant)
    assert differences(tmp_path / "long", tmp_path / "short") == []
