"""The 170 networks of the paper, and no others.

    transferability pack /path/to/ILSVRC2012 data/ilsvrc2012
    transferability submit experiments/yosinski2014.py          # SLURM; or `transferability run` on a workstation
    python plots/figure2.py runs/yosinski2014/results.csv --paper

Cost: about 91 base trainings with shared prefixes (a base sees 115 million images). `transferability plan
experiments/yosinski2014.py` estimates the hours; the authors' networks took 9.5 days each on a K20.

  10 bases: random-0 … random-3 and manmade-natural, both halves
  28 BnB: random splits, target A            56 AnB: random splits, both directions
  14 BnB+: random-0 and -1, target A         28 AnB+: random-0 and -1, both directions
  14 AnB: manmade-natural, both directions
   1 base, 7 with random features, on all 1,000 classes
  12 bases with 1 … 1,300 images per class

Paper: docs/paper.md lists what is done differently. Expect the paper's accuracies within half a point, but not its
claim about fine-tuning: see "What the published numbers cannot show" there.
"""

from transferability.networks import caffenet
from transferability.recipe import PAPER, PAPER_REDUCED
from transferability.study import Study, grid, network

RANDOM_SPLITS = ["random-0", "random-1", "random-2", "random-3"]
architecture = caffenet()
depth = architecture.depth

networks = [
    *grid(PAPER, depth, [*RANDOM_SPLITS, "manmade-natural"], kinds=("base", "AnB")),
    *grid(PAPER, depth, RANDOM_SPLITS, targets="A", kinds=("BnB",)),
    *grid(PAPER, depth, RANDOM_SPLITS[:2], targets="A", kinds=("BnB+",)),
    *grid(PAPER, depth, RANDOM_SPLITS[:2], kinds=("AnB+",)),
    *grid(PAPER, depth, ["whole"], kinds=("base", "RnB")),
    *[
        network(f"whole/baseW@{images}", PAPER_REDUCED)
        for images in (1, 2, 5, 10, 25, 50, 100, 250, 500, 750, 1000, 1300)
    ],
]

study = Study(name="yosinski2014", data="ilsvrc2012", architecture=architecture, networks=tuple(networks))
