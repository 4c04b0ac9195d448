"""The grid that the paper left unfinished: enough networks to decide what the published ones cannot.

    transferability submit experiments/yosinski2014_complete.py

- every split, both directions, all four treatments at every n: each network is paired with the base of its own target
- random features on the halves, with the paper's initialiser (whose signal vanishes after three layers) and with a
  variance-preserving one
- controls for training twice (B8B+, and BnB+ at every n) and for longer training (a base with twice the steps)
- on the random splits, the authors' unpublished experiment that preserves one or two more layers

Cost: 658 networks per seed, about four times `yosinski2014.py`. SEEDS lists the repetitions; with seed 0 alone the
four random splits are four units, enough for an interval.
"""

from dataclasses import replace

from transferability.networks import caffenet
from transferability.recipe import PAPER, long
from transferability.study import Network, Study, grid, network

SEEDS = (0,)
RANDOM_SPLITS = ["random-0", "random-1", "random-2", "random-3"]
architecture = caffenet()


def complete(seeds: tuple[int, ...]) -> tuple[Network, ...]:
    splits, depth = [*RANDOM_SPLITS, "manmade-natural"], architecture.depth
    kinds = ("base", "BnB", "BnB+", "AnB", "AnB+", "RnB", "B8B+")
    networks = grid(PAPER, depth, splits, seeds, kinds=kinds)
    preserving = replace(PAPER, name="paper-variance-preserving", initialisation="variance-preserving")
    for random in grid(preserving, depth, splits, seeds, kinds=("RnB",)):
        networks.append(replace(random, variant="variance-preserving"))
    for base in grid(long(PAPER), depth, splits, seeds, kinds=("base",)):
        networks.append(replace(base, variant="long"))
    for split in RANDOM_SPLITS:
        for seed in seeds:
            for source in "AB":
                for target in "AB":
                    for preserved in (1, 2):
                        networks += [
                            network(f"{split}/{source}{n}{target}p{preserved}/seed-{seed}", PAPER)
                            for n in range(1, depth - preserved + 1)
                        ]
    return tuple(networks)


study = Study(name="yosinski2014_complete", data="ilsvrc2012", architecture=architecture, networks=complete(SEEDS))
