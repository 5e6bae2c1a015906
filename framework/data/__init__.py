"""From what lies on disk to what the model is fed, for training, evaluation and serving.

sources         one split: random access (`ArraySource`) or a stream (`DatasetSource`)
pipeline        what a person writes: features, task, source, augment, preprocess, signatures
statistics      what is learned once from the training split
train           order -> gather -> augment -> preprocess, endless, from any (epoch, step)
evaluate        every example exactly once
serving         what each signature accepts, and how it becomes the model's input
validation      everything that can be known to be wrong before step 0
random, augment per-example randomness and batched augmentation keyed by it
"""

from framework.data import augment, random, statistics

__all__ = ["augment", "random", "statistics"]
