"""Studies: which networks are trained, on what they depend, in which order, and in which fleets."""

import dataclasses
import difflib
import fnmatch
import itertools
import re
import runpy
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from transferability import treatment as treatments
from transferability.adda import Adda
from transferability.adversarial import Adversarial
from transferability.aligned import Aligned
from transferability.files import Refused
from transferability.jointly_translated import JointlyTranslated
from transferability.multitask import LabelHeads, Multitask
from transferability.networks.caffenet import Architecture, Conv, Linear, shapes
from transferability.networks.chain import Chain
from transferability.pretext import Pretext
from transferability.published import Published
from transferability.readout import Readout
from transferability.recipe import Recipe
from transferability.splits import Part, check_own_splits, have_same_classes, split_tasks
from transferability.translated import Translated
from transferability.treatment import LayerPlan, Treatment
from transferability.zero_shot import ZeroShot

RECORD_FORMAT = 1
# How initial weights are drawn from an address. Records without it: from a generator that took 32 of its 64 bits.
DRAWS = "philox"


@dataclass(frozen=True)
class Network:
    """One trained network.

    split: how the classes are divided into tasks: `random-0`, `manmade-natural`, `whole`.
    treatment: what is copied, frozen and trained: `baseB`, `A3B+`.
    recipe: how it is trained; or, of a base, where it is published; or what is fitted to its frozen layers' features.
    seed: seed of all its random draws.
    images_per_class: trained on the first so many images of each class, in the packed order; None: on all.
    variant: a word for networks that differ only in their recipe or their source, as in `baseB@long`.
    drawn: images per class are drawn by the seed, the fewer among the more, in place of the first ones. In a pool they
        always are.
    source_seed: seed of the base that it copies from; None: its own. A study sets it where the base is published.
    source_variant: variant of the base that it copies from, such as one that was trained without labels.
    """

    split: str
    treatment: Treatment
    recipe: Recipe | Published | Readout
    seed: int = 0
    images_per_class: int | None = None
    variant: str = ""
    drawn: bool = False
    source_seed: int | None = None
    source_variant: str = ""

    @property
    def short_name(self) -> str:
        """Name within split and seed: `A3B+`, `A3B+@250`, `baseB@long`."""
        return _short_name(self.treatment, self.images_per_class, self.variant)

    @property
    def letters(self) -> str:
        """The short name in the paper's letters: `AnB+`, `AnB+@250`, `base@long`."""
        return treatments.in_letters(self.short_name)

    @cached_property
    def name(self) -> str:
        """Full name: `random-0/A3B+/seed-0`."""
        return f"{self.split}/{self.short_name}/seed-{self.seed}"

    def is_like(self, pattern: str) -> bool:
        """Whether a shell pattern matches the full name, or its beginning: `random-0/A*B` is any seed."""
        return any(fnmatch.fnmatchcase(name, pattern) for name in (self.name, self.name.rpartition("/")[0]))

    @property
    def training_recipe(self) -> Recipe:
        """The recipe of a network that is trained here: a published base has none; of a readout, how images are
        prepared."""
        if isinstance(self.recipe, Readout):
            return self.recipe.inputs
        assert isinstance(self.recipe, Recipe), self.name
        return self.recipe

    @property
    def aligns_domains(self) -> bool:
        """Whether it is trained on images of both tasks, and no labels of its target: another domain, same classes."""
        return isinstance(self.recipe, (Adversarial, Adda, Aligned, Translated))

    @property
    def shares_layers(self) -> bool:
        """Whether it is trained together with the network of the other task, on labelled images of both."""
        return isinstance(self.recipe, Multitask)

    @property
    def is_zero_shot(self) -> bool:
        """Whether the classes that judge it have no training images."""
        return isinstance(self.recipe, ZeroShot)

    @property
    def labelled(self) -> str:
        """The task whose labelled images are its own: the target; the source, where the target's are not seen."""
        return self.treatment.source if self.aligns_domains or self.is_zero_shot else self.treatment.target

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks whose images it is trained on or judged on."""
        if self.shares_layers:
            return tuple(sorted((self.treatment.source, self.treatment.target)))
        return tuple(dict.fromkeys((self.treatment.target, self.labelled)))

    @property
    def mean_of(self) -> str:
        """The task whose mean image is subtracted."""
        return self.treatment.target if self.shares_layers else self.treatment.mean_of

    @property
    def is_classifier(self) -> bool:
        """Whether it ends in something else than the network's own last layer, which no file of weights holds."""
        return isinstance(self.recipe, (Readout, Aligned, LabelHeads, ZeroShot))

    def layers(self, depth: int) -> tuple[LayerPlan, ...]:
        """What each of `depth` layers starts from, and how fast it learns: as its method says, or its treatment."""
        if isinstance(self.recipe, (Adversarial, Adda, LabelHeads, Multitask, ZeroShot)):
            return self.recipe.layers(self.treatment, depth)
        return self.treatment.layers(depth)

    def outputs(self, classes: int) -> int:
        """How many outputs it has. classes: of its target."""
        return self.recipe.outputs if isinstance(self.recipe, Pretext) else classes

    def check(self, depth: int, outputs: Mapping[str, int], same_classes: bool) -> None:
        """Refuses what cannot be built. outputs: of each task's base. same_classes: A and B have the same."""
        if isinstance(self.recipe, (LabelHeads, Multitask)):
            self.recipe.check(self.treatment, depth, outputs)
            return
        trains, copies = not isinstance(self.recipe, (Readout, ZeroShot)), not isinstance(self.recipe, Translated)
        self.treatment.check(depth, dict(outputs), trains, same_classes, copies)
        if isinstance(self.recipe, ZeroShot):
            self.recipe.check(self.treatment)

    @property
    def stage(self) -> int:
        """0 for bases, 1 for what copies from them or has random features, 2 for readouts of such networks."""
        if isinstance(self.recipe, Readout) and self.recipe.of:
            return 2
        return 0 if self.treatment.kind == "base" else 1

    @cached_property
    def source_name(self) -> str | None:
        """Full name of the base that this network copies from; None for bases, random and handmade features.

        A selffer copies from the base that saw the same images; a transfer from the base of the other task,
        trained on all of its images. Source W is the base of all classes, whatever the split. A readout may read
        another network of its split and seed (`Readout.of`).
        """
        if self.treatment.kind in ("base", "random") or not self.treatment.n:
            return None
        if isinstance(self.recipe, (Adversarial, Adda, LabelHeads, Multitask)) and not self.recipe.needs_base:
            return None
        if isinstance(self.recipe, Readout) and self.recipe.of:
            return f"{self.split}/{self.recipe.of}/seed-{self.seed}"
        images = self.images_per_class if self.treatment.kind == "selffer" else None
        seed = self.seed if self.source_seed is None else self.source_seed
        base = _short_name(Treatment(self.treatment.source), images, self.source_variant)
        return f"{self.source_split}/{base}/seed-{seed}"

    @property
    def source_split(self) -> str:
        """The split of the base that it copies from: its own, or `whole` for source W."""
        return "whole" if self.treatment.source == "W" else self.split

    @cached_property
    def stream(self) -> str:
        """Owner of the stream of labelled images that this network is trained on."""
        return self.stream_of(self.labelled)

    def stream_of(self, letter: str) -> str:
        """Owner of the stream of a task's labelled images."""
        images = "all" if self.images_per_class is None else f"{self.images_per_class}{' drawn' * self.drawn}"
        return f"{self.split}/{letter}@{images}/seed-{self.seed}"

    @property
    def order(self) -> tuple[Any, ...]:
        """Sort key: stage, split, seed, target, images, variant, treatment."""
        images = self.images_per_class or sys.maxsize
        return (
            self.stage,
            self.split,
            self.seed,
            self.treatment.target,
            images,
            self.variant,
            self.treatment.order,
        )


