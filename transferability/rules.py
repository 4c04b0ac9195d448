"""What is done with copied layers in the course of training: rules by word, as in `A3B+chain`.

A rule says for each layer by which multiple of the recipe's rate it learns, as a pure function of (depth, n, share of
the course that is done). A layer whose multiple is 0 stands still: no gradient, no decay, no momentum, its norms in
evaluation mode. Its first momentum after thawing is that of its first gradient.

    probe     linear probing, then fine-tuning: the new layers alone up to the share `Recipe.probe` of the course, then
              all. Kumar et al. 2022, section 4 (LP-FT).
    chain     chain-thaw: the new layers alone, then each layer alone from the first to the last, in phases of equal
              length; all from `Recipe.chain` of the course on, by default for a phase as long as the others. The first
              phase may be longer (`Recipe.chain_new`), and the rate after it lower (`Recipe.chain_rate`). Norms of
              copied layers keep the source's statistics to the end. Felbo et al. 2017, section 3.2.
    gradual   gradual unfreezing: the new layers, then one copied layer more in each phase, from the top down; all from
              `Recipe.gradual` of the course on. Howard and Ruder 2018, section 3.3.
    fall      discriminative rates: the copied layer below the new ones learns at 1 / `Recipe.fall` of the rate, each
              layer below it at 1 / `Recipe.fall` of the one above. Howard and Ruder 2018, section 3.2.
    sp        all at the full rate; the copied weights are pulled towards what they were copied as, in place of the
              decay towards 0 (`Recipe.pull`). Li et al. 2018, section 3 (L2-SP).

# Paper: Kumar et al. probe until convergence, Felbo et al. train each phase until the validation loss rises, Howard and
# Ruder unfreeze a layer per epoch. Here phases have fixed shares of the course, so that nothing is chosen on
# validation images, and one pass over the images serves networks under all rules. The code of Felbo et al. trains at a
# tenth of the rate after the first phase (`Recipe.chain_rate` of 0.1), and the new layer alone only once.
"""

from transferability.recipe import Recipe

WORDS = ("probe", "chain", "gradual", "fall", "sp")
NEED_NEW = ("probe", "chain", "gradual")  # they begin with the new layers alone


def phases(word: str, depth: int, n: int, recipe: Recipe) -> tuple[float, ...]:
    """Shares of the course at which the multiples change, ascending, between 0 and 1."""
    if word == "probe":
        return (recipe.probe,)
    if word == "chain":
        alone = depth if recipe.chain else depth + 1  # phases after the first that share what is left of the course
        if recipe.chain_new:
            length = ((recipe.chain or 1.0) - recipe.chain_new) / alone
            return tuple(recipe.chain_new + length * phase for phase in range(depth + 1))
        course = (alone + 1) / (recipe.chain or 1.0)  # in phases
        return tuple(phase / course for phase in range(1, depth + 2))
    if word == "gradual":
        return tuple(recipe.gradual * phase / n for phase in range(1, n + 1))
    return ()


def multiples(word: str, depth: int, n: int, share: float, recipe: Recipe) -> tuple[float, ...]:
    """(depth,): the multiple of the rate of each layer, bottom to top, when `share` of the course is done.

    word: one of `WORDS`. n: copied layers, the first ones; the others are new. share: from 0 to below 1.
    """
    assert word in WORDS, word
    phase = sum(share >= edge for edge in phases(word, depth, n, recipe))
    new = (1.0,) * (depth - n)
    if word in ("probe", "chain") and phase == 0:
        return (0.0,) * n + new
    if word == "chain" and phase <= depth:
        return tuple(recipe.chain_rate * (layer == phase) for layer in range(1, depth + 1))
    if word == "chain":
        return (recipe.chain_rate,) * depth
    if word == "gradual":
        thawed = min(phase, n)
        return (0.0,) * (n - thawed) + (1.0,) * thawed + new
    if word == "fall":
        return tuple(recipe.fall ** -(n - layer) for layer in range(n)) + new
    return (1.0,) * depth
