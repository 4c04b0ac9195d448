"""How much of the loss at layer n is the features', how much the optimiser's? Readouts beside the retrained networks.

    transferability run experiments/tiny_imagenet_cpu.py
    transferability run experiments/tiny_imagenet_cpu_readouts.py
    python plots/readout_against_retraining.py runs/tiny_imagenet_cpu/results.csv

The study of experiments/tiny_imagenet_cpu.py, in the same folder of runs, and for each frozen network a softmax on its
layer n: A3B@softmax beside A3B, B3B@softmax beside B3B. B{n}B@tuned reads layer n of the fine-tuned A4B+.

Cost: that of experiments/tiny_imagenet_cpu.py, and about half an hour for 301 readouts on two cores, estimated.

Expect: of the lower layers a linear classifier makes less than the trained rest; towards the top the difference closes.
"""

from dataclasses import replace

from tiny_imagenet_cpu import architecture, recipe
from tiny_imagenet_cpu import study as retrained

from transferability.readout import Readout
from transferability.study import grid, network

softmax = Readout("softmax", crop=recipe.crop, shrink=recipe.shrink, classifier="softmax", folds=3)
tuned = replace(softmax, of="A4B+")
UNITS = [(f"random-{split}", 0) for split in range(4)] + [("manmade-natural", seed) for seed in range(3)]
readouts = [
    replace(member, variant="softmax")
    for split, seed in UNITS
    for member in grid(softmax, architecture.depth, [split], (seed,), kinds=("BnB", "AnB", "RnB"))
]
finetuned = [network(f"random-0/B{n}B@tuned", tuned) for n in range(1, architecture.depth)]
study = replace(retrained, networks=(*retrained.networks, *readouts, *finetuned))
