"""A classifier on the features of layer n, in place of training the layers above it."""

import math
import re
from dataclasses import dataclass
from functools import cached_property

from transferability.files import Refused
from transferability.recipe import Recipe

CLASSIFIERS = ("svm", "softmax", "sigmoid", "nearest", "neighbours", "retrieval")
PENALISED = ("svm", "softmax", "sigmoid")  # their penalty is chosen on inner folds
SEVERAL = ("svm", "sigmoid", "neighbours", "retrieval")  # they take several labels per image
TRANSFORMS = ("l2", "root", "standardise", "whiten")
HANDMADE = ("pixels", "hog", "words")
# Views of an image: where it is cropped, or turned, and whether it is mirrored then (`training/views.py`).
_CORNERS = ("top-left", "top-right", "bottom-left", "bottom-right")
_SIXTEEN = ("centre", *(f"small-{place}" for place in ("centre", *_CORNERS)), "turned-left", "turned-right")
VIEWS = {
    "centre": ("centre",),
    "mirror": ("centre", "centre-mirrored"),
    "ten": tuple(f"{view}{mirrored}" for view in ("centre", *_CORNERS) for mirrored in ("", "-mirrored")),
    "sixteen": tuple(f"{view}{mirrored}" for view in _SIXTEEN for mirrored in ("", "-mirrored")),
}
MOST_NUMBERS = 4096  # per image, for pooling "square"
SQUARE = re.compile(r"square(?:-([1-9]\d*))?")


