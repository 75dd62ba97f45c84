"""Muon (Jordan et al. 2024): steps whose singular values are all about one.

``torch.optim.Muon`` makes the same steps (a test holds them side by side), one matrix after
the other and always in bfloat16, which processors without instructions for it emulate. Here
all matrices of one shape are orthogonalized together, in a type that the machine is fast at, and
stepped together (``_foreach_``, as PyTorch's own optimizers do): a GPU waits for each single call.
"""

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor

# An odd polynomial that lifts small singular values steeply; Jordan et al. chose it so that
# after five rounds those from 0.01 to 1 lie between about 0.7 and 1.2.
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


def orthogonalize(matrices: Tensor, rounds: int = 5) -> Tensor:
    """Each U diag(s) V^T of ``matrices`` (K, M, N) as about U V^T, by matrix products alone.

    A round maps every singular value s of X to a s + b s³ + c s⁵ (Newton-Schulz iteration),
    starting from X divided by its Frobenius norm, so that s is at most 1.
    """
    a, b, c = NEWTON_SCHULZ
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices  # (K, m, n), m <= n: the smaller squares
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(rounds):
        square = x @ x.mT  # (K, m, m)
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, made orthogonal, for the matrices inside a network.

    A step on a matrix (M, N) is ``rate`` · max(1, M / N)^½ long in every direction; before it,
    the matrix shrinks by ``rate`` · ``weight_decay`` of itself. Products run in ``dtype``.
    """

    def __init__(
        self,
        matrices: Iterable[Tensor],
        *,
        rate: float,
        weight_decay: float = 0.0,
        momentum: float = 0.95,
        dtype: torch.dtype = torch.float32,
    ):
        options = {"lr": rate, "weight_decay": weight_decay, "momentum": momentum}
        super().__init__(matrices, options)
        self.dtype = dtype

    @torch.no_grad()
    def step(self) -> None:
        """Step along the gradients; parameters without one stay as they are."""
        for group in self.param_groups:
            shapes = defaultdict(list)
            for matrix in group["params"]:
                if matrix.grad is not None:
                    shapes[matrix.shape].append(matrix)
            for (rows, columns), alike in shapes.items():
                ahead = self._momenta(alike, group["momentum"])
                directions = orthogonalize(ahead.to(self.dtype)).to(ahead.dtype)
                length = group["lr"] * max(1, rows / columns) ** 0.5
                torch._foreach_mul_(alike, 1 - group["lr"] * group["weight_decay"])
                torch._foreach_sub_(alike, directions.unbind(), alpha=length)

    def _momenta(self, matrices: list[Tensor], momentum: float) -> Tensor:
        """Where the running means of the gradients will be a step from now: (K, M, N)."""
        for matrix in matrices:
            if not self.state[matrix]:
                self.state[matrix]["mean"] = torch.zeros_like(matrix)
        grads = [matrix.grad for matrix in matrices]
        means = [self.state[matrix]["mean"] for matrix in matrices]
        torch._foreach_lerp_(means, grads, 1 - momentum)
        return torch.stack(torch._foreach_lerp(grads, means, momentum))
