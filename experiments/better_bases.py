"""Do better source networks transfer better? Bases of three widths and two lengths, on Tiny ImageNet.

    transferability pack tiny-imagenet-200.zip data/tiny-imagenet
    transferability run experiments/better_bases.py
    python plots/backbones.py runs/better_bases-*/results.csv

After Kornblith, Shlens and Le 2019, with sources whose accuracy is measured here: the network of `tiny_imagenet_cpu.py`
at an eighth, a quarter and three eighths of the width, trained for 300 and for 1,200 steps: six sources. The target is
the other half, three seeds, 20 and 200 images per class, drawn by the seed: from scratch, the features of seven layers
under a new last one, and all fine-tuned.

Cost: 126 networks, about two minutes on a GPU.

Expect: the features of the six sources rank as the sources do, fine-tuned networks but for a pair of neighbours; the
length of the source's training decides more than its width. All accuracies are low, 2 to 14 %.
"""

from dataclasses import replace

import tiny_imagenet_cpu
from regimes import short

from transferability.networks import small_caffenet
from transferability.study import Network, Study
from transferability.treatment import parse

SPLIT = "random-0"
STEPS = {20: 150, 200: 400}  # by images per class
WIDTHS = {"eighth": 0.125, "quarter": 0.25, "wide": 0.375}
LENGTHS = {"brief": 300, "long": 1200}  # steps of the source


def study(width: str, length: str) -> Study:
    steps = LENGTHS[length]
    source = replace(tiny_imagenet_cpu.recipe, name=f"source-{length}", steps=steps, validate_every=steps)
    networks = []
    for seed in (0, 1, 2):
        networks.append(Network(SPLIT, parse("baseA"), source, seed))
        for images, target_steps in STEPS.items():
            recipe = short(tiny_imagenet_cpu.recipe, target_steps, images)
            networks += [
                Network(SPLIT, parse(name), recipe, seed, images, drawn=True) for name in ("baseB", "A7B", "A7B+")
            ]
    architecture = small_caffenet(crop=28, width=WIDTHS[width], dropout=0.1)
    return Study(f"better_bases-{width}-{length}", "tiny-imagenet", architecture, tuple(networks))


studies = [study(width, length) for width in WIDTHS for length in LENGTHS]
