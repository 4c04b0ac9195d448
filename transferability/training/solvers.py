"""Linear classifiers, fitted by Newton's method: many at once that share one matrix of features.

A problem is

    1/2 |w|² + C * (sum over images of the loss of z·w + b)

for the loss

    svm       max(0, 1 - y s)², for y = 1 (the class) and -1 (the others); b is penalised too, as LIBLINEAR does it
    sigmoid   log(1 + exp(-y s))
    softmax   -log(softmax(s)[label]), for all classes together; b is not penalised, nor is it of sigmoid

Classes, inner folds and penalties are problems on the same images. The images' vectors are written once in the basis of
their principal directions (`Basis`): there the penalty and the matrix of second moments are both diagonal, which is the
preconditioner of each problem, whatever its C and its fold. A Newton step is found by conjugate gradients (Keerthi and
DeCoste 2005 for the SVM; Lin et al. 2008), for all problems in the same two matrix products per iteration. Where there
are fewer images than numbers, the basis has as many dimensions as images: the span of the images is all that counts.

Scikit-learn's LinearSVC and LogisticRegression are the reference: tests compare objectives and predictions.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

TOLERANCE = 1e-5  # of the objective: what it may still be above its minimum, by the duality gap
ROUGH = 1e-3  # the same on inner folds, which only choose between penalties ten times apart
NEWTON_STEPS, CG_STEPS, HALVINGS = 100, 50, 30
FORCING = 0.1  # CG reduces a Newton step's residual to this share, and to less near the minimum
SMALLEST = 1e-12  # principal directions of less variance, as a share of the largest's, are rounding


class Basis(NamedTuple):
    """Vectors in their principal directions.

    images: (n, r + 1) float32: coordinates, and a 1 for b. moments: (r + 1,): the sum of squares of each column.
    directions: (d, r): a vector times it has these coordinates.
    """

    images: Tensor
    moments: Tensor
    directions: Tensor


def basis_of(vectors: Tensor) -> Basis:
    """vectors: (n, d) float32 or float64. One eigendecomposition, of the smaller of n x n and d x d, in float64."""
    wide = vectors.double()
    n, d = wide.shape
    if d <= n:
        moments, directions = torch.linalg.eigh(wide.T @ wide)
        kept = moments > SMALLEST * moments[-1].clamp(min=0)
        moments, directions = moments[kept], directions[:, kept]
        images = wide @ directions
    else:
        moments, left = torch.linalg.eigh(wide @ wide.T)
        kept = moments > SMALLEST * moments[-1].clamp(min=0)
        moments, left = moments[kept], left[:, kept]
        images = left * moments.sqrt()
        directions = wide.T @ (left / moments.sqrt())
    ones = torch.ones(n, 1, dtype=torch.float64, device=wide.device)
    counts = torch.full((1,), float(n), dtype=torch.float64, device=wide.device)
    return Basis(torch.cat([images, ones], 1).float(), torch.cat([moments, counts]).float(), directions.float())


@dataclass(frozen=True)
class Problems:
    """Problems on the same images.

    loss: svm, sigmoid or softmax. targets: (n, P, K) float32: 1 for the class, -1 for the others, and for softmax 0;
    K is 1 but for softmax, where it is the number of classes. counted: (n, P, 1) float32: 1 for the images that a
    problem is fitted to, 0 for those that it holds out.
    """

    loss: str
    targets: Tensor
    counted: Tensor

    def some(self, chosen: Tensor) -> "Problems":
        return Problems(self.loss, self.targets[:, chosen], self.counted[:, chosen])

    def losses(self, scores: Tensor) -> Tensor:
        """(P,) float64: the sum over images. scores: (n, P, K)."""
        if self.loss == "softmax":
            values = torch.logsumexp(scores, 2, keepdim=True) - (scores * self.targets).sum(2, keepdim=True)
        elif self.loss == "svm":
            values = F.relu(1 - self.targets * scores).square()
        else:
            values = F.softplus(-self.targets * scores)
        return (values * self.counted).sum((0, 2), dtype=torch.float64)

    def gradients(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        """(n, P, K): derivatives by the scores; and what `curved` needs: the curvatures, or for softmax shares."""
        if self.loss == "softmax":
            shares = torch.softmax(scores, 2)
            return (shares - self.targets) * self.counted, shares
        if self.loss == "svm":
            short = F.relu(1 - self.targets * scores) * self.counted
            return -2 * short * self.targets, 2 * (short > 0).float()
        wrong = torch.sigmoid(-self.targets * scores)
        return -self.targets * wrong * self.counted, wrong * (1 - wrong) * self.counted

    def curved(self, curvatures: Tensor, change: Tensor) -> Tensor:
        """(n, P, K): the second derivatives times a change of the scores."""
        if self.loss != "softmax":
            return curvatures * change
        change = curvatures * change
        return (change - curvatures * change.sum(2, keepdim=True)).mul_(self.counted)

    def mean_curvature(self, curvatures: Tensor) -> Tensor:
        """(1, P, K): the mean over all images of the diagonal of the second derivatives."""
        if self.loss == "softmax":
            return (curvatures * (1 - curvatures) * self.counted).mean(0, keepdim=True)
        return curvatures.mean(0, keepdim=True)


def fit(
    basis: Basis,
    problems: Problems,
    penalty: float,
    start: Tensor | None = None,
    tolerance: float = TOLERANCE,
    between: Callable[[], None] = lambda: None,
) -> Tensor:
    """(r + 1, P, K): the weights of each problem; the last row is b.

    penalty: C. start: weights to begin with. between: called before each Newton step; what it raises ends the fit.
    """
    count, outputs = problems.targets.shape[1:]
    shape = (basis.images.shape[1], count, outputs)
    weights = basis.images.new_zeros(shape) if start is None else start.clone()
    decay = torch.ones_like(basis.moments)
    if problems.loss != "svm":
        decay[-1] = 0
    left = torch.arange(count, device=weights.device)  # problems that are not at their minimum yet
    scores = _product(basis.images, weights)
    for _ in range(NEWTON_STEPS):
        between()
        part = problems if len(left) == count else problems.some(left)
        w, s = weights[:, left], scores[:, left]
        gradients, curvatures = part.gradients(s)
        slope = decay[:, None, None] * w + penalty * _product(basis.images.T, gradients)
        value = _penalties(decay, w) + penalty * part.losses(s)
        # Half the squared gradient is the duality gap: the penalty is strongly convex.
        gap = 0.5 * slope.double().square().sum((0, 2))
        going = gap > tolerance * value
        if not going.any():
            break
        if not going.all():
            left, part, w, s = left[going], part.some(going), w[:, going], s[:, going]
            curvatures, slope, value, gap = curvatures[:, going], slope[:, going], value[going], gap[going]
        forcing = torch.clamp((gap / value).sqrt(), max=FORCING).float()
        step, change = _newton_step(basis, part, penalty, (decay, slope, curvatures), forcing)
        length = _length(part, penalty, decay, (w, s), (step, change), (slope, value))
        weights[:, left] = w + length * step
        scores[:, left] = s + length * change
        moved = length.flatten() > 0
        left = left[moved]  # what no step makes smaller is at its minimum, to rounding
        if not len(left):
            break
    return weights


def _product(matrix: Tensor, stack: Tensor) -> Tensor:
    """(a, P, K): a matrix (a, b) times each problem's (b, K)."""
    return (matrix @ stack.flatten(1)).view(len(matrix), *stack.shape[1:])


