"""What is done to one network: the grammar of treatments, and what it means for each layer.

    base<task>                              trained from scratch on a task
    <source><n><target>[p<m>][+[rule]]      the first n layers copied from the base of `source`
    <source>t<n><target>                    the last n layers copied and frozen, those below drawn afresh

    baseB     A3B     B3B     A3B+     A3B+0.1     A3B+chain     A3Bp2     R3B     B8B+     At3B     A8B

The source is A, B, W (all classes) or R (random weights, never trained). The same letter as the target is a
*selffer*, another one a *transfer*. Without `+` the n copied layers are frozen; with it they are trained, as the
*rule* says: at the full rate, at a multiple of it, or as a word of `rules.py` says. `p<m>` copies m more layers and
trains them (the authors' unpublished *preserve*); a word goes without it. All other layers are drawn afresh. Yosinski
et al. 2014, section 2; docs/design.md has the notation.

Where A and B have the same classes (`splits.have_same_classes`), the output layer fits the target, and two more
treatments have a meaning: `At3B`, *top-copied*, whose lower layers are trained through the frozen ones above them; and
all layers frozen (`A8B` of eight), the source's network as it is, judged on the target without a step of training.
"""

import re
from dataclasses import dataclass
from decimal import Decimal

from transferability.files import Refused
from transferability.rules import NEED_NEW, WORDS

TASKS = ("A", "B", "W")
RANDOM = "R"
TOP = "top"  # what the columns `plus` and `rule` of results.csv say of top-copied networks
_GRAMMAR = re.compile(r"([ABWR])(t?)(0|[1-9]\d*)([ABW])(?:p([1-9]\d*))?(?:(\+)(\d+(?:\.\d+)?|[a-z]+)?)?")
KINDS = ("base", "selffer", "transfer", "random")


@dataclass(frozen=True)
class LayerPlan:
    """What one layer of a network starts from, and how fast it learns.

    `origin`: "copied" (from the source's base), "random" (the draw of source R) or "fresh" (the network's own
    draw). `rate`: multiple of the recipe's rate; 0 is frozen.
    """

    origin: str
    rate: float