def _short_name(treatment: Treatment, images_per_class: int | None, variant: str = "") -> str:
    images = "" if images_per_class is None else f"@{images_per_class}"
    return f"{treatment}{images}" + (f"@{variant}" if variant else "")


@dataclass(frozen=True)
class Study:
    """An explicit list of networks over one architecture.

    name: name of the study's folder under runs/.
    data: name of the packed set's folder under data/.
    architecture: the network that all of them train.
    networks: the networks, each with the base that it copies from.
    splits: what the letters of the study's own splits stand for: name → A and B (`splits.pair`, `domains`, `groups`).
    validation: of a set that was packed as one pool: how many images of each class validate (a whole number), or which
        share of them (below 1). The seed draws which ones. None: the set has its own validation images.
    """

    name: str
    data: str
    architecture: Architecture | Chain
    networks: tuple[Network, ...]
    splits: Mapping[str, Mapping[str, Part]] = field(default_factory=dict)
    validation: float | int | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", self.name):
            raise Refused(f"study {self.name!r}: write its name with letters, digits, '_', '-' and '.', no '.' first")
        if not self.networks:
            raise Refused(f"study {self.name!r} has no networks")
        check_own_splits(self.splits)
        if self.validation is not None:
            _refuse_validation(self.name, self.validation)
        object.__setattr__(self, "networks", self._without_training(_with_published_sources(self.networks)))
        names: set[str] = set()
        for network in self.networks:
            if network.name in names:
                raise Refused(f"study {self.name!r} names {network.name} twice; leave one of them out")
            names.add(network.name)
        for network in self.networks:
            source = network.source_name
            if source is not None and source not in names:
                raise Refused(
                    f"study {self.name!r}: {network.name} copies from {source}, which is not in the study; add it"
                )
            self._check(network)
        if isinstance(self.architecture, Architecture):
            shapes(self.architecture)

    def _without_training(self, networks: Iterable[Network]) -> tuple[Network, ...]:
        """The networks, the recipes of those of which all layers are frozen without a step."""
        depth = self.architecture.depth
        return tuple(
            replace(network, recipe=replace(network.recipe, steps=0))
            if network.treatment.is_whole(depth)
            and isinstance(network.recipe, Recipe)
            and network.recipe.steps
            and not network.is_zero_shot
            else network
            for network in networks
        )

    def _check(self, network: Network) -> None:
        """Refuses a network that does not go with the architecture and the splits."""
        recipe = network.recipe
        if isinstance(recipe, Published):
            if network.treatment.kind != "base":
                raise Refused(f"{network.name}: only a base can be published; give it a recipe")
        elif isinstance(recipe, Readout) and (reason := self._unreadable(network, recipe)):
            raise Refused(f"{network.name}: {reason}")
        elif recipe.crop != self.architecture.crop:
            raise Refused(
                f"{network.name}: recipe {recipe.name!r} crops {recipe.crop} pixels, "
                f"{self.architecture.name} sees {self.architecture.crop}"
            )
        elif isinstance(self.architecture, Chain):
            weights = recipe.inputs if isinstance(recipe, Readout) else recipe
            self.architecture.refuse_recipe(weights.initialisation)
            self.architecture.refuse_recipe(weights.random_layers)
        if network.variant and not re.fullmatch(r"[a-z][a-z0-9-]*", network.variant):
            raise Refused(f"{network.name}: write the variant {network.variant!r} as a small-letter word")
        if network.images_per_class is not None and network.images_per_class < 1:
            raise Refused(f"{network.name}: images per class have to be 1 or more")
        # How many classes each task has is only known with the data; equal halves are assumed until then.
        tasks = split_tasks(network.split, self.splits)
        same_classes = have_same_classes(network.split, self.splits)
        network.check(self.architecture.depth, dict.fromkeys(tasks, 0), same_classes)
        if network.aligns_domains:
            self._check_aligned(network, same_classes)
        self._check_pretext(network)
        if isinstance(recipe, Recipe):
            self._check_steps(network, recipe)

    def _check_steps(self, network: Network, recipe: Recipe) -> None:
        """Refuses images per class where nothing is trained on them, and a recipe of no steps where something is."""
        is_whole = network.treatment.is_whole(self.architecture.depth) and not network.is_zero_shot
        is_whole = is_whole or isinstance(recipe, Aligned)
        if is_whole and network.images_per_class is not None:
            raise Refused(f"{network.name}: nothing is trained, so it takes no images per class; leave them out")
        if not is_whole and not recipe.steps:
            raise Refused(f"recipe {recipe.name!r}: steps is 0; it has to be more than 0 to train {network.name}")

    def _check_pretext(self, network: Network) -> None:
        """Refuses what a base without labels cannot be, and copying its last layer, which knows no class."""
        if isinstance(network.recipe, Pretext) and network.treatment.kind != "base":
            raise Refused(f"{network.name}: only a base is trained without labels; give it another recipe")
        if isinstance(network.recipe, Pretext) and network.images_per_class is not None:
            raise Refused(
                f"{network.name}: images per class are told by labels, which recipe {network.recipe.name!r} does not "
                "see; leave them out"
            )
        source = self.by_name.get(network.source_name or "")
        is_last_copied = network.layers(self.architecture.depth)[-1].origin == "copied"
        if is_last_copied and source is not None and isinstance(source.recipe, Pretext):
            raise Refused(f"{network.name}: the last layer of {source.name} knows no classes; copy fewer layers")

    def _check_aligned(self, network: Network, same_classes: bool) -> None:
        """Refuses a network whose recipe makes domains alike, where there are no two domains, or labels would tell."""
        treatment, plus = network.treatment, "" if isinstance(network.recipe, Aligned) else "+"
        n = 0 if isinstance(network.recipe, Translated) else max(1, treatment.n)
        plain = Treatment(treatment.target, treatment.source, n, rate=1.0 if plus else 0.0)
        if treatment.kind != "transfer" or treatment.source == "W" or treatment != plain:
            what = "the images of two domains alike, and copies nothing" if not n else "two domains alike at layer n"
            raise Refused(
                f"{network.name}: recipe {network.recipe.name!r} makes {what}; write A{n}B{plus} or B{n}A{plus}"
            )
        if not same_classes:
            raise Refused(f"{network.name}: recipe {network.recipe.name!r} makes two domains alike; A and B are none")
        if network.images_per_class is not None:
            raise Refused(
                f"{network.name}: images per class are told by labels, which recipe {network.recipe.name!r} does not "
                "see; leave them out"
            )

    def _unreadable(self, network: Network, recipe: Readout) -> str:
        """Why a readout cannot be: what it reads is another network than its name says, or sees other images; or ""."""
        treatment = network.treatment
        source = self.by_name.get(network.source_name or "")
        if treatment.n and recipe.handmade != Readout.handmade:
            return f"it reads layer {treatment.n}, and handmade={recipe.handmade!r} is for n = 0; write R0B"
        if recipe.of and (source is None or source.treatment.target != treatment.source):
            return f"it reads {recipe.of}, so its source is that network's target; write that letter"
        if source is not None and source.is_classifier:
            return f"it reads {recipe.of}, which is a readout itself, or has several heads; name another network"
        if source is not None and isinstance(source.recipe, Recipe):
            for field in ("shrink", "scale"):
                if getattr(source.recipe, field) != getattr(recipe, field):
                    return f"{source.name} was trained with {field}={getattr(source.recipe, field):g}; write that too"
        if recipe.trained_on != "target" and not self._shares_classes(network.split):
            return f"trained_on={recipe.trained_on!r} needs a split whose tasks have the same classes (splits.domains)"
        return ""

    def _shares_classes(self, split: str) -> bool:
        """Whether A and B are two domains of one packed set."""
        parts = [self.part(split, task) for task in ("A", "B")] if split in self.splits else []
        return bool(parts) and all(part.domain for part in parts) and len({(p.data, p.group) for p in parts}) == 1

    @cached_property
    def sources(self) -> frozenset[str]:
        """Full names of the networks that others copy from: their weights are kept."""
        return frozenset(network.source_name for network in self.networks if network.source_name is not None)

    def part(self, split: str, task: str) -> Part:
        """What a letter of a split stands for, its data set named."""
        if split not in self.splits:
            return self._own_data
        part = self.splits[split][task]
        return part if part.data else replace(part, data=self.data)

    @cached_property
    def _own_data(self) -> Part:
        return Part(self.data)  # one for all: `results` asks for it 20,000 times

    @cached_property
    def data_sets(self) -> tuple[str, ...]:
        """Names of the packed sets that the networks are trained on; the study's own first."""
        trained = (n for n in self.networks if not isinstance(n.recipe, Published))
        parts = [(n.split, letter) for n in trained for letter in n.tasks]
        names = {self.part(split, letter).data for split, letter in parts}
        return tuple(sorted(names, key=lambda name: (name != self.data, name)))

    @cached_property
    def tables(self) -> tuple[str, ...]:
        """The tables that say what classes are like, by their names (`ZeroShot.table`)."""
        return tuple(sorted({n.recipe.table for n in self.networks if isinstance(n.recipe, ZeroShot)}))

    @cached_property
    def by_name(self) -> dict[str, Network]:
        return {network.name: network for network in self.networks}

    def published_base(self, split: str, letter: str) -> Network | None:
        """The published base of a letter; None where its base is trained, or there is none."""
        return self._published.get((split, letter))

    @cached_property
    def _published(self) -> dict[tuple[str, str], Network]:
        published = (network for network in self.networks if isinstance(network.recipe, Published))
        return {(network.split, network.treatment.target): network for network in published}

    @cached_property
    def architecture_record(self) -> dict[str, Any]:
        """What a network's record says of the architecture; the same object each time, not to be changed."""
        if isinstance(self.architecture, Chain):
            return self.architecture.record
        layers = {name: [type(spec).__name__, dict(_fields(spec))] for name, spec in self.architecture.layers}
        return {"crop": self.architecture.crop, "layers": layers}

    def select(self, only: Sequence[str]) -> tuple[Network, ...]:
        """The networks whose name matches one of the patterns, in the study's order; all for no pattern.

        Refused: a pattern that no network is like.
        """
        if not only:
            return self.networks
        for pattern in only:
            if not any(network.is_like(pattern) for network in self.networks):
                raise Refused(f"study {self.name!r} has no network like {pattern!r}; `transferability plan` lists them")
        return tuple(network for network in self.networks if any(network.is_like(pattern) for pattern in only))


