"""Recipes: everything that the optimiser sees. What changes a result and is not in a network's name is here."""

import math
from dataclasses import dataclass, replace

from transferability.files import Refused

# The paper's accuracy of a network is the mean of its ten highest validations (of 450). It is taken from 100
# validations on: the ten highest of few are most of them, or all, and the mean then means something else.
BEST_OF = 10
BEST_NEEDS = 100
LOSSES = ("softmax", "sigmoid", "hinge", "ranking")


def refuse_negative(recipe: "Recipe", *fields: str) -> None:
    """Refused: a field that is no finite number from 0 up."""
    for field in fields:
        if not 0 <= getattr(recipe, field) < math.inf:
            raise Refused(f"recipe {recipe.name!r}: {field} is {getattr(recipe, field)!r}; write a number from 0 up")


@dataclass(frozen=True)
class Recipe:
    """How a network is trained. docs/study.md has these fields as a table (`tools/doc_tables.py`).

    name: a word for people; it changes no result.
    steps: steps of the optimiser. 0: nothing is trained; the study writes it where all layers are copied and frozen.
    batch: images per step, over all processes.
    rate: learning rate of the weights.
    crop: side of the square that the network sees, in pixels; random in training, central in validation.
    validate_every: steps between two validations.
    validate_start: also judge the validation images before the first step. That validation is in the curves alone: it
        is no reason to stop, and not among the ten highest.
    schedule: "cosine": linear growth for `warmup` steps, then half a cosine to 0, with PyTorch's momentum; "step":
        divided by 10 every `drop_every` steps, with Caffe's momentum; "inverse": divided by (1 + 10 p)^0.75 at share p
        of the course (Ganin and Lempitsky 2015), with PyTorch's momentum.
    drop_every: steps between two drops of the rate; needed by schedule "step".
    warmup: steps of linear growth of the rate, for schedule "cosine".
    optimiser: "sgd" or "adamw" (Loshchilov and Hutter 2019: the decay apart from the gradient).
    momentum: momentum of SGD; AdamW's decay of the mean of gradients (its beta 1).
    beta2: AdamW's decay of the mean of squared gradients.
    decay: weight decay; biases and the factors of norms have none.
    pull: how strongly rule `sp` pulls copied weights towards what they were copied as, in place of their decay.
    probe: share of the course for the new layers alone, under rule `probe`.
    chain: share of the course before all layers are trained, under rule `chain`. 0: all of its phases are equally long.
    chain_new: share of the course for the new layers alone, under rule `chain`. 0: a phase as long as the others.
    chain_rate: multiple of the rate after the first phase, under rule `chain` (0.1 in the code of Felbo et al. 2017).
    gradual: share of the course before all layers are trained, under rule `gradual`.
    fall: factor between the rates of neighbouring layers, under rule `fall` (2.6 is Howard and Ruder's, 2018).
    bias_rate: multiple of the rate for biases.
    shrink: whole factor by which the packed images are averaged down when they are loaded.
    mirror: mirror half of the training images, at random.
    crops: training crops: "square", of the side `crop`; or "resized": a box of a random area and shape, resized to
        it (Szegedy et al. 2015). Validation crops are square, central and not resized.
    least_area: smallest area of a resized box, as a share of the image's.
    colour: how much brightness, contrast and saturation change in training: factors from 1 - colour to 1 + colour.
    scale: factor of the input: pixel (0 to 255) minus mean image.
    initialisation: "variance-preserving": He et al. 2015, std sqrt(2 / fan-in), biases 0, the last layer's std divided
        by 10; "paper": Gaussian weights and constant biases, as the architecture says.
    random_layers: the same for the layers of source R, which are never trained; "": as `initialisation`.
    precision: "float32" or "bfloat16" (autocast).
    loss: "softmax" (cross-entropy, one label per image); or, for one label or several, "sigmoid" (each class by
        itself), "hinge" (each class against the rest) or "ranking" (present before absent classes):
        `training/losses.py`.
    label_smoothing: share of the target that goes to all classes alike (Szegedy et al. 2016); in the training loss
        alone, the validation loss is plain cross-entropy.
    class_weights: "equal"; or "balanced": in the training loss an image counts n / (classes x images of its class), of
        the training images.
    clip: largest norm of a network's gradient, over all of its weights; longer ones are scaled down. 0: none is.
    stop: "" (after `steps`); or "inner": once the accuracy on images that are held out of the training images has not
        grown for `patience` validations. What counts is the network at its best such validation.
    patience: validations without a better one, for stop "inner".
    held_out: share of each class's training images that is held out, for stop "inner": at least one image.
    auc: also measure, at each validation, the area under the ROC curve of each class against the others, averaged over
        the classes. All scores of a validation are kept for it.
    frozen_norms: whose statistics the batch norms of frozen layers have: the "source"'s, or the "target"'s, estimated
        once, before training, from the central crops of its training images, layer by layer, without labels.
    frozen_dropout: dropout and stochastic depth of the frozen first layers in training: "active", as in the paper, or
        "resting", as in validation and in a readout.
    """

    name: str
    steps: int
    batch: int
    rate: float
    crop: int
    validate_every: int
    validate_start: bool = False
    schedule: str = "cosine"
    drop_every: int = 0
    warmup: int = 0
    optimiser: str = "sgd"
    momentum: float = 0.9
    beta2: float = 0.999
    decay: float = 5e-4
    pull: float = 0.01
    probe: float = 0.5
    chain: float = 0.0
    chain_new: float = 0.0
    chain_rate: float = 1.0
    gradual: float = 0.5
    fall: float = 2.6
    bias_rate: float = 2.0
    shrink: int = 1
    mirror: bool = True
    crops: str = "square"
    least_area: float = 0.08
    colour: float = 0.0
    scale: float = 1 / 64
    initialisation: str = "variance-preserving"
    random_layers: str = ""
    precision: str = "float32"
    loss: str = "softmax"
    label_smoothing: float = 0.0
    class_weights: str = "equal"
    clip: float = 0.0
    stop: str = ""
    patience: int = 3
    held_out: float = 0.1
    auc: bool = False
    frozen_norms: str = "source"
    frozen_dropout: str = "active"

    def __post_init__(self) -> None:
        for field in ("steps", "batch", "crop", "validate_every", "drop_every", "warmup", "shrink", "patience"):
            if type(getattr(self, field)) is not int or getattr(self, field) < 0:
                raise Refused(f"recipe {self.name!r}: {field} is {getattr(self, field)!r}; write a whole number")
        refuse_negative(self, "rate", "momentum", "decay", "bias_rate", "scale", "clip", "pull")
        for field in ("beta2", "label_smoothing", "colour", "chain", "chain_new"):
            if not 0 <= getattr(self, field) < 1:
                raise Refused(f"recipe {self.name!r}: {field} is {getattr(self, field)!r}; write 0 or more, below 1")
        if self.optimiser == "adamw" and self.momentum >= 1:
            raise Refused(f"recipe {self.name!r}: momentum is {self.momentum!r}; with adamw it has to be below 1")
        for field in ("least_area", "held_out", "probe", "gradual"):
            if not 0 < getattr(self, field) < 1:
                raise Refused(f"recipe {self.name!r}: {field} is {getattr(self, field)!r}; write a share below 1")
        for field in ("batch", "rate", "crop", "validate_every", "shrink", "scale", "patience"):
            if getattr(self, field) <= 0:
                raise Refused(f"recipe {self.name!r}: {field} is {getattr(self, field)}; it has to be more than 0")
        if self.chain and self.chain_new >= self.chain:
            raise Refused(
                f"recipe {self.name!r}: chain_new is {self.chain_new!r}; it has to be below chain, {self.chain}"
            )
        if not 0 < self.chain_rate <= 1:
            raise Refused(f"recipe {self.name!r}: chain_rate is {self.chain_rate!r}; write a number above 0, up to 1")
        if not 1 <= self.fall < math.inf:
            raise Refused(f"recipe {self.name!r}: fall is {self.fall!r}; write a number from 1 up")
        choices = {
            "schedule": ("step", "cosine", "inverse"),
            "initialisation": ("paper", "variance-preserving"),
            "random_layers": ("", "paper", "variance-preserving"),
            "optimiser": ("sgd", "adamw"),
            "loss": LOSSES,
            "crops": ("square", "resized"),
            "class_weights": ("equal", "balanced"),
            "stop": ("", "inner"),
            "precision": ("float32", "bfloat16"),
            "frozen_norms": ("source", "target"),
            "frozen_dropout": ("active", "resting"),
        }
        for field, allowed in choices.items():
            if getattr(self, field) not in allowed:
                choice = " or ".join(word or "''" for word in allowed)
                raise Refused(f"recipe {self.name!r}: {field} is {getattr(self, field)!r}, not {choice}")
        for field, default in (("label_smoothing", 0.0), ("class_weights", "equal")):
            if self.loss != "softmax" and getattr(self, field) != default:
                raise Refused(f"recipe {self.name!r}: {field} goes with loss 'softmax', not {self.loss!r}")
        if self.schedule == "step" and self.drop_every <= 0:
            raise Refused(f"recipe {self.name!r}: schedule 'step' needs drop_every, in steps")

    def refuse_size(self, size: int, subject: str) -> None:
        """Refuses images of `size` pixels that cannot be shrunk and cropped as the recipe asks.

        subject: of the message, such as the name of the network.
        """
        if size % self.shrink:
            raise Refused(
                f"{subject}: images of {size} pixels do not shrink by {self.shrink}; pack them with "
                f"--size {self.shrink * -(-self.crop * 8 // 7)}"
            )
        if size // self.shrink < self.crop:
            raise Refused(
                f"{subject}: images of {size // self.shrink} pixels cannot be cropped to {self.crop}; pack them with "
                f"--size {self.crop * 8 // 7 * self.shrink} or so"
            )

    @property
    def validations(self) -> int:
        """How often a network is validated; the last time after the last step."""
        return -(-self.steps // self.validate_every)

    def rate_at(self, step: int) -> float:
        """The learning rate of the weights in step number `step`, from 0."""
        if self.schedule == "step":
            return self.rate * 0.1 ** (step // self.drop_every)
        if self.schedule == "inverse":
            return self.rate / (1 + 10 * step / max(1, self.steps)) ** 0.75
        if step < self.warmup:
            return self.rate * (step + 1) / self.warmup
        if not self.steps:
            return 0.0
        return self.rate * 0.5 * (1 + math.cos(math.pi * (step - self.warmup) / (self.steps - self.warmup)))


# Section 3 and the authors' solver definitions. Rate 0.01, divided by 10 every 100,000 of 450,000 iterations.
PAPER = Recipe(
    name="paper",
    steps=450_000,
    batch=256,
    rate=0.01,
    schedule="step",
    drop_every=100_000,
    crop=227,
    validate_every=1_000,
    scale=1.0,
    initialisation="paper",
)
# The reduced-data networks of the supplement, including the one with all 1,300 images per class.
PAPER_REDUCED = replace(PAPER, name="paper-reduced", steps=200_000, rate=0.0125, drop_every=64_000)


def long(recipe: Recipe) -> Recipe:
    """The control that separates length from restart: twice the steps, the schedule stretched to match."""
    return replace(
        recipe,
        name=f"{recipe.name}-long",
        steps=2 * recipe.steps,
        drop_every=2 * recipe.drop_every,
        warmup=2 * recipe.warmup,
    )