@dataclass(frozen=True)
class Treatment:
    """A treatment. `source` is "" for a base. `rate` is that of the n copied layers: 0 frozen, 1 for `+`.

    word: a rule that changes rates in the course of training, or pulls weights (`rules.py`); then `rate` is 1.
    top: the n layers are the last ones, not the first.
    """

    target: str
    source: str = ""
    n: int = 0
    preserved: int = 0
    rate: float = 0.0
    word: str = ""
    top: bool = False

    @property
    def kind(self) -> str:
        """base, selffer, transfer or random."""
        if not self.source:
            return "base"
        if self.source == RANDOM:
            return "random"
        return "selffer" if self.source == self.target else "transfer"

    @property
    def frozen(self) -> int:
        """How many layers are frozen: the first n, or none."""
        return self.n if self.source and not self.rate and not self.top else 0

    @property
    def mean_of(self) -> str:
        """The task whose mean image is subtracted: the source's, if first layers are its; else the target's."""
        return self.target if self.source in ("", RANDOM) or self.top or not self.n else self.source

    def is_whole(self, depth: int) -> bool:
        """Whether all of `depth` layers are copied and frozen: the source's network as it is, and nothing to train."""
        return self.frozen == depth and not self.preserved

    @property
    def plus(self) -> str:
        """ "" for frozen, "1" for `+`, "top", or the multiple of the rate or the rule's word, as in results.csv."""
        return self.word or (TOP if self.top else "") or (_positional(self.rate) if self.rate else "")

    @property
    def rule(self) -> str:
        """What is done with the n copied layers, as in results.csv: frozen, top, full, a multiple, or a word."""
        if not self.source:
            return ""
        return self.word or ("full" if self.rate == 1 else self.plus or "frozen")

    def __str__(self) -> str:
        return f"{self.source}{self._t}{self.n}{self.target}{self._ending}" if self.source else f"base{self.target}"

    @property
    def letters(self) -> str:
        """The treatment in the paper's letters, whatever direction and n: base, BnB, AnB+, BnBp1, RnB, AtnB."""
        if not self.source:
            return "base"
        return {"selffer": "B", "transfer": "A", "random": "R"}[self.kind] + f"{self._t}nB{self._ending}"

    @property
    def _t(self) -> str:
        return "t" if self.top else ""

    @property
    def _ending(self) -> str:
        preserved = f"p{self.preserved}" if self.preserved else ""
        if not self.rate:
            return preserved
        return f"{preserved}+{self.word or ('' if self.rate == 1 else _positional(self.rate))}"

    @property
    def order(self) -> tuple[int, str, float, str, bool, int, str, int]:
        """Sort key: bases, selffer, transfer, random; in them by source, rule, top, preserved layers, target, n."""
        place = KINDS.index(self.kind)
        return place, self.source, self.rate, self.word, self.top, self.preserved, self.target, self.n

    def layers(self, depth: int) -> tuple[LayerPlan, ...]:
        """What each of `depth` layers, bottom to top, starts from and how fast it learns."""
        origin = "random" if self.source == RANDOM else "copied"
        if self.top:
            return (LayerPlan("fresh", 1.0),) * (depth - self.n) + (LayerPlan(origin, 0.0),) * self.n
        return (
            (LayerPlan(origin, self.rate),) * self.n
            + (LayerPlan(origin, 1.0),) * self.preserved
            + (LayerPlan("fresh", 1.0),) * (depth - self.n - self.preserved)
        )

    def check(
        self,
        depth: int,
        classes: dict[str, int],
        trains: bool = True,
        same_classes: bool = False,
        copies: bool = True,
    ) -> None:
        """Refuses, by name, what cannot be built.

        `depth`: the number of the network's layers. `classes`: the number of classes of each task of the split; and of
        W, where it is the source. `trains`: whether layers are trained; a readout trains none, and n may be anything
        from 0 to depth. `same_classes`: A and B of the split have the same classes. `copies`: layers are copied; a
        recipe that changes the images instead has n = 0.
        """
        for task in (self.target, self.source):
            if task not in ("", RANDOM, *classes) and not (task == "W" == self.source):
                raise Refused(f"{self}: the split has no task {task}, only {', '.join(sorted(classes))}")
        copied = self.n + self.preserved
        if copied > depth:
            raise Refused(f"{self}: {copied} layers cannot be copied, the network has {depth}")
        if not trains:
            if self.rate or self.preserved or self.top or not self.source:
                raise Refused(
                    f"{self}: what reads features trains no layer, and reads the first ones; write "
                    f"{self.source or 'A'}{self.n}{self.target}"
                )
            return
        if self.source and not self.n and copies:
            raise Refused(f"{self} copies nothing: only a readout has n = 0")
        if self.source and copied == depth and not self.preserved and not self.rate:
            self._refuse_all_frozen(depth, same_classes)
        if self.top and not same_classes:
            raise Refused(
                f"{self}: the last layers of one task fit another only where A and B share classes: two domains"
            )
        if self.word in NEED_NEW and copied == depth:
            raise Refused(f"{self}: rule {self.word} begins with the new layers, and there is none; copy fewer")
        if self.source not in ("", RANDOM) and copied == depth and classes.get(self.source) != classes[self.target]:
            raise Refused(
                f"{self}: the last layer cannot be copied, {self.source} has {classes.get(self.source, 'other')} "
                f"classes and {self.target} has {classes[self.target]}"
            )

    def _refuse_all_frozen(self, depth: int, same_classes: bool) -> None:
        """Refuses that all layers are frozen, unless that is the source's network judged on the target as it is."""
        if self.top or self.kind != "transfer" or self.source == "W":
            raise Refused(f"{self}: all {depth} layers are frozen, nothing is left to train")
        if not same_classes:
            raise Refused(
                f"{self}: all {depth} layers are frozen, nothing is left to train; the source's network is judged as "
                "it is only where A and B share classes: two domains"
            )


def _positional(number: float) -> str:
    """All digits of a number and no exponent, as the grammar writes rates: 0.1, 10, 0.00001."""
    return f"{Decimal(repr(number)).normalize():f}"


def parse(text: str) -> Treatment:
    """The treatment that `text` spells; Refused if it spells none, or not in the one canonical way."""
    if text.startswith("base") and text[4:] in TASKS:
        return Treatment(target=text[4:])
    match = _GRAMMAR.fullmatch(text)
    if not match:
        raise Refused(f"{text!r} is no treatment; write baseA, A3B, B3B+, A3B+0.1, A3Bp2, R3B or At3B")
    source, top, n, target, preserved, plus, rule = match.groups()
    if top and (preserved or plus or source not in ("A", "B")):
        raise Refused(f"{text!r}: the last layers are copied from A or B and frozen; write At{n}{target}")
    word = rule if rule and rule[0].isalpha() else ""
    if word and word not in WORDS:
        raise Refused(f"{text!r}: no rule {word!r}; write {', '.join(WORDS)}, a multiple of the rate, or nothing")
    if word and preserved:
        raise Refused(f"{text!r}: a rule by word goes without p{preserved}")
    treatment = Treatment(
        target=target,
        source=source,
        n=int(n),
        preserved=int(preserved or 0),
        rate=(float(rule) if rule and not word else 1.0) if plus else 0.0,
        word=word,
        top=bool(top),
    )
    if plus and not treatment.rate:
        raise Refused(f"{text!r}: a rate of 0 is frozen; write {source}{n}{target}")
    if treatment.preserved and treatment.rate == 1:
        raise Refused(f"{text!r} trains every copied layer; write {source}{treatment.n + treatment.preserved}{target}+")
    if str(treatment) != text:
        raise Refused(f"{text!r} is spelled {treatment}")
    return treatment


def in_letters(network: str) -> str:
    """A network's name within split and seed, in the paper's letters: AnB+@250 for B3A+@250. Refused as by `parse`."""
    treatment, at, rest = network.partition("@")
    return parse(treatment).letters + at + rest
