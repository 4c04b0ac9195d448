"""The answer in words, for a terminal of 80 columns; `page` says the same in HTML."""

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from transferability.ask.answer import Answer, Candidate, Rule, pictures_factor, seeds_needed
from transferability.ask.file import Source
from transferability.ask.plan import MOST_SEEDS
from transferability.names import counted
from transferability.networks.caffenet import Architecture
from transferability.networks.chain import Chain
from transferability.networks.facts import layer_facts
from transferability.results.statistics import MIN_UNITS
from transferability.runs.status import aligned

WIDTH = 80
SHORT = {"linear": "linear", "frozen": "frozen", "tuned": "tuned", "tenth": "tuned 1/10", "scratch": "scratch"}


@dataclass(frozen=True)
class Cost:
    """Of one way. seconds: of training, in its fleet's share. megabytes: of its weights. milliseconds: per picture."""

    seconds: float
    megabytes: float
    milliseconds: float


def cost_of(candidate: Candidate, architecture: Architecture | Chain, classes: int, times: Sequence[float]) -> Cost:
    """times: milliseconds per picture of each layer here."""
    facts = layer_facts(architecture, classes)
    depth = candidate.n if candidate.rule == "linear" else len(facts)
    numbers = sum(fact.parameters + fact.buffers for fact in facts[:depth])
    if candidate.rule == "linear":
        result = next(iter(candidate.results.values()))
        numbers += ((result.numbers or 0) + 1) * classes
    return Cost(seconds_of(candidate), 4 * numbers / 1e6, sum(times[:depth]))


def seconds_of(candidate: Candidate) -> float:
    """Of training, in its fleet's share, mean over seeds."""
    seconds = [r.seconds / max(1, len(r.provenance.get("fleet", ()))) for r in candidate.results.values()]
    return sum(seconds) / len(seconds)


# ------------------------------------------------------------------------------------------ sentences


def sentence(answer: Answer) -> str:
    """The answer in one sentence."""
    best = answer.best
    if not answer.beats_chance:
        why = (
            "it cannot be told from chance"
            if best.estimate.seeds >= MIN_UNITS
            else (f"{best.estimate.seeds} of at least {MIN_UNITS} seeds are done, so there is no interval")
        )
        return (
            f"Cannot tell: the best by its inner pictures is to {_words(best, answer)}, {best.estimate.text} %, and "
            f"{why} ({100 * answer.chance:.1f} %, always naming the same class)."
        )
    first = _words(best, answer)
    parts = [f"{first[0].upper()}{first[1:]}: {best.estimate.text} %"]
    parts += [f"{_words(rule, answer)}: {rule.estimate.text}{_standing(rule)}" for rule in answer.rules[1:]]
    return "; ".join(parts) + "."


def _words(rule: Rule, answer: Answer) -> str:
    """What is done, with the network and the size of the pictures where there are several."""
    return rule.candidate.words + in_brackets(_which(rule.candidate, answer))


def in_brackets(which: str) -> str:
    return f" ({which})" if which else ""


def _which(one: Candidate, answer: Answer) -> str:
    return which_of(one, [other for other, _ in answer.over_n])


def which_of(one: Candidate | Source, others: Sequence[Candidate] | Sequence[Source]) -> str:
    """The network and the side in pixels of what it sees, each where others are compared with it."""
    which = [one.network] * (len({other.network for other in others}) > 1)
    return ", ".join(which + [f"{one.crop} pixels"] * (len({other.crop for other in others}) > 1))


def _standing(rule: Rule) -> str:
    """What stands behind a rule's accuracy."""
    if math.isnan(rule.estimate.half):
        return f" ({counted(rule.estimate.seeds, 'seed')} only)"
    return {"cannot tell": ", not distinguishable", "as good": ", as good", "better": ", better"}.get(rule.verdict, "")


def what_would_tell(answer: Answer, seconds_per_seed: float) -> list[str]:
    """For each comparison that is undecided: what would decide it."""
    lines = []
    for rule in answer.rules[1:]:
        if rule.verdict != "cannot tell":
            continue
        name = SHORT[rule.candidate.rule] + in_brackets(_which(rule.candidate, answer))
        gap = rule.gap
        if gap is None or math.isnan(gap.half):
            more = counted(MIN_UNITS - (0 if gap is None else gap.seeds), "more seed")
            lines.append(f"{name}: {more}, for an interval: --minutes MORE")
            continue
        needed = seeds_needed(gap, answer.ratio) if gap.value else None
        difference = f"{name}: {gap.signed} points"
        if needed is not None and needed > gap.seeds:
            minutes = max(1, round((needed - gap.seeds) * seconds_per_seed / 60))
            more = f"about {counted(needed - gap.seeds, 'more seed')}, {counted(minutes, 'minute')}"
            # `ask` adds no more than MOST_SEEDS.
            by_hand = "" if needed <= MOST_SEEDS else ": write the numbers into the experiment file, and `run` it"
            lines.append(f"{difference}: {more}{by_hand}")
        elif needed is not None:
            lines.append(f"{difference}: not after allowing for {len(answer.rules) - 1} comparisons; a seed more")
        else:
            factor = pictures_factor(gap, answer.ratio)
            more = f"{factor:.1f} times as many pictures" if factor < 100 else "no number of pictures that anybody has"
            lines.append(f"{difference}: seeds will not tell; {more} would, if it stays so")
    return lines


