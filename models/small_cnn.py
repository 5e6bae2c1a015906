"""A small convolutional network for small images, after LeNet-5 and VGG.

LeCun et al. 1998, "Gradient-Based Learning Applied to Document Recognition"; Simonyan and Zisserman 2015, "Very Deep
Convolutional Networks for Large-Scale Image Recognition" (3x3 kernels, doubled width after each pooling).
"""

import keras

import framework


@framework.register_model
def small_cnn(inputs, task, *, width: int = 32, num_stages: int = 2, hidden: int = 128, dropout: float = 0.3):
    """Stages of a 3x3 convolution and 2x2 max-pooling, then a hidden layer.

    Args:
        inputs: `{"image": float [batch, height, width, channels]}`, at least `2**num_stages` pixels each way.
        task: Any task.
        width: Filters of the first stage; each stage doubles them.
        num_stages: How often the image is halved.
        hidden: Units of the layer before the last.
        dropout: Share of that layer's inputs that are dropped in training.
    """
    x = inputs["image"]
    for stage in range(num_stages):
        x = keras.layers.Conv2D(width * 2**stage, 3, padding="same", activation="relu")(x)
        x = keras.layers.MaxPool2D()(x)
    x = keras.layers.Dropout(dropout)(keras.layers.Flatten()(x))
    x = keras.layers.Dense(hidden, activation="relu")(x)
    return task.logits(x)