@dataclass(frozen=True)
class Fleet:
    """Networks trained in one pass over one stream: they share target, recipe, images and seed (and stage)."""

    networks: tuple[Network, ...]

    @property
    def name(self) -> str:
        """Name of the fleet's folder: that of its first network. A network is in one started fleet at most."""
        return self.networks[0].name.replace("/", ".")

    @property
    def stage(self) -> int:
        return self.networks[0].stage

    @property
    def recipe(self) -> Recipe:
        """A published base's is a `Published`, of which plans and bars ask the steps and the batch; a fleet of readouts
        has several."""
        return self.networks[0].recipe  # type: ignore[return-value]

    @property
    def training_recipe(self) -> Recipe:
        return self.networks[0].training_recipe

    @property
    def is_published(self) -> bool:
        return isinstance(self.networks[0].recipe, Published)

    @property
    def is_readout(self) -> bool:
        return isinstance(self.networks[0].recipe, Readout)

    @property
    def trains(self) -> bool:
        """Whether layers are trained, in steps."""
        recipe = self.networks[0].recipe
        return isinstance(recipe, Recipe) and recipe.steps > 0

    @property
    def split(self) -> str:
        return self.networks[0].split

    @property
    def target(self) -> str:
        return self.networks[0].treatment.target

    @property
    def seed(self) -> int:
        return self.networks[0].seed

    @property
    def images_per_class(self) -> int | None:
        return self.networks[0].images_per_class

    @property
    def drawn(self) -> bool:
        return self.networks[0].drawn

    @property
    def stream(self) -> str:
        return self.networks[0].stream

    @property
    def aligns_domains(self) -> bool:
        return self.networks[0].aligns_domains

    @property
    def labelled(self) -> str:
        return self.networks[0].labelled

    @property
    def shares_layers(self) -> bool:
        return self.networks[0].shares_layers

    @property
    def is_zero_shot(self) -> bool:
        return self.networks[0].is_zero_shot

    @property
    def tasks(self) -> tuple[str, ...]:
        return self.networks[0].tasks

    @property
    def streams(self) -> tuple[str, str]:
        """Owners of the streams of training images and of those that are seen beside them.

        Where two tasks share layers, of A's and of B's, each that of the task's base.
        """
        if not self.shares_layers:
            return self.stream, f"{self.stream} unlabelled"
        first, second = (self.networks[0].stream_of(letter) for letter in self.tasks)
        return first, second

    @property
    def prefixes(self) -> dict[str, int]:
        """Each source of frozen layers → how many of its layers the fleet needs."""
        depths: dict[str, int] = {}
        for network in self.networks:
            treatment = network.treatment
            # Under ADDA the source's own layers see A's images, beside the copy that sees B's.
            needed = treatment.n if isinstance(network.recipe, Adda) else treatment.frozen
            if needed:
                depths[treatment.source] = max(needed, depths.get(treatment.source, 0))
        return depths


