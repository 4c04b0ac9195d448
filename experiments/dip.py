"""Where is the dip? The paper's fragile co-adaptation, BnB below its base at n = 4, 5: one change at a time.

    transferability pack tiny-imagenet-200.zip data/tiny-imagenet
    transferability run experiments/dip.py
    python plots/paired.py runs/dip-converged/results.csv

Eight studies on Tiny ImageNet at 32 pixels, split random-0, target B, two seeds: base, BnB at every n, and the control
B8B+ (all layers copied and trained once more). `dip-plain` is the recipe of `tiny_imagenet_cpu.py`; each of the others
changes one thing of it:

    dip-converged   four times the steps, the rate decayed to zero over them
    dip-unregular   no dropout and no weight decay
    dip-filler      the paper's initialiser, its rate, and inputs of 0 to 255, for which it was made
    dip-deeper      three more convolutions
    dip-wider       four times the channels and hidden units
    dip-classes     all 200 classes (split whole)
    dip-all         converged, no dropout, no decay, and deeper at once

Cost: 156 networks, 22 minutes on an H100 that had other work too; dip-converged and dip-all are four times the steps of
the others.

Expect BnB below its base in dip-converged, lowest at n = 4, and in dip-all from n = 3 on, both with a *lower* training
loss than the base's; no dip in the others; and no learning at all in dip-filler. docs/dip.md has the table.
"""

from dataclasses import replace

from tiny_imagenet_cpu import architecture, recipe

from transferability.networks import small_caffenet
from transferability.networks.caffenet import Architecture, Conv
from transferability.recipe import Recipe
from transferability.study import Study, grid

KINDS = ("base", "BnB", "B8B+")


def study(word: str, recipe: Recipe, architecture: Architecture = architecture, split: str = "random-0") -> Study:
    recipe = replace(recipe, name=f"dip-{word}")
    networks = grid(recipe, architecture.depth, [split], (0, 1), targets="B", kinds=KINDS)
    return Study(f"dip-{word}", "tiny-imagenet", architecture, tuple(networks))


def deeper(architecture: Architecture) -> Architecture:
    """With three more convolutions behind conv3, each of conv3's channels."""
    layers = list(architecture.layers)
    conv3 = dict(layers)["conv3"]
    assert isinstance(conv3, Conv)
    layers[3:3] = [(f"conv3{letter}", Conv(conv3.channels, 3, pad=1)) for letter in "abc"]
    return Architecture(f"{architecture.name}-deeper", architecture.crop, tuple(layers))


converged = replace(recipe, steps=4 * recipe.steps, validate_every=4 * recipe.validate_every)
undropped = small_caffenet(crop=28, width=0.25, dropout=0.0)
studies = [
    study("plain", recipe),
    study("converged", converged),
    study("unregular", replace(recipe, decay=0.0), undropped),
    study("filler", replace(recipe, initialisation="paper", scale=1.0, rate=0.01)),
    study("deeper", recipe, deeper(architecture)),
    study("wider", recipe, small_caffenet(crop=28, width=1.0, dropout=0.1)),
    study("classes", recipe, split="whole"),
    study("all", replace(converged, decay=0.0), deeper(undropped)),
]