def _penalties(decay: Tensor, weights: Tensor) -> Tensor:
    return 0.5 * (decay[:, None, None] * weights.square()).sum((0, 2), dtype=torch.float64)


def _newton_step(
    basis: Basis, problems: Problems, penalty: float, at: tuple[Tensor, Tensor, Tensor], forcing: Tensor
) -> tuple[Tensor, Tensor]:
    """The Newton step of each problem, and the change of the scores that it makes, by conjugate gradients.

    at: penalty of each weight, gradient, curvatures. forcing: (P,) by how much the residual is to shrink.
    """
    decay, slope, curvatures = at
    diagonal = decay[:, None, None] + penalty * basis.moments[:, None, None] * problems.mean_curvature(curvatures)
    diagonal = diagonal.clamp(min=1e-12)

    def dot(a: Tensor, b: Tensor) -> Tensor:
        return (a * b).sum((0, 2), keepdim=True)

    residual = -slope
    step, change = torch.zeros_like(slope), torch.zeros_like(curvatures)
    conditioned = residual / diagonal
    direction = conditioned.clone()
    product = first = dot(residual, conditioned)
    for _ in range(CG_STEPS):
        through = _product(basis.images, direction)
        curved = decay[:, None, None] * direction
        curved += penalty * _product(basis.images.T, problems.curved(curvatures, through))
        length = product / dot(direction, curved).clamp(min=1e-30)
        length = torch.where(product > forcing[:, None].square() * first, length, 0.0)
        step += length * direction
        change += length * through
        residual -= length * curved
        conditioned = residual / diagonal
        following = dot(residual, conditioned)
        if (following <= forcing[:, None].square() * first).all():
            break
        direction = conditioned + (following / product.clamp(min=1e-30)) * direction
        product = following
    return step, change


def _length(
    problems: Problems,
    penalty: float,
    decay: Tensor,
    at: tuple[Tensor, Tensor],
    along: tuple[Tensor, Tensor],
    known: tuple[Tensor, Tensor],
) -> Tensor:
    """(1, P, 1): the largest of 1, 1/2, 1/4, … that makes each objective smaller by enough (Armijo); else 0."""
    (weights, scores), (step, change), (slope, value) = at, along, known
    descent = (slope.double() * step).sum((0, 2))
    linear = (decay[:, None, None] * weights.double() * step).sum((0, 2))
    square = (decay[:, None, None] * step.double().square()).sum((0, 2))
    base = _penalties(decay, weights)
    length = torch.ones_like(value)
    for _ in range(HALVINGS):
        t = length.float()[None, :, None]
        reached = base + length * linear + 0.5 * length**2 * square
        reached += penalty * problems.losses(scores + t * change)
        short = reached > value + 1e-4 * length * descent
        if not short.any():
            break
        length = torch.where(short, length / 2, length)
    else:
        length = torch.where(short, 0.0, length)
    return length.float()[None, :, None]
