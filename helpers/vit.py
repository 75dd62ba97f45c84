"""A Vision Transformer for small grey images (Dosovitskiy et al. 2021), short enough to read.

An image of 28×28 pixels is cut into 7×7 patches of 4×4; each patch becomes a token; the
tokens pass through pre-norm Transformer blocks (Xiong et al. 2020); their mean is classified.
Axes: B images, N tokens, W width, H heads of width D = W / H each.

Weights stay in float32. The arithmetic runs in ``dtype``: in bfloat16 on processors with
matrix units for it, where a product takes a quarter of the time or less.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Linear(nn.Linear):
    """A product in the dtype of the data; the weights, and so the optimizer, in float32."""

    def forward(self, x: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return F.linear(x, self.weight.to(x.dtype), bias)


class LayerNorm(nn.LayerNorm):
    """Layer normalisation with a gain and no shift, in the dtype of the data."""

    def __init__(self, width: int):
        super().__init__(width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.normalized_shape, self.weight.to(x.dtype))


class Attention(nn.Module):
    """Multi-head self-attention (Vaswani et al. 2017) whose size does not depend on ``heads``."""

    def __init__(self, *, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv = Linear(width, 3 * width, bias=False)
        self.out = Linear(width, width, bias=False)

    def weights_and_values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The attention weights (B·H, N, N), rows summing to 1, and the values (B·H, N, D)."""
        B, N, W = x.shape
        D = W // self.heads
        qkv = self.qkv(x).view(B, N, 3, self.heads, D)
        qkv = qkv.permute(2, 0, 3, 1, 4).reshape(3, B * self.heads, N, D)  # one copy for all
        q, k, v = qkv.unbind()
        scores = q * D**-0.5 @ k.mT  # (B·H, N, N)
        return scores.softmax(-1), v

    def forward(self, x: Tensor) -> Tensor:
        B, N, W = x.shape
        weights, v = self.weights_and_values(x)
        heads = (weights @ v).view(B, self.heads, N, W // self.heads)
        return self.out(heads.transpose(1, 2).reshape(B, N, W))  # heads side by side


class Block(nn.Module):
    """Attention mixes the tokens, then a two-layer network works on each token by itself.

    Both begin by adding nothing (Zhang et al. 2019, "Fixup"), so that at first a deep model
    is as easy to train as a shallow one.
    """

    def __init__(self, *, width: int, heads: int):
        super().__init__()
        self.norm1, self.norm2 = LayerNorm(width), LayerNorm(width)
        self.attention = Attention(width=width, heads=heads)
        self.up = Linear(width, 4 * width, bias=False)
        self.down = Linear(4 * width, width, bias=False)
        for last in (self.attention.out, self.down):
            nn.init.zeros_(last.weight)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class VisionTransformer(nn.Module):
    """Images (B, 28, 28) to class scores (B, classes), float32.

    In training, each batch shows only ``kept`` patches, drawn anew (PatchDropout, Liu et al.
    2023), which saves time; in evaluation mode all are shown. ``kept`` may be set anew at any
    time. ``heads`` must divide ``width``; it changes no parameter count. Raises ValueError if
    sizes do not fit together.
    """

    def __init__(
        self,
        *,
        layers: int,
        heads: int,
        width: int = 96,
        classes: int = 10,
        size: int = 28,
        patch: int = 4,
        kept: int | None = None,
        dtype: torch.dtype = torch.float32,
    ):
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} is not divisible by {heads} heads: try 96")
        if size % patch:
            raise ValueError(f"patches of {patch} pixels do not tile images of {size}: try 4")
        self.patch, self.grid, self.dtype = patch, size // patch, dtype
        self.kept = self.grid**2 if kept is None else kept
        if not 0 < self.kept <= self.grid**2:
            raise ValueError(f"cannot show {kept} of {self.grid**2} patches in training")
        self.embed = Linear(patch**2, width)
        self.positions = nn.Parameter(0.02 * torch.randn(self.grid**2, width))
        self.blocks = nn.ModuleList(Block(width=width, heads=heads) for _ in range(layers))
        self.norm = LayerNorm(width)
        self.classify = Linear(width, classes)

    def patches(self, images: Tensor) -> Tensor:
        """The patches as rows of pixels: (B, 28, 28) -> (B, 49, 16)."""
        B, n, p = len(images), self.grid, self.patch
        tiles = images.view(B, n, p, n, p).transpose(2, 3)  # (B, n, n, p, p)
        return tiles.reshape(B, n * n, p * p)

    def tokens(self, images: Tensor) -> Tensor:
        """What enters the first block: embedded patches plus their positions (B, N, W)."""
        patches, positions = self.patches(images.to(self.dtype)), self.positions
        if self.training and self.kept < len(positions):
            drawn = torch.randperm(len(positions), device=images.device)[: self.kept]
            patches, positions = patches[:, drawn], positions[drawn]
        return self.embed(patches) + positions.to(self.dtype)

    def forward(self, images: Tensor) -> Tensor:
        x = self.tokens(images)
        for block in self.blocks:
            x = block(x)
        return self.classify(self.norm(x).mean(1)).float()  # (B, N, W) -> (B, classes)


def parameter_count(*, layers: int, width: int, classes: int = 10, size=28, patch=4) -> int:
    """Parameters of a ``VisionTransformer``, for any number of heads.

    A block has four W² in attention, 2 · 4 W² in its network and two gains of W. Outside are
    the patch embedding with its shift, the positions, the last gain and the classifier.
    """
    block = 12 * width**2 + 2 * width
    outside = patch**2 + 1 + (size // patch) ** 2 + 1 + classes  # times width
    return layers * block + outside * width + classes


def product_operations(
    *, layers: int, width: int, classes: int = 10, size=28, patch=4, tokens: int | None = None
) -> int:
    """Additions and multiplications in the matrix products of one image's forward pass.

    ``tokens``, N, is by default the number of patches. Scores and weighted sums take N² W
    products each, whatever the number of heads is.
    """
    N = tokens or (size // patch) ** 2
    block = 12 * N * width**2 + 2 * N**2 * width
    return 2 * (layers * block + N * patch**2 * width + classes * width)


@torch.no_grad()
def attention_weights(model: VisionTransformer, images: Tensor) -> Tensor:
    """Who looks at whom in every layer: (layers, B, H, N, N), each row summing to 1."""
    x, found = model.tokens(images), []
    for block in model.blocks:
        weights, _ = block.attention.weights_and_values(block.norm1(x))
        found.append(weights.float().unflatten(0, (len(images), -1)))  # (B·H, …) -> (B, H, …)
        x = block(x)
    return torch.stack(found)
