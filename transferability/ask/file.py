"""The experiment file that `ask` writes: a study like any other, to which a larger budget adds networks."""

import dataclasses
import runpy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from transferability.files import Refused, write_atomically
from transferability.published import Published
from transferability.study import Study, load_studies

SPLIT = "published-pictures"
LINEAR = "linear"  # the variant of the readouts
VALIDATION = 0.25  # of each class of a pool: the pictures that judge
HELD_OUT = 0.2  # of its training pictures: those that choose among what is trained

TEMPLATE = '''"""How many layers of {names} serve the pictures of {pictures}? Written by `ask`, which adds to it.

    transferability ask {pictures} --minutes MORE
    transferability run {file}

Cost: {count} networks; `transferability plan {file} --measure` says what they take on your machine.

A is what the network was trained on, published, and B are the pictures. A readout is a linear classifier on the
features of layer n; AnB keeps the first n layers frozen and trains the rest, AnB+ trains all, AnB+0.1 the copied ones
at a tenth of the rate, baseB starts from scratch; `@k` is k pictures per class. The seed draws which pictures judge.
What is chosen, is chosen on the training pictures alone: on inner folds, or on a share that is held out (`stop`).
"""

from transferability.networks.cut import chain
from transferability.published import Published
from transferability.readout import Readout
from transferability.recipe import Recipe
from transferability.splits import pair
from transferability.study import Network, Study, network
from transferability.treatment import parse

PICTURES = {pictures!r}
DATA = {data!r}  # side in pixels of what the networks see: what `transferability pack` made of the pictures
CROP = {crop}  # of networks that are trained
STEPS, BATCH, FOLDS = {steps}, {batch}, {folds}
NUMBERS = {numbers}  # of each picture, averages of a layer's map, for linear classifiers: so many, or one per channel
VALIDATION = {validation!r}
FIRST_SEED = {first_seed}
SPLIT = {split!r}

# AdamW, since by SGD new layers on a network without norms hardly leave chance in so few steps.
recipe = Recipe(
    "asked", STEPS, BATCH, rate=0.001, optimiser="adamw", decay=0.01, warmup=STEPS // 10, crop=CROP, stop="inner",
    patience=4, held_out={held_out}, validate_every=max(1, STEPS // 8),
)  # fmt: skip

# Of each study: the network, where its weights are, the side in pixels, and name → seeds of what is trained.
ASKED = {{
{entries}}}


def drawn(seeds):
    return range(FIRST_SEED, FIRST_SEED + seeds)


def asked(name, network_name, published, crop, readouts, trained):
    networks = [Network(SPLIT, parse("baseA"), published)]
    linear = Readout(
        "asked-linear", crop, "softmax", penalties=(1, 10, 100, 1000), folds=FOLDS, pooling=f"square-{{NUMBERS}}",
        tokens="both",
    )  # fmt: skip
    for short, seeds in readouts.items():
        networks += [network(f"{{SPLIT}}/{{short}}/seed-{{seed}}", linear, {linear!r}) for seed in drawn(seeds)]
    for short, seeds in trained.items():
        networks += [network(f"{{SPLIT}}/{{short}}/seed-{{seed}}", recipe) for seed in drawn(seeds)]
    splits = {{SPLIT: pair("published", DATA[crop])}}
    return Study(name, DATA[crop], chain(network_name, crop), tuple(networks), splits, validation=VALIDATION)


studies = [asked(name, *what) for name, what in ASKED.items()]
'''

ENTRY = """    {name!r}: (
        {network!r},
        {published},
        {crop},
        {{{readouts}}},
        {{{trained}}},
    ),
"""


@dataclass(frozen=True)
class Source:
    """A network whose layers are asked about. crop: side in pixels of what it sees. readouts, trained: short name →
    seeds, as in the file."""

    study: str
    network: str
    published: Published
    crop: int
    readouts: Mapping[str, int] = field(default_factory=dict)
    trained: Mapping[str, int] = field(default_factory=dict)

    def more(self, readouts: Mapping[str, int] = {}, trained: Mapping[str, int] = {}) -> "Source":
        """With further networks, or more seeds of those that are there; never with fewer."""
        return replace(self, readouts=_most(self.readouts, readouts), trained=_most(self.trained, trained))


def _most(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {name: max(one.get(name, 0), other.get(name, 0)) for name in [*one, *(n for n in other if n not in one)]}


@dataclass(frozen=True)
class Asked:
    """What the file says. pictures: the source, as it was given. data: side of what the networks see → name of the
    packed set. crop: of networks that are trained; on larger pictures there are linear classifiers alone. numbers: of
    each picture, at most, that linear classifiers see, or one per channel. validation: None where the pictures have a
    part that judges."""

    pictures: str
    data: Mapping[int, str]
    crop: int
    steps: int
    batch: int
    folds: int
    numbers: int
    validation: float | None
    sources: tuple[Source, ...]
    first_seed: int = 0

    @property
    def larger(self) -> int:
        """The side that linear classifiers alone see, in pixels; 0: there is none."""
        return max(self.data) if len(self.data) > 1 else 0

    def with_source(self, source: Source) -> "Asked":
        return replace(self, sources=tuple(source if s.study == source.study else s for s in self.sources))

    def text(self, file: Path) -> str:
        """The experiment file."""
        entries = "".join(
            ENTRY.format(
                name=source.study,
                network=source.network,
                published=_published(source.published),
                crop=source.crop,
                readouts=_counts(source.readouts),
                trained=_counts(source.trained),
            )
            for source in self.sources
        )
        count = sum(1 + sum(s.readouts.values()) + sum(s.trained.values()) for s in self.sources)
        return TEMPLATE.format(
            names=" and ".join(dict.fromkeys(source.network for source in self.sources)),
            pictures=self.pictures,
            file=file,
            count=count,
            data=dict(self.data),
            crop=self.crop,
            steps=self.steps,
            batch=self.batch,
            folds=self.folds,
            numbers=self.numbers,
            validation=self.validation,
            first_seed=self.first_seed,
            split=SPLIT,
            held_out=HELD_OUT,
            linear=LINEAR,
            entries=entries,
        )


def _counts(seeds: Mapping[str, int]) -> str:
    return ", ".join(f'"{name}": {count}' for name, count in seeds.items())


def _published(published: Published) -> str:
    """The call that makes it, without fields at their default."""
    fields = dataclasses.fields(published)
    shown = [f for f in fields if f.default is dataclasses.MISSING or getattr(published, f.name) != f.default]
    return f"Published({', '.join(f'{f.name}={getattr(published, f.name)!r}' for f in shown)})"


def write(file: Path, asked: Asked) -> tuple[Study, ...]:
    """Writes the file, and returns its studies."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with write_atomically(file, "w") as handle:
        handle.write(asked.text(file))
    return load_studies(file)


def read(file: Path) -> Asked | None:
    """What an earlier `ask` wrote; None if there is no such file. Refused if it is none of `ask`'s."""
    if not file.exists():
        return None
    load_studies(file)  # refused in words
    content: dict[str, Any] = runpy.run_path(str(file))
    try:
        sources = tuple(Source(name, *what) for name, what in content["ASKED"].items())
        names = ("pictures", "data", "crop", "steps", "batch", "folds", "numbers", "validation", "first_seed")
        fields = {name: content[name.upper()] for name in names} | {"data": dict(content["DATA"])}
        return Asked(**fields, sources=sources)
    except (KeyError, TypeError, ValueError):
        raise Refused(
            f"{file} was not written by this version of `transferability ask`; give --name NAME, or move it and its "
            "studies' folders in runs/"
        ) from None