def _refuse_validation(study: str, validation: float | int) -> None:
    whole = type(validation) is int and validation >= 1
    if not whole and not (isinstance(validation, float) and 0 < validation < 1):
        raise Refused(
            f"study {study!r}: validation is {validation!r}; write a whole number per class, or a share below 1"
        )


def _with_published_sources(networks: Iterable[Network]) -> tuple[Network, ...]:
    """The networks, those that copy from a published base told its seed: it is stored once and serves every seed."""
    published: dict[str, int] = {}
    for network in networks:
        if isinstance(network.recipe, Published):
            base = network.name.rpartition("/")[0]
            if published.setdefault(base, network.seed) != network.seed:
                raise Refused(f"{base} is published: it is the same for every seed; name it once, with seed 0")
    return tuple(
        replace(network, source_seed=published[source.rpartition("/")[0]])
        if (source := network.source_name) is not None and source.rpartition("/")[0] in published
        else network
        for network in networks
    )


def fleets(networks: Iterable[Network], size: int | None = None) -> list[Fleet]:
    """`networks` in fleets of at most `size` (None: no limit), by stage; a pure function of its arguments.

    Where a limit cuts a group, neighbours stay together that share a source, so that they share its frozen
    prefix.
    """
    if size is not None and size < 1:
        raise Refused(f"a fleet of {size} networks: write 1 or more")
    groups: dict[tuple[Any, ...], list[Network]] = {}
    for network in sorted(networks, key=lambda network: network.order):
        how: Any = network.recipe
        if isinstance(how, Readout):  # those of one network share its features, whatever is fitted to them
            how = (network.source_name, network.treatment.n > 0, how.shrink, how.scale, how.initialisation)
        stream = network.stream_of("") if network.shares_layers else network.stream  # both tasks are trained together
        key = (
            *(network.stage, network.split, stream, network.source_variant),
            *(isinstance(network.recipe, Readout), how),
        )
        groups.setdefault(key, []).append(network)
    divided = []
    for group in groups.values():
        if group[0].shares_layers:
            group.sort(key=lambda network: network.treatment.n)  # the two that share layers are neighbours
        pieces = 1 if size is None else -(-len(group) // size)
        # Pieces as equal as can be: 29 networks at 7 are five fleets of 6, 6, 6, 6, 5, not four of 7 and one of 1.
        edges = [round(i * len(group) / pieces) for i in range(pieces + 1)]
        divided += [Fleet(tuple(group[a:b])) for a, b in itertools.pairwise(edges) if a < b]
    return sorted(divided, key=lambda fleet: fleet.stage)


def grid(
    recipe: Recipe | Readout,
    depth: int,
    splits: Sequence[str],
    seeds: Sequence[int] = (0,),
    targets: str = "AB",
    kinds: Sequence[str] = ("base", "BnB", "BnB+", "AnB", "AnB+"),
    cuts: Sequence[int] | None = None,
) -> list[Network]:
    """The usual product: for each split, seed and target the bases and the treatments at every n.

    `kinds`: any of base, BnB, AnB and RnB, with `+` or a rule (AnB+0.1, AnB+chain), AtnB and BtnB, and, whatever the
    depth, B8B+ (all layers copied and trained on) and A8B (all as they are). They are spelled for target B and mean
    the same for target A. `cuts`: the n; None: 1 … depth - 1.
    """
    networks = []
    for split in splits:
        for seed in seeds:
            for target in "W" if split == "whole" else targets:
                for kind in kinds:
                    pattern = _of_kind(kind)
                    if split == "whole" and pattern.source == "A":
                        raise Refused(f"grid: split whole has one task, so there is no {kind}")
                    other = {"A": "B", "B": "A", "W": "W"}[target]
                    source = {"A": other, "B": target}.get(pattern.source, pattern.source)
                    whole = (0,) if kind == "base" else (depth,) if kind in ("B8B+", "A8B") else None
                    networks += [
                        Network(split, replace(pattern, target=target, source=source, n=n), recipe, seed)
                        for n in whole or (range(1, depth) if cuts is None else cuts)
                    ]
    return networks


def _of_kind(kind: str) -> Treatment:
    """The treatment that a kind of `grid` stands for, at n = 1 and for target B."""
    if kind in ("base", "B8B+", "A8B"):
        return treatments.parse("baseB" if kind == "base" else kind)
    if not re.fullmatch(r"[ABR]nB(\+.*)?|[AB]tnB", kind):
        raise Refused(
            f"grid: {kind!r} is no kind; write base, BnB, AnB, RnB, with + or a rule behind them, AtnB, B8B+, A8B"
        )
    return treatments.parse(kind.replace("n", "1", 1))


def network(name: str, recipe: Recipe | Published | Readout, variant: str = "") -> Network:
    """The network that a name like `random-0/A3B+@250@long/seed-0` (or without seed: 0) spells, with its recipe."""
    split, _, rest = name.partition("/")
    short, _, seed = rest.partition("/")
    text, *endings = short.split("@")
    images = endings.pop(0) if endings and endings[0].isdigit() else ""
    variant = endings.pop(0) if endings and not variant else variant
    if (seed and not re.fullmatch(r"seed-\d+", seed)) or endings:
        raise Refused(f"{name!r} names no network; write random-0/A3B+/seed-0 or random-0/A3B+@250/seed-0")
    return Network(
        split,
        treatments.parse(text),
        recipe,
        int(seed[5:]) if seed else 0,
        int(images) if images else None,
        variant,
    )


def record(study: Study, chosen: Network, checksums: Mapping[str, str], draws: str | None = DRAWS) -> dict[str, Any]:
    """What a network's result depends on, as JSON: and nothing else.

    checksums: of each packed set, by its name. Fields at their default are left out, so that an option that a later
    version adds orphans no result. The records of the sources are inside. `draws`: None for records that were written
    before there was this field.
    """
    if isinstance(chosen.recipe, Published):
        return {"format": RECORD_FORMAT, "published": chosen.recipe.record, "architecture": study.architecture_record}
    part = study.part(chosen.split, chosen.treatment.target)
    content: dict[str, Any] = {
        "format": RECORD_FORMAT,
        "split": chosen.split,
        "treatment": str(chosen.treatment),
        "seed": chosen.seed,
        # Its name is a word for people: what it stands for is here.
        "recipe": _method(chosen.recipe) | {name: value for name, value in _fields(chosen.recipe) if name != "name"},
        "architecture": study.architecture_record,
        "data": checksums[part.data],
    }
    if draws is not None:
        content["draws"] = draws
    content |= _chosen_classes(part)
    if len(chosen.tasks) > 1:
        labelled = study.part(chosen.split, chosen.treatment.source)
        content["labelled"] = {"data": checksums[labelled.data], **_chosen_classes(labelled)}
    if isinstance(chosen.recipe, ZeroShot):
        content["table"] = checksums[table_key(chosen.recipe.table)]
    if study.validation is not None:
        content["validation"] = study.validation
    if chosen.drawn:
        content["drawn"] = True
    if chosen.images_per_class is not None:
        content["images_per_class"] = chosen.images_per_class
    if isinstance(chosen.recipe, Readout) and chosen.recipe.trained_on != "target":
        content["trained_domain"] = study.part(chosen.split, chosen.treatment.source).domain
    if chosen.source_name is not None:
        source = study.by_name[chosen.source_name]
        content["source"] = record(study, source, checksums, draws)
    return content


def table_key(name: str) -> str:
    """Under which a table's checksum stands among those of the packed sets."""
    return f"table {name}"


def _method(recipe: Recipe | Readout) -> dict[str, str]:
    """The type of a recipe, as its record says it; a plain one says nothing."""
    return {} if type(recipe) in (Recipe, Readout) else {"method": type(recipe).__name__}


def _chosen_classes(part: Part) -> dict[str, str]:
    """What a record says of the group and the domain that a letter stands for, where it stands for one."""
    return {name: value for name in ("group", "domain") if (value := getattr(part, name))}


def recorded_checksums(study: Study, chosen: Network, then: Mapping[str, Any]) -> dict[str, str]:
    """Name of each packed set that a network's record speaks of → its checksum there. KeyError if it lacks one."""
    if isinstance(chosen.recipe, Published):
        return {}
    checksums = {study.part(chosen.split, chosen.treatment.target).data: then["data"]}
    if len(chosen.tasks) > 1:
        checksums[study.part(chosen.split, chosen.treatment.source).data] = then["labelled"]["data"]
    if isinstance(chosen.recipe, ZeroShot):
        checksums[table_key(chosen.recipe.table)] = then["table"]
    if chosen.source_name is not None:
        source = study.by_name[chosen.source_name]
        checksums = recorded_checksums(study, source, then["source"]) | checksums
    return checksums


@lru_cache
def _fields(value: Any) -> tuple[tuple[str, Any], ...]:
    """(name, value) of the fields of a recipe or a layer that are not at their default."""
    return tuple(
        (f.name, getattr(value, f.name))
        for f in dataclasses.fields(value)
        if f.default is dataclasses.MISSING or getattr(value, f.name) != f.default
    )


def difference(then: Any, now: Any, path: str = "") -> str | None:
    """The first field in which two records differ, as "recipe.rate was 0.02, is 0.01"; None if they are equal."""
    if then == now:
        return None
    if isinstance(then, dict) and isinstance(now, dict):
        for key in sorted({*then, *now}):
            changed = difference(then.get(key), now.get(key), f"{path}.{key}" if path else key)
            if changed:
                return changed
        return None
    if isinstance(then, (list, tuple)) and isinstance(now, (list, tuple)) and len(then) == len(now):
        for i, (a, b) in enumerate(zip(then, now, strict=True)):
            changed = difference(a, b, f"{path}[{i}]")
            if changed:
                return changed
        return None

    def said(value: Any) -> str:
        return "not there (its default)" if value is None else repr(value)

    return f"{path} was {said(then)}, is {said(now)}"


def _allowed_fields(error: BaseException) -> str:
    """For an argument that a recipe, study or layer does not take: what it takes; else ""."""
    match = re.search(r"(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'", str(error))
    classes = {
        kind.__name__: kind
        for kind in (
            *(Recipe, Adversarial, Adda, Aligned, JointlyTranslated, LabelHeads, Multitask, Pretext, Translated),
            *(ZeroShot, Published, Readout),
            *(Study, Network, Architecture, Chain, Conv, Linear),
        )
    }
    if match is None or match[1] not in classes:
        return ""
    names = [field.name for field in dataclasses.fields(classes[match[1]])]
    nearest = "".join(f"; did you mean {name}?" for name in difflib.get_close_matches(match[2], names, 1))
    return f"{nearest}; {match[1]} takes {', '.join(names)}"


def load_study(path: Path | str) -> Study:
    """The study that an experiment file defines. `FILE.py:NAME` names one of several. The file is code, and it is run.

    Refused, in one line with file and line number, if it cannot be run or defines no such study.
    """
    file, name = _file_and_name(path)
    studies = load_studies(file)
    names = [study.name for study in studies]
    if not name and len(studies) > 1:
        raise Refused(f"{file} defines {len(studies)} studies; name one, as {file}:{names[0]} ({', '.join(names)})")
    if name and name not in names:
        raise Refused(f"{file} defines no study {name!r}; it defines {', '.join(names)}")
    return studies[names.index(name) if name else 0]


def _file_and_name(path: Path | str) -> tuple[Path, str]:
    """The file and the name of `FILE.py:NAME`; "" for no name."""
    file, colon, name = str(path).rpartition(":")
    return (Path(file), name) if colon and file.endswith(".py") else (Path(path), "")


def load_studies(path: Path | str) -> tuple[Study, ...]:
    """The studies that an experiment file defines: the one named `study`, or those of the list `studies`.

    Refused, as by `load_study`; and two of one name.
    """
    file, name = _file_and_name(path)
    if name:
        return (load_study(path),)
    content = _run(file)
    studies = content.get("studies", [content["study"]] if "study" in content else [])
    if not studies or not isinstance(studies, (list, tuple)) or not all(isinstance(study, Study) for study in studies):
        raise Refused(f"{file} defines no study; end it with `study = Study(...)`, or `studies = [Study(...), ...]`")
    names = [study.name for study in studies]
    if len(set(names)) < len(names):
        raise Refused(f"{file} defines two studies of one name; name each differently")
    return tuple(studies)


def _run(path: Path) -> dict[str, Any]:
    """What an experiment file defines."""
    if not path.is_file():
        raise Refused(f"{path}: there is no such experiment file; the ones that come along are in experiments/")
    folder = str(path.parent.resolve())
    sys.path.insert(0, folder)
    try:
        return runpy.run_path(str(path))
    except Refused as error:
        raise Refused(f"{path}: {error}") from None
    except SyntaxError as error:
        raise Refused(f"{error.filename or path}:{error.lineno or 1}: {error.msg}") from None
    except (Exception, SystemExit) as error:
        trace, line = error.__traceback__, 0
        while trace is not None:
            if Path(trace.tb_frame.f_code.co_filename) == path:
                line = trace.tb_lineno
            trace = trace.tb_next
        reason = " ".join(f"{error}{_allowed_fields(error)}".split())  # one line, whatever the error's own
        raise Refused(f"{path}:{line}: {type(error).__name__}: {reason}") from None
    finally:
        sys.path.remove(folder)
