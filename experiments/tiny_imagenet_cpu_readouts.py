"""How much of the loss at layer n is the features', how much the optimiser's? Readouts beside the retrained networks.

    transferability run experiments/tiny_imagenet_cpu.py --keep random-0/A4B+
    transferability run experiments/tiny_imagenet_cpu_readouts.py
    python plots/readout_against_retraining.py runs/tiny_imagenet_cpu/results.csv

The study of experiments/tiny_imagenet_cpu.py, in the same folder of runs, and for target B of three random splits a
softmax on layer n of the frozen networks: A3B@softmax beside A3B, B3B@softmax beside B3B. Maps are averaged to 2 x 2
places: 20,000 images with 4,000 numbers each would be fitted to for many minutes. A6B@resting and A7B@resting are A6B
and A7B without the dropout of their frozen layers, which a readout has not either; below fc6 there is none. B{n}B@tuned
reads layer n of the fine-tuned A4B+ of random-0, whose weights have to be kept. Where they were not:
`mv runs/tiny_imagenet_cpu/random-0/A4B+ elsewhere`, and it is trained again, to the same bits.

Cost: beside that of experiments/tiny_imagenet_cpu.py, a quarter of an hour for 49 readouts and 6 networks on two cores;
features take 1.2 GB.

Expect: of layer 1 a linear classifier makes three points less than the trained rest; from layer 2 on the difference is
a point and a half or less.
"""

from dataclasses import replace

from tiny_imagenet_cpu import architecture, recipe
from tiny_imagenet_cpu import study as retrained

from transferability.readout import Readout
from transferability.study import grid, network

SPLITS = ["random-0", "random-1", "random-2"]
softmax = Readout(
    "softmax",
    crop=recipe.crop,
    shrink=recipe.shrink,
    classifier="softmax",
    penalties=(0.1, 1, 10),
    folds=3,
    pooling=2,
)
resting = replace(recipe, name="tiny-imagenet-cpu-resting", frozen_dropout="resting")
readouts = [
    replace(member, variant="softmax")
    for member in grid(softmax, architecture.depth, SPLITS, targets="B", kinds=("BnB", "AnB"))
]
rested = [
    replace(member, variant="resting")
    for member in grid(resting, architecture.depth, SPLITS, targets="B", kinds=("AnB",), cuts=(6, 7))
]
tuned = replace(softmax, of="A4B+")
finetuned = [network(f"random-0/B{n}B@tuned", tuned) for n in range(1, architecture.depth)]
study = replace(retrained, networks=(*retrained.networks, *readouts, *rested, *finetuned))
