"""Augmentation of image batches, for `Pipeline.augment`.

Every function takes images [batch, height, width, channels], uint8 or floating, and the batch's seeds, and
returns images of the same dtype. What happens to an example depends on its seed alone, so it is the same in
whatever batch the example comes; only `mixup` and `cutmix` look at the rest of the batch. Each function draws
from a stream of its own; use one twice on the same seeds with different `salt`s.

```python
def augment(self, features, labels, seeds):
    images = augment.random_affine(features["image"], seeds, flip_horizontal=True, shift=0.1)
    return features | {"image": augment.random_erase(images, seeds, size=0.25)}, labels
```

    affine          flips, shifts, rotations, zooms, in one resampling
    crop            crops of random size, place and aspect ratio
    color           brightness, contrast, saturation, hue
    erase, noise    what hides part of the image
    mix             two examples in one, labels too
    rand_augment    a few of fourteen operations

`image_augmentation.ImageAugmentation` does the usual ones of photographs, part of it while a file is decoded: windows
are cut out (`decoded_crop`), and images resized and moved in a single interpolation (`single_warp`).

The deterministic halves are in `images` (checks, float and back), `warp` (geometry), `box` (rectangles) and
`enhance` (values).
"""

from framework.data.augment.affine import (
    random_affine,
    random_flip,
    random_rotation,
    random_shift,
    random_zoom,
)
from framework.data.augment.color import adjust_color, random_color
from framework.data.augment.crop import random_resized_crop
from framework.data.augment.erase import random_erase
from framework.data.augment.mix import cutmix, mixup
from framework.data.augment.noise import gaussian_noise
from framework.data.augment.rand_augment import rand_augment

__all__ = [
    "adjust_color",
    "cutmix",
    "gaussian_noise",
    "mixup",
    "rand_augment",
    "random_affine",
    "random_color",
    "random_erase",
    "random_flip",
    "random_resized_crop",
    "random_rotation",
    "random_shift",
    "random_zoom",
]
