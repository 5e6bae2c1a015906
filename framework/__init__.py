"""Pass a build function and go: training, evaluation and serving around Keras functional models.

The walk of an example, which is also the order in which these modules are best read:

    features            names, shapes and dtypes of what a client really has
    tasks               what is predicted: loss, metrics, objective, predictions for serving
    data                source -> order -> augment (train only) -> batch -> preprocess
    ------------------- the splitting point: {name: tensor}, the model's inputs
    building            the registered build function becomes a `keras.Model`
    export              signatures -> SavedModel, written aside, checked and renamed
    callbacks           what joins the above to `Model.fit`
    training            `fit`, the run directory, checkpoints and resume
    serving             what was exported, called from Python or over HTTP

    import keras
    import framework

    @framework.register_model
    def tiny(inputs, task, *, width: int = 64):
        x = keras.layers.Flatten()(inputs["image"])
        x = keras.layers.Dense(width, activation="relu")(x)
        return keras.layers.Dense(task.units)(x)

    run = framework.fit("tiny", "digits", run_dir="runs/tiny", epochs=5)
    run.best.metrics["val_accuracy"], run.export_dir

Importing this package imports neither TensorFlow nor Keras; the first name that needs them does.
"""

import os

import lazy_loader

# Keras reads its backend once, when it is first imported; the framework is TensorFlow's (tf.data, SavedModel).
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

__version__ = "0.1.0"

# The public API is `__init__.pyi`, in the order in which an example meets it.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