@dataclass(frozen=True)
class Readout:
    """What the features of layer n are worth as they are: the recipe of a network that trains no layer.

    The first n layers are the source's, in evaluation mode; a convex classifier is fitted to their output on the
    training images of the target, and judged on its validation images. n = 0 are handmade features; n = depth the
    source's scores.

    name: a word for people; it changes no result.
    crop: side of the square that the network sees, in pixels.
    classifier: "svm" (one class against the others, squared hinge), "softmax" (multinomial logistic), "sigmoid" (each
        class by itself), "nearest" (class mean), "neighbours" (k nearest), "retrieval" (training images in the order of
        their distance; judged by average precision).
    penalties: factors C of the loss, against half the squared norm of the weights, in units of one over the mean
        squared length of the training vectors. The best on inner folds of the training images is taken.
    neighbours: numbers of neighbours; the best on inner folds is taken.
    folds: inner folds. Which image is in which fold depends on no seed.
    pooling: from a layer's map to numbers: "square", averages over the largest square of places that leaves at most
        4,096 numbers ("square-512": at most 512), or one per channel; a whole number, over a square of that side, or of
        the map's where that is smaller; or "flat", the map as it is.
    tokens: of a map of tokens (ViT): the "class" token, which is the first, the "mean" of the others, or "both".
    transforms: of the vectors, in this order: "l2" (length 1), "root" (signed square root), "standardise" (mean 0,
        standard deviation 1), "whiten" (principal components of variance 1). Fitted on training images alone.
    components: how many principal components "whiten" keeps at most, the largest ones; None: all. With all of them, one
        less than images, any two training images are equally far from each other.
    train_views, test_views: how many views of each training and validation image there are: "centre", "mirror" (with
        the mirrored one), "ten" (four corners and centre, mirrored), "sixteen" (centre, five smaller crops, two turned
        ones, mirrored). Training views are rows of their own.
    pooled: how the vectors of the test views become one: their "sum" (mean), or "max".
    trained_on: on a domain split, whose images are trained on: the "target"'s, the "source"'s, or "both".
    target_images: images per class of the target, for trained_on "both".
    of: short name of the network whose layers are read, as A5B+: a fine-tuned one in place of the base. The source's
        letter is then its target's.
    handmade: for n = 0: "pixels", "hog" (histograms of gradients) or "words" (a bag of visual words).
    shrink, scale, initialisation: as in a `Recipe`; those of the base that is read.
    """

    name: str
    crop: int
    classifier: str = "svm"
    penalties: tuple[float, ...] = (0.01, 0.1, 1.0, 10.0, 100.0, 1000.0)
    neighbours: tuple[int, ...] = (1, 3, 5, 10)
    folds: int = 5
    pooling: str | int = "square"
    tokens: str = "class"
    transforms: tuple[str, ...] = ("standardise",)
    components: int | None = None
    train_views: str = "centre"
    test_views: str = "centre"
    pooled: str = "sum"
    trained_on: str = "target"
    target_images: int = 3
    of: str = ""
    handmade: str = "pixels"
    shrink: int = 1
    scale: float = 1 / 64
    initialisation: str = "variance-preserving"

    # What plans and bars ask of any recipe: no step is taken.
    steps = 0
    batch = 1

    def __post_init__(self) -> None:
        for field in ("penalties", "neighbours", "transforms"):
            value = getattr(self, field)
            if not isinstance(value, (tuple, list)):
                raise Refused(f"readout {self.name!r}: {field} is {value!r}; write several in brackets, as (…, …)")
            object.__setattr__(self, field, tuple(value))
        choices = {
            "classifier": CLASSIFIERS,
            "tokens": ("class", "mean", "both"),
            "train_views": tuple(VIEWS),
            "test_views": tuple(VIEWS),
            "pooled": ("sum", "max"),
            "trained_on": ("target", "source", "both"),
            "handmade": HANDMADE,
        }
        for field, allowed in choices.items():
            if getattr(self, field) not in allowed:
                raise Refused(f"readout {self.name!r}: {field} is {getattr(self, field)!r}, not {' or '.join(allowed)}")
        for transform in self.transforms:
            if transform not in TRANSFORMS:
                raise Refused(f"readout {self.name!r}: no transform {transform!r}; write {', '.join(TRANSFORMS)}")
        is_side = type(self.pooling) is int and self.pooling >= 1
        if not (is_side or self.pooling == "flat" or SQUARE.fullmatch(str(self.pooling))):
            raise Refused(
                f"readout {self.name!r}: pooling is {self.pooling!r}; write square, square-512, flat or a whole number"
            )
        self._refuse_numbers()

    def _refuse_numbers(self) -> None:
        for field, kind in (("penalties", (int, float)), ("neighbours", (int,))):
            values = getattr(self, field)
            if not values or not all(type(value) in kind and 0 < value < math.inf for value in values):
                raise Refused(f"readout {self.name!r}: {field} is {values!r}; write numbers above 0")
            if list(values) != sorted(set(values)):
                raise Refused(f"readout {self.name!r}: {field} is {values!r}; write them ascending, each once")
        if self.components is not None and "whiten" not in self.transforms:
            raise Refused(f"readout {self.name!r}: components are of the transform 'whiten', which it has not")
        for field, least in (("folds", 2), ("target_images", 1), ("crop", 1), ("shrink", 1), ("components", 1)):
            if getattr(self, field) is None:
                continue
            if type(getattr(self, field)) is not int or getattr(self, field) < least:
                raise Refused(
                    f"readout {self.name!r}: {field} is {getattr(self, field)!r}; write a whole number, {least} or more"
                )
        _ = self.inputs  # refuses a scale and an initialisation that there are not

    @property
    def candidates(self) -> tuple[float, ...]:
        """What is chosen from on inner folds: penalties, numbers of neighbours, or nothing."""
        if self.classifier in PENALISED:
            return self.penalties
        return self.neighbours if self.classifier == "neighbours" else ()

    @property
    def needs_folds(self) -> bool:
        return len(self.candidates) > 1

    @cached_property
    def inputs(self) -> Recipe:
        """How images are prepared and random layers drawn, as a recipe says it."""
        return Recipe(
            self.name,
            steps=1,
            batch=1,
            rate=1.0,
            crop=self.crop,
            validate_every=1,
            shrink=self.shrink,
            scale=self.scale,
            initialisation=self.initialisation,
        )

    def numbers(self, shape: tuple[int, ...]) -> int:
        """Length of the vector that a layer's output of this shape (without the batch) becomes."""
        return math.prod(self.pooled_shape(shape))

    def pooled_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """(channels, s, s) of a map (channels, side, side) or (side, side, channels); (k, width) of tokens; else as
        it is."""
        if len(shape) == 2:  # tokens
            return shape if self.pooling == "flat" else ({"class": 1, "mean": 1, "both": 2}[self.tokens], shape[1])
        if len(shape) != 3:
            return shape
        channels, side = (shape[2], shape[0]) if is_channels_last(shape) else (shape[0], min(shape[1:]))
        if self.pooling == "flat":
            return (channels, math.prod(shape) // channels)
        if squared := SQUARE.fullmatch(str(self.pooling)):
            most = math.isqrt(int(squared[1] or MOST_NUMBERS) // channels)
        else:
            most = int(self.pooling)
        square = max(1, min(side, most))
        return (channels, square, square)


def is_channels_last(shape: tuple[int, ...]) -> bool:
    """Whether a map (without the batch) is (side, side, channels), as in Swin, and not (channels, side, side)."""
    return len(shape) == 3 and shape[0] == shape[1] != shape[2]