def learning_lines(answer: Answer) -> list[str]:
    """What more pictures would bring."""
    curve = answer.learning
    if curve is None:
        return []
    text = ", ".join(f"{k}: {estimate.text}" for k, estimate in sorted(curve.points.items()))
    layer = f"layer {curve.of.n}{in_brackets(_which(curve.of, answer))}"
    lines = [f"a linear classifier on {layer}, by pictures per class: {text}"]
    if not curve.ahead:
        return [*lines, "too few numbers of pictures per class to say what more would bring"]
    text = ", ".join(f"{k}: {estimate.text}" for k, estimate in curve.ahead.items())
    return [*lines, f"extrapolated by an inverse power law, {text}"]


# ------------------------------------------------------------------------------------------ tables


def rule_rows(answer: Answer, costs: Sequence[Cost]) -> list[tuple[str, ...]]:
    """One row per rule, below a head."""
    head = ("", "of", "n", "top-1 %", "seeds", "minus best", "verdict", "train s", "MB", "ms")
    rows: list[tuple[str, ...]] = [head]
    for rule, cost in zip(answer.rules, costs, strict=True):
        one, gap = rule.candidate, rule.gap
        rows.append((
            SHORT[one.rule],
            _which(one, answer).rpartition(":")[2],
            str(one.n or ""),
            rule.estimate.text,
            str(rule.estimate.seeds),
            gap.signed if gap else "",
            rule.verdict or "recommended",
            f"{cost.seconds:.0f}",
            f"{cost.megabytes:.1f}",
            f"{cost.milliseconds:.1f}",
        ))  # fmt: skip
    return rows


def layer_rows(answer: Answer, study: str) -> list[tuple[str, ...]]:
    """Accuracy over n for each rule, below a head; every layer that was tried of the study's network."""
    cells = {(one.rule, one.n): value for one, value in answer.over_n if one.study == study and one.n}
    rules = [rule for rule in SHORT if any(key[0] == rule for key in cells)]
    rows: list[tuple[str, ...]] = [("n", *(SHORT[rule] for rule in rules))]
    for n in sorted({n for _, n in cells}):
        rows.append((str(n), *(cells[rule, n].text if (rule, n) in cells else "" for rule in rules)))
    return rows


def text(answer: Answer, costs: Sequence[Cost], more: Sequence[str], seconds_per_seed: float) -> str:
    """All of it. more: lines on what was left out, and what was written."""
    rows = rule_rows(answer, costs)
    studies = list(dict.fromkeys(one.study for one, _ in answer.over_n))
    parts = [wrapped(sentence(answer))]
    if len(studies) == 1:
        parts.append("\n".join(aligned([(row[0], *row[2:]) for row in rows], right=range(6, 9))))
    else:  # in two tables, since one is wider than a terminal
        ranks = ["", *map(str, range(1, len(rows)))]
        accuracies = [(rank, row[0], *row[2:7]) for rank, row in zip(ranks, rows, strict=True)]
        parts.append("\n".join(aligned(accuracies)))
        spent = [(rank, row[1], *row[7:]) for rank, row in zip(ranks, rows, strict=True)]
        parts.append("\n".join(aligned(spent, right=range(2, 5))))
    for study in studies:
        table = aligned(layer_rows(answer, study))
        parts.append("\n".join([f"top-1 % at each layer ({study})", *table]))
    for title, lines in (
        ("cannot tell, and what would tell:", what_would_tell(answer, seconds_per_seed)),
        ("more pictures:", learning_lines(answer)),
        ("", list(more)),
    ):
        if lines:
            parts.append("\n".join(filter(None, [title, *(wrapped(line, "  ") for line in lines)])))
    parts.append(wrapped(about(answer)))
    return "\n\n".join(parts)


def about(answer: Answer) -> str:
    """How to read the numbers."""
    if answer.ratio:
        drawn = "each seed draws anew which pictures judge; intervals allow for draws that overlap"
    else:
        trained = ", and about training" * any(one.rule != "linear" for one, _ in answer.over_n)
        drawn = f"the validation part judges in every seed: intervals are about its pictures{trained}"
    return (
        f"Accuracy on {answer.judging:,} pictures that judge, {answer.training:,} train; chance "
        f"{100 * answer.chance:.1f} %; {drawn}; layers are chosen on training pictures alone; differences are paired, "
        "with Holm's allowance for several comparisons."
    )


def wrapped(line: str, indent: str = "") -> str:
    """Lines of WIDTH; paths are not divided."""
    return textwrap.fill(
        line,
        WIDTH - 1,
        initial_indent=indent,
        subsequent_indent=indent + "  " * bool(indent),
        break_on_hyphens=False,
        break_long_words=False,
    )
