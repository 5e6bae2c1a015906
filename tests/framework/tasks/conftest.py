import keras
import numpy as np
import pytest
import tensorflow as tf


@pytest.fixture
def evaluate():
    """Keras' own evaluation of given outputs by a task's loss and metrics; the batches don't divide the examples."""

    def evaluate(task, outputs, labels, batch_size=7):
        outputs = outputs if isinstance(outputs, dict) else {"outputs": outputs}
        inputs = {name: keras.Input(value.shape[1:], name=f"given_{name}") for name, value in outputs.items()}
        ends = {name: keras.layers.Identity(name=name)(tensor) for name, tensor in inputs.items()}
        model = keras.Model(
            {f"given_{name}": tensor for name, tensor in inputs.items()},
            ends if isinstance(labels, dict) else ends["outputs"],
        )
        weights = getattr(task, "weights", None)
        model.compile(loss=task.loss(), metrics=task.metrics(), loss_weights=weights)
        given = {f"given_{name}": value.astype(np.float32) for name, value in outputs.items()}
        dataset = tf.data.Dataset.from_tensor_slices((given, labels)).batch(batch_size)
        return model.evaluate(dataset, return_dict=True, verbose=0)

    return evaluate
