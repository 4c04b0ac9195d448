"""All rules for copied layers on the demo pictures: freeze, fine-tune, thaw.

    transferability pack demo data/demo
    transferability run experiments/rules.py
    python plots/rules.py runs/rules/results.csv
    python plots/three_benefits.py runs/rules/curves.csv

Three random splits, both directions, n = 2, 4 and 6: transfer networks under every rule of the grammar (frozen, at the
full rate, at a tenth, probe, chain, gradual, fall, sp), and the bases. One pass over the pictures serves all 24 of a
target. docs/rules.md has the rules, their sources, and what came of it.

Cost: 150 networks, about ten minutes on two cores.

Expect every rule that trains the copied layers to pass the base within a few hundred steps, chain-thaw excepted, whose
phases are too short here; and none to be above plain fine-tuning.
"""

from dataclasses import replace

import demo

from transferability.study import Study, grid

recipe = replace(demo.recipe, name="rules", validate_every=40, validate_start=True)
RULES = ("AnB", "AnB+", "AnB+0.1", "AnB+probe", "AnB+chain", "AnB+gradual", "AnB+fall", "AnB+sp")
splits = ("random-0", "random-1", "random-2")

study = Study(
    "rules",
    "demo",
    demo.architecture,
    tuple(grid(recipe, demo.architecture.depth, splits, kinds=("base", *RULES), cuts=(2, 4, 6))),
)
