import keras
import numpy as np
import pytest

import framework
from framework.callbacks import NonFiniteLossError


def linear(inputs, task):
    return keras.layers.Dense(1, kernel_initializer="ones")(inputs["features"])


def pipeline():
    x = np.linspace(-1, 1, 64, dtype=np.float32)[:, None] * np.float32(1e3)
    return framework.pipeline_from_arrays(x, 2 * x[:, 0], validation=0.25)


def train(run_dir, **arguments):
    return framework.fit(
        linear,
        pipeline(),
        run_dir=run_dir,
        epochs=3,
        batch_size=16,
        # The square of 1e3 a step: diverges at once, converges below 1e-6.
        optimization=framework.Optimization(
            optimizer="sgd", learning_rate=1e-2, schedule=framework.Schedule("constant", warmup=0.0)
        ),
        verbose=0,
        **arguments,
    )


def test_goes_back_and_on_with_a_smaller_rate(tmp_path):
    run = train(tmp_path / "run", divergence=framework.Divergence(max_rollbacks=3, factor=0.05))
    assert np.isfinite(run.history["loss"]).all()
    # The first epoch's weights had blown up before its loss did: the second rollback is to the very beginning.
    assert run.history["rollbacks"] == [2.0, 2.0, 2.0]


def test_gives_up_after_so_many(tmp_path):
    with pytest.raises(NonFiniteLossError, match=r"epoch 1, step 2 .* The last good state is in"):
        train(tmp_path / "run", divergence=framework.Divergence(max_rollbacks=1, factor=0.9))


@pytest.mark.parametrize("wrong", [{"max_rollbacks": -1}, {"factor": 1.0}, {"factor": 0.0}])
def test_settings_are_checked(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        framework.Divergence(**wrong)
