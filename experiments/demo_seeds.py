"""The demo study with seeds 1 to 3, none of which was used for tuning: three units for each interval.

    transferability pack demo data/demo
    transferability run experiments/demo_seeds.py

Cost: 444 networks, about a quarter of an hour on two cores. Expect the numbers of docs/results.md, within their
intervals.
"""

from demo import architecture, demo

from transferability.study import Study

study = Study(name="demo_seeds", data="demo", architecture=architecture, networks=demo(seeds=(1, 2, 3)))
