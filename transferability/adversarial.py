"""Domains made alike at layer n, by a domain classifier that the layers below learn to mislead: `A5B+@dann`.

Ganin and Lempitsky 2015, "Unsupervised domain adaptation by backpropagation" (the method, its rates and its weight);
Ajakan et al. 2016 (the same, at length). Labels come from A, and B's images have none.
"""

import math
from dataclasses import dataclass

from transferability.files import Refused
from transferability.recipe import Recipe, refuse_negative
from transferability.treatment import LayerPlan, Treatment

STARTS = ("base", "body", "fresh")


@dataclass(frozen=True)
class Adversarial(Recipe):
    """Gradient descent on the labels of A, and against a domain classifier on the features of layer n.

    Each step sees `batch` images of A with their labels and as many of B without. The domain classifier learns to tell
    A's features of layer n from B's; behind a gradient reversal the layers up to n learn the opposite. All layers are
    trained. B's images are seen minus the mean image of A, in training as when they are judged.

    start: where the layers start: all of them from the "base" of A; all but the last from it ("body", where A's base is
        published, for other classes); or all drawn afresh ("fresh"), which needs no base.
    hidden: units of the domain classifier's hidden layers, each with a ReLU. Its output is one number, its loss the
        logistic loss. (): a linear one.
    strength: the weight of the reversed gradient at the end of the course. 0: B's images are seen and not used.
    gamma: how fast the weight grows: strength x (2 / (1 + exp(-gamma x share of the course)) - 1), section 4.2.
    """

    start: str = "base"
    hidden: tuple[int, ...] = (100,)
    strength: float = 1.0
    gamma: float = 10.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.start not in STARTS:
            raise Refused(f"recipe {self.name!r}: start is {self.start!r}, not {', '.join(STARTS)}")
        refuse_negative(self, "strength", "gamma")
        object.__setattr__(self, "hidden", hidden_units(self, "hidden"))
        refuse_choice_by_labels(self)

    @property
    def needs_base(self) -> bool:
        """Whether weights of A's base are copied."""
        return self.start != "fresh"

    def layers(self, treatment: Treatment, depth: int) -> tuple[LayerPlan, ...]:
        """What each of `depth` layers starts from and how fast it learns, whatever n is."""
        copied = {"base": depth, "body": depth - 1, "fresh": 0}[self.start]
        return (LayerPlan("copied", 1.0),) * copied + (LayerPlan("fresh", 1.0),) * (depth - copied)

    def weight_at(self, step: int) -> float:
        """The weight of the reversed gradient in step number `step`, from 0."""
        return self.strength * (2 / (1 + math.exp(-self.gamma * step / self.steps)) - 1)


def hidden_units(recipe: Recipe, field: str) -> tuple[int, ...]:
    """The units of hidden layers, as a tuple. Refused: what is no tuple of whole numbers from 1 up."""
    hidden = getattr(recipe, field)
    if not isinstance(hidden, (tuple, list)) or not all(type(units) is int and units > 0 for units in hidden):
        raise Refused(f"recipe {recipe.name!r}: {field} is {hidden!r}; write the units of each hidden layer, as (100,)")
    return tuple(hidden)


def refuse_choice_by_labels(recipe: Recipe) -> None:
    """Refuses what would choose a network, or weigh images, by labels that the method has not."""
    if recipe.stop:
        raise Refused(f"recipe {recipe.name!r}: stop='inner' is for networks that see their target's labels")
    if recipe.loss != "softmax":
        raise Refused(f"recipe {recipe.name!r}: loss is {recipe.loss!r}; without the target's labels it is 'softmax'")
