"""Is layer n of a base without labels as good as that of a base with labels? Tiny ImageNet at 32 pixels.

    transferability pack tiny-imagenet-200.zip data/tiny-imagenet
    transferability run experiments/pretext.py
    python plots/pretext.py runs/pretext/results.csv

Four sources for the first n layers, frozen: the base of A's labels; bases of A's images without labels, which say how
far an image was turned (`rotation`), or which of 1,000 images a changed crop is from (`exemplar`); and random weights.
The rest is trained on B. Split random-0, three seeds, n = 1, 3, 5, 7. All bases take as many steps of as many images.

Cost: 60 networks, about ten minutes on two cores.

Expect labels to be ahead, the more the higher n is, and exemplars to stay within two points of them. Rotation is not
what one would expect: as briefly trained as here, it is no better than random weights at n = 3, and worse from n = 5 on
(docs/pretext.md).
"""

from dataclasses import replace

import tiny_imagenet_cpu

from transferability.pretext import Pretext
from transferability.study import Network, Study, grid, network

architecture = tiny_imagenet_cpu.architecture
recipe = replace(tiny_imagenet_cpu.recipe, name="pretext", steps=1200, warmup=100, validate_every=300)
SPLIT, SEEDS, CUTS = "random-0", (0, 1, 2), (1, 3, 5, 7)
# Paper: RotNet's crops are not resized. Nor here; what tells an exemplar from others has to survive a resized crop.
SURROGATES = {
    "rotation": Pretext(**{**vars(recipe), "name": "rotation"}),
    "exemplar": Pretext(
        **{**vars(recipe), "name": "exemplar", "crops": "resized", "least_area": 0.3, "colour": 0.4},
        surrogate="exemplar",
        exemplars=1000,
    ),
}


def without_labels(word: str) -> list[Network]:
    """The base of A's images, and what copies from it."""
    bases = [network(f"{SPLIT}/baseA@{word}/seed-{seed}", SURROGATES[word]) for seed in SEEDS]
    copies = grid(recipe, architecture.depth, [SPLIT], SEEDS, "B", ("AnB",), CUTS)
    return [*bases, *(replace(copy, variant=word, source_variant=word) for copy in copies)]


study = Study(
    name="pretext",
    data="tiny-imagenet",
    architecture=architecture,
    networks=(
        *grid(recipe, architecture.depth, [SPLIT], SEEDS, "AB", ("base",)),
        *grid(recipe, architecture.depth, [SPLIT], SEEDS, "B", ("AnB", "RnB"), CUTS),
        *(chosen for word in SURROGATES for chosen in without_labels(word)),
    ),
)
