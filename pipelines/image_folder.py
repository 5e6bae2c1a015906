"""Image files in folders, one for each class, with or without folders for the splits.

framework.fit("resnet", "image_folder", pipeline_options={"path": "flowers", "size": 160}, run_dir="runs/flowers")
"""

import os
from typing import Literal

import tensorflow as tf

import framework
from framework.data import augment
from framework.data.augment.image_augmentation import ImageAugmentation
from framework.data.caching import CachedSource
from framework.data.image_folder import ImageFolder
from framework.data.phases import TRAIN
from framework.data.sampling import Balanced
from framework.data.sources import Subset
from framework.data.statistics import Moments, collect


@framework.register_pipeline(name="image_folder")
class ImageFolderPipeline(framework.Pipeline):
    """JPEG, PNG, GIF, BMP, WebP and JPEG XL files in `<path>/<class>/` or `<path>/{train,validation,test}/<class>/`.

    Clients send uint8 pixels of any size, or a file's bytes to the signature `encoded`; the model gets float32
    `[batch, height, width, channels]`, and answers with the folders' names.

    Without folders for the splits they are drawn at random, always the same, every class by the shares; copies of an
    image stay together.

    Training mirrors images unless told otherwise: turn `flip` off where left and right matter, as in text.

    Args:
        path: The folder.
        size: Height and width of the model's images, or one number for both.
        channels: 3 for colour, 1 for grey.
        aspect: What becomes of images of other proportions, `"stretch"`, `"crop"` or `"pad"`; see `framework.Image`.
        validation: The share to split off where there is no folder for it; 0 for none.
        test: The same.
        seed: Of these splits.
        flip: Whether training mirrors images, left and right, at random.
        rotation: Largest rotation in training, in degrees.
        zoom: Largest change of magnification in training.
        shift: Largest shift in training, as a share of the size.
        crop: In training a random part is cut out that has at least this share of an image's area, and proportions from
            3:4 to 4:3 (Szegedy et al. 2015); `None` for the whole image. Only this part of a JPEG is decoded.
        color: Largest change of brightness, contrast and saturation in training, as a share.
        mixup: Above 0, training blends pairs of images, and their labels, by a share drawn from Beta(mixup, mixup).
        scale: The model's values: `"unit"` from 0 to 1; `"pixels"` from 0 to 255, for models that scale them
            themselves, as many of `keras.applications` do; `"standardize"` with the mean 0 and the deviation 1 that
            the training split has in each channel.
        warp: What flips, turns, zooms and shifts: `"tensorflow"` works wherever this does. `"opencv"` needs OpenCV (the
            extra `opencv`), takes much less time, and interpolates once where the other resizes first. The results
            differ by that, and so this is never decided by what happens to be installed.
        cache: `"memory"` or `"disk"` keeps images decoded and resized to `size`, from which training crops and moves
            them then; `None` decodes the files again in each epoch.
        cache_dir: Where a cache on disk is; later runs with the same images and size use it again.
        balance: Whether every class comes equally often in training.
        on_error: What becomes of files that can't be read or decoded: `"raise"`, or `"skip"` leaves them out.
        max_bad_share: The share of a split that may be skipped.

    Raises:
        FileNotFoundError: There is no such folder.
        ValueError: It isn't laid out like that, files aren't images, an option is out of range, or the decoded images
            don't fit into what is free.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        size: int | tuple[int, int] = (224, 224),
        channels: Literal[1, 3] = 3,
        aspect: Literal["stretch", "crop", "pad"] = "stretch",
        validation: float = 0.15,
        test: float = 0.15,
        seed: int = 0,
        flip: bool = True,
        rotation: float = 0.0,
        zoom: float = 0.0,
        shift: float = 0.0,
        crop: float | None = None,
        color: float = 0.0,
        mixup: float = 0.0,
        scale: Literal["unit", "pixels", "standardize"] = "unit",
        warp: Literal["tensorflow", "opencv"] = "tensorflow",
        cache: Literal["memory", "disk"] | None = None,
        cache_dir: str | None = None,
        balance: bool = False,
        on_error: Literal["raise", "skip"] = "raise",
        max_bad_share: float = 0.01,
    ):
        _check_choice("scale", scale, ("unit", "pixels", "standardize"))
        _check_choice("cache", cache, (None, "memory", "disk"))
        if (cache == "disk") != (cache_dir is not None):
            raise ValueError(f"cache='disk' and cache_dir= go together, got {cache!r} and {cache_dir!r}.")
        if not mixup >= 0.0:
            raise ValueError(f"mixup is {mixup!r}; expected 0 or more.")

        height, width = (size, size) if isinstance(size, int) else size
        image = framework.Image((height, width, channels), aspect=aspect)
        self.features = {"image": image}
        self._augmentation = ImageAugmentation(image, flip, rotation, zoom, shift, crop, color, warp)
        self._mixup = mixup
        self._scale = scale

        folder = ImageFolder(path, validation=validation, test=test, seed=seed, must_be_images=on_error == "raise")
        self.task = framework.tasks.Classification(class_names=folder.class_names)
        self.bad_examples = framework.BadExamples(on_error, max_bad_share)
        source: framework.Source = folder.source
        self._is_cached = cache is not None
        if self._is_cached:
            source = CachedSource(source, self.features, self.decode, directory=cache_dir)
        self._splits: dict[str, framework.Source] = {
            phase: Subset(source, indices) for phase, indices in folder.splits.items()
        }
        if balance:
            self._splits[TRAIN] = Balanced(self._splits[TRAIN], folder.source.labels[folder.splits[TRAIN]])

    def source(self, phase):
        return self._splits.get(phase)

    def decode_training(self, features, seed):
        return {"image": self._augmentation.decode(features["image"], seed)}

    def augment(self, features, labels, seeds):
        # What is cached hasn't been through decode_training.
        change = self._augmentation.whole if self._is_cached else self._augmentation.finish
        images = change(features["image"], seeds)
        if self._mixup:
            images, labels = augment.mixup(images, labels, seeds, num_classes=self.task.num_classes, alpha=self._mixup)
        return {"image": images}, labels

    def learn(self, train):
        return collect(train, {"image": Moments("channel")}) if self._scale == "standardize" else {}

    def preprocess(self, features):
        if self._scale == "standardize":
            return {"image": self.statistics.standardize("image", features["image"])}
        pixels = tf.cast(features["image"], tf.float32)
        return {"image": pixels if self._scale == "pixels" else pixels / 255.0}


def _check_choice(option, value, choices):
    if value not in choices:
        raise ValueError(f"{option} must be one of {', '.join(map(repr, choices))}, got {value!r}.")
