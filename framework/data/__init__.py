"""From what lies on disk to what the model is fed, for training, evaluation and serving.

sources         one split: random access (`ArraySource`) or a stream (`DatasetSource`)
fetching        a source whose batches Python fetches: `series` and `windows` of a long table, `adapters` for the
                data sets of other libraries
file_source     features that are the contents of files; `image_folder` finds images and their classes
caching         decoded once, kept in memory or in files
records         TFRecord files; `sequences` in them, padded, masked and bucketed by length
splits, shares  train, validation and test of one source; folds; part of it
sampling        epochs in which classes are balanced, sources mixed by rates, examples weighted
pipeline        what a person writes: features, task, source, augment, preprocess, signatures
statistics      what is learned once from the training split
profile         what the training split looks like; `contract` tells where other data differ
train           order -> gather -> augment -> preprocess, endless, from any (epoch, step)
evaluate        every example exactly once
serving         what each signature accepts, and how it becomes the model's input
validation      everything that can be known to be wrong before step 0
random, augment per-example randomness and batched augmentation keyed by it
"""

from framework.data import augment, random, statistics

__all__ = ["augment", "random", "statistics"]
