"""Layers up to n that learn to be taken for the source's, under a classifier that stays: `A5B+@adda`.

Tzeng et al. 2017, "Adversarial discriminative domain adaptation". Its first phase is the training of A's base, here
a network of its own, and its second is this recipe.
"""

from dataclasses import dataclass

from transferability.adversarial import hidden_units, refuse_choice_by_labels
from transferability.recipe import Recipe
from transferability.treatment import LayerPlan, Treatment


@dataclass(frozen=True)
class Adda(Recipe):
    """The second phase of ADDA: the first n layers are a copy of the source's that sees B, those above do not change.

    Each step sees `batch` images of A, which go through the source's own first n layers, and as many of B, which go
    through the copy. A domain classifier learns to tell the features, and the copy learns with inverted labels, as the
    generator of a GAN (section 4). No label is read: neither B's, nor, in this phase, A's. In one step both take one
    step, from the same weights.

    # Paper: Adam. Here `optimiser` says; "adamw" with decay=0 is Adam.

    hidden: units of the domain classifier's hidden layers, each with a ReLU (the paper's digits: two of 500).
    """

    hidden: tuple[int, ...] = (500, 500)

    needs_base = True

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "hidden", hidden_units(self, "hidden"))
        refuse_choice_by_labels(self)

    def layers(self, treatment: Treatment, depth: int) -> tuple[LayerPlan, ...]:
        """What each of `depth` layers starts from and how fast it learns: the classifier is frozen."""
        copied = treatment.n
        return (LayerPlan("copied", 1.0),) * copied + (LayerPlan("copied", 0.0),) * (depth - copied)
