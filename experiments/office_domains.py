"""Office-Caltech: ten classes in four domains, from published weights, and which layers reach across.

    transferability pack office-caltech10 data/office-caltech --size 96 --centre-crop      # one folder per domain
    transferability run experiments/office_domains.py
    python plots/domains.py runs/office_domains/results.csv

Twelve pairs of the domains amazon, caltech10, dslr, webcam. Both bases are SqueezeNet as published: nothing is trained
but a classifier of A's labels on the features of layer n, in A's subspace for both domains (@unaligned) or with the
subspaces aligned (@aligned). A file data/weights/squeezenet1_0.safetensors, or, where there is internet,
`Published("torchvision:SqueezeNet1_0_Weights.IMAGENET1K_V1")`. The set is a pool: half of each class judges.

Published without adaptation, mean over the 12 pairs, of larger images: handmade SURF features 27.7 %, CaffeNet 75.4,
GoogLeNet 86.6. Aligned subspaces are Fernando et al. 2013.

Cost: 12 x 24 classifiers, about 3 minutes on two busy cores (3 minutes of processor time).

Expect: A's subspace for both 41 % at n = 3 and 69 at n = 9, aligned four to nine points below it.
"""

import itertools
from dataclasses import replace

from transferability.aligned import Aligned
from transferability.networks.cut import chain
from transferability.published import Published
from transferability.splits import domains
from transferability.study import Network, Study, grid
from transferability.treatment import parse

DOMAINS = ("amazon", "caltech10", "dslr", "webcam")
SPLITS = {f"{a}-{b}": domains(a, b) for a, b in itertools.combinations(DOMAINS, 2)}
architecture = chain("torchvision:squeezenet1_0", 84)
published = Published("data/weights/squeezenet1_0.safetensors", mean=(123, 117, 104), std=(1, 1, 1))
aligned = Aligned("aligned", crop=84)
unaligned = replace(aligned, name="unaligned", subspace="source")
CUTS = (3, 5, 7, 9)

networks: list[Network] = []
for split in SPLITS:
    networks += [Network(split, parse(base), published) for base in ("baseA", "baseB")]
    for how in (aligned, unaligned):
        classifiers = grid(how, architecture.depth, [split], (0, 1, 2), kinds=("AnB",), cuts=CUTS)
        networks += [replace(network, variant=how.name) for network in classifiers]

study = Study("office_domains", "office-caltech", architecture, tuple(networks), SPLITS, validation=0.5)
