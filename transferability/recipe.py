"""Recipes: everything that the optimiser sees. What changes a result and is not in a network's name is here."""

import math
from dataclasses import dataclass, replace

from transferability.files import Refused

# The paper's accuracy of a network is the mean of its ten highest validations (of 450). It is taken from 100
# validations on: the ten highest of few are most of them, or all, and the mean then means something else.
BEST_OF = 10
BEST_NEEDS = 100


@dataclass(frozen=True)
class Recipe:
    """How a network is trained. docs/study.md has these fields as a table (`tools/doc_tables.py`).

    name: a word for people; it changes no result.
    steps: steps of the optimiser.
    batch: images per step, over all processes.
    rate: learning rate of the weights.
    crop: side of the square that the network sees, in pixels; random in training, central in validation.
    validate_every: steps between two validations.
    schedule: "cosine": linear growth for `warmup` steps, then half a cosine to 0, with PyTorch's momentum; "step":
        divided by 10 every `drop_every` steps, with Caffe's momentum.
    drop_every: steps between two drops of the rate; needed by schedule "step".
    warmup: steps of linear growth of the rate, for schedule "cosine".
    momentum: momentum of SGD.
    decay: weight decay; biases have none.
    bias_rate: multiple of the rate for biases.
    shrink: whole factor by which the packed images are averaged down when they are loaded.
    mirror: mirror half of the training images, at random.
    scale: factor of the input: pixel (0 to 255) minus mean image.
    initialisation: "variance-preserving": He et al. 2015, std sqrt(2 / fan-in), biases 0, the last layer's std divided
        by 10; "paper": Gaussian weights and constant biases, as the architecture says.
    precision: "float32" or "bfloat16" (autocast).
    frozen_norms: whose statistics the batch norms of frozen layers have: the "source"'s, or the "target"'s, estimated
        once, before training, from the central crops of its training images, layer by layer, without labels.
    """

    name: str
    steps: int
    batch: int
    rate: float
    crop: int
    validate_every: int
    schedule: str = "cosine"
    drop_every: int = 0
    warmup: int = 0
    momentum: float = 0.9
    decay: float = 5e-4
    bias_rate: float = 2.0
    shrink: int = 1
    mirror: bool = True
    scale: float = 1 / 64
    initialisation: str = "variance-preserving"
    precision: str = "float32"
    frozen_norms: str = "source"

    def __post_init__(self) -> None:
        for field in ("steps", "batch", "crop", "validate_every", "drop_every", "warmup", "shrink"):
            if type(getattr(self, field)) is not int or getattr(self, field) < 0:
                raise Refused(f"recipe {self.name!r}: {field} is {getattr(self, field)!r}; write a whole number")
        for field in ("rate", "momentum", "decay", "bias_rate", "scale"):
            if not 0 <= getattr(self, field) < math.inf:
                raise Refused(f"recipe {self.name!r}: {field} is {getattr(self, field)!r}; write a number from 0 up")
        for field in ("steps", "batch", "rate", "crop", "validate_every", "shrink", "scale"):
            if getattr(self, field) <= 0:
                raise Refused(f"recipe {self.name!r}: {field} is {getattr(self, field)}; it has to be more than 0")
        choices = {
            "schedule": ("step", "cosine"),
            "initialisation": ("paper", "variance-preserving"),
            "precision": ("float32", "bfloat16"),
            "frozen_norms": ("source", "target"),
        }
        for field, allowed in choices.items():
            if getattr(self, field) not in allowed:
                raise Refused(f"recipe {self.name!r}: {field} is {getattr(self, field)!r}, not {' or '.join(allowed)}")
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
        if step < self.warmup:
            return self.rate * (step + 1) / self.warmup
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
