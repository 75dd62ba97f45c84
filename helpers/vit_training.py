"""A Vision Transformer for small gray images (Dosovitskiy et al. 2021), and how it is trained.

An image of 28×28 pixels is cut into 7×7 patches of 4×4; each patch becomes a token; the
tokens pass through pre-norm Transformer blocks (Xiong et al. 2020); their mean is classified.
Axes: B images, N tokens, W width, H heads of width D = W / H each. Weights stay in float32; the
arithmetic runs in ``dtype``: in bfloat16 on processors with instructions for it, where a product
takes a quarter of the time or less.

All images lie in memory as one uint8 tensor, on the device that computes; a batch is cut out,
augmented and normalized there, so that no loader process is needed. One seed fixes the split,
the order and the augmentation; with a seeded model a run on the CPU repeats bit for bit, as
long as the number of threads is the same.
"""

import copy
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from tqdm.auto import tqdm

from helpers.devices import choose_device
from helpers.muon import Muon

PATCH, GRID = 4, 7  # pixels along a patch, patches along an image of 28 pixels
PIXEL_MEAN, PIXEL_STD = 0.286, 0.353  # of Fashion-MNIST's training images, black 0 to white 1


class Linear(nn.Linear):
    """A product in the dtype of the data; the weights, and so the optimizer, in float32."""

    def forward(self, x: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return F.linear(x, self.weight.to(x.dtype), bias)


class LayerNorm(nn.LayerNorm):
    """Layer normalization with a gain and no shift, in the dtype of the data."""

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
    """Attention mixes the tokens, then a two-layer network works on each token by itself."""

    def __init__(self, *, width: int, heads: int):
        super().__init__()
        self.norm1, self.norm2 = LayerNorm(width), LayerNorm(width)
        self.attention = Attention(width=width, heads=heads)
        self.up = Linear(width, 4 * width, bias=False)
        self.down = Linear(4 * width, width, bias=False)
        for last in (self.attention.out, self.down):  # at the start a block adds nothing
            nn.init.zeros_(last.weight)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class VisionTransformer(nn.Module):
    """Images (B, 28, 28) to class scores (B, classes), float32.

    In training a batch shows only ``kept`` patches, drawn anew (PatchDropout, Liu et al. 2023);
    in evaluation mode all are shown. Raises ValueError where ``heads`` do not divide ``width``.
    """

    def __init__(self, *, layers, heads, width=96, classes=10, kept=GRID**2, dtype=torch.float32):
        super().__init__()
        if width % heads:
            raise ValueError(f"{heads} heads must divide the width, {width}")
        self.kept, self.dtype = kept, dtype
        self.embed = Linear(PATCH**2, width)
        self.positions = nn.Parameter(0.02 * torch.randn(GRID**2, width))
        self.blocks = nn.ModuleList(Block(width=width, heads=heads) for _ in range(layers))
        self.norm = LayerNorm(width)
        self.classify = Linear(width, classes)

    def patches(self, images: Tensor) -> Tensor:
        """The patches as rows of pixels: (B, 28, 28) -> (B, 49, 16)."""
        tiles = images.view(-1, GRID, PATCH, GRID, PATCH).transpose(2, 3)  # (B, 7, 7, 4, 4)
        return tiles.reshape(-1, GRID**2, PATCH**2)  # (B, 49, 16)

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


def copy_block(block: Block, layer: nn.TransformerEncoderLayer) -> None:
    """Give PyTorch's pre-norm encoder layer the weights of ``block``."""
    theirs, ours = layer.self_attn, block.attention
    pairs = [(layer.norm1, block.norm1), (layer.norm2, block.norm2), (theirs.out_proj, ours.out)]
    pairs += [(layer.linear1, block.up), (layer.linear2, block.down)]
    weights = [(t.weight, s.weight) for t, s in pairs]
    for target, source in [*weights, (theirs.in_proj_weight, ours.qkv.weight)]:
        target.data = source.data.clone()


def product_operations(*, layers: int, width: int, classes=10, tokens: int = GRID**2) -> int:
    """Additions and multiplications in the matrix products of one image's forward pass.

    Scores and weighted sums take N² W products each, whatever the number of heads is.
    """
    block = 12 * tokens * width**2 + 2 * tokens**2 * width
    return 2 * (layers * block + tokens * PATCH**2 * width + classes * width)


@torch.no_grad()
def attention_weights(model: VisionTransformer, images: Tensor) -> Tensor:
    """Who looks at whom in every layer: (layers, B, H, N, N), each row summing to 1."""
    x, found = model.tokens(images), []
    for block in model.blocks:
        weights, _ = block.attention.weights_and_values(block.norm1(x))
        found.append(weights.float().unflatten(0, (len(images), -1)))  # (B·H, …) -> (B, H, …)
        x = block(x)
    return torch.stack(found)


@dataclass(frozen=True)
class ImageSet:
    """``images``, uint8 (N, H, W), and ``labels``, int64 (N,)."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows: Tensor) -> "ImageSet":
        return ImageSet(self.images[rows], self.labels[rows])

    def to(self, device: str) -> "ImageSet":
        return ImageSet(self.images.to(device), self.labels.to(device))


@dataclass(frozen=True, kw_only=True)
class Hyperparameters:
    """How to train. Rates follow a linear warm-up, then half a cosine down to zero."""

    epochs: int
    batch: int = 128
    rule: str = "muon"  # for the matrices inside the model: muon or adamw
    matrix_rate: float = 0.01  # of Muon (Jordan et al. 2024), at its peak
    rate: float = 2e-3  # of AdamW (Loshchilov & Hutter 2019), at its peak
    weight_decay: float = 0.05  # of the weights of layers
    warmup: float = 0.1  # share of all steps
    smoothing: float = 0.1  # of labels (Szegedy et al. 2016)
    shift: int = 2  # largest shift of a training image, in pixels each way
    mirror: bool = True  # whether half of the training images are mirrored


@dataclass(frozen=True)
class Epoch:
    """What is known after an epoch. ``seconds`` are spent training, not validating."""

    epoch: int
    loss: float  # mean over the training batches
    validation_loss: float
    validation_accuracy: float
    seconds: float


def split(count: int, held_out: int, *, seed: int) -> tuple[Tensor, Tensor]:
    """Row numbers to train on and ``held_out`` others to validate on, drawn by the seed."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    return order[held_out:], order[:held_out]


def normalize(images: Tensor) -> Tensor:
    """Pixels (B, H, W), uint8, as float32 of mean 0 and variance 1 over the data set."""
    return (images.float() / 255 - PIXEL_MEAN) / PIXEL_STD


def augment(images: Tensor, *, shift: int, mirror: bool, generator: torch.Generator) -> Tensor:
    """Each image (B, H, W) mirrored or not, and shifted by up to ``shift`` pixels each way.

    Black pixels move in. The whole batch is one look-up in the padded images.
    """
    B, H, W = images.shape
    draw = {"generator": generator, "device": images.device}
    rows = torch.arange(H, device=images.device).repeat(B, 1)  # (B, H)
    columns = torch.arange(W, device=images.device).repeat(B, 1)  # (B, W)
    if mirror:
        flipped = torch.rand(B, 1, **draw) < 0.5
        columns = torch.where(flipped, W - 1 - columns, columns)
    down, right = torch.randint(2 * shift + 1, (2, B, 1), **draw)
    padded = F.pad(images, (shift,) * 4)  # (B, H + 2·shift, W + 2·shift)
    image = torch.arange(B, device=images.device)[:, None, None]
    return padded[image, (rows + down)[:, :, None], (columns + right)[:, None, :]]


def rate_factor(progress: float, warmup: float) -> float:
    """The learning rate as a share of its peak, for ``progress`` from 0 to 1."""
    if progress < warmup:
        return progress / warmup
    return 0.5 + 0.5 * math.cos(math.pi * (progress - warmup) / (1 - warmup))


def make_optimizers(model: nn.Module, how: Hyperparameters) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the model and AdamW for all the rest, or AdamW for all.

    Inside means every linear layer but the first and the last, which touch pixels and classes
    (Jordan et al. 2024). Only weights of layers decay: gains, shifts and positions do not.
    """
    layers = [m.weight for m in model.modules() if isinstance(m, nn.Linear)]
    inner = layers[1:-1] if how.rule == "muon" else []
    outer = [w for w in layers if not any(w is other for other in inner)]
    known = {id(w) for w in layers}
    groups = [
        {"params": outer, "weight_decay": how.weight_decay},
        {"params": [p for p in model.parameters() if id(p) not in known]},
    ]
    adamw = torch.optim.AdamW(groups, lr=how.rate, weight_decay=0.0, fused=True)
    if not inner:
        return [adamw]
    decay, (_, dtype) = how.weight_decay, choose_device(inner[0].device.type)
    return [adamw, Muon(inner, rate=how.matrix_rate, weight_decay=decay, dtype=dtype)]


def batches(data: ImageSet, how: Hyperparameters, generator: torch.Generator) -> Iterator[ImageSet]:
    """One pass over the data in random order, augmented; a rest smaller than a batch is left."""
    order = torch.randperm(len(data), generator=generator, device=data.labels.device)
    for rows in order.split(how.batch)[: len(data) // how.batch]:
        batch = data[rows]
        images = augment(batch.images, shift=how.shift, mirror=how.mirror, generator=generator)
        yield ImageSet(images, batch.labels)


@torch.no_grad()
def predict(model: nn.Module, images: Tensor, *, batch: int = 500) -> Tensor:
    """Scores (N, classes) of uint8 images (N, H, W), with the model in evaluation mode."""
    model.eval()
    return torch.cat([model(normalize(part)) for part in images.split(batch)])


def train(
    model: nn.Module,
    training: ImageSet,
    validation: ImageSet,
    *,
    how: Hyperparameters,
    seed: int,
    begin: Callable[[int], None] = lambda number: None,
) -> list[Epoch]:
    """Train in place, and end with the weights of the epoch that validated best.

    ``begin`` is called before each epoch with its number, from 1; a batch must not be larger than
    the training set. Raises FloatingPointError when the loss is no longer finite.
    """
    steps = len(training) // how.batch
    draws = torch.Generator(training.labels.device).manual_seed(seed)
    torch.manual_seed(seed)  # for what the model itself draws
    optimizers = make_optimizers(model, how)
    factor = lambda step: rate_factor((step + 0.5) / (how.epochs * steps), how.warmup)
    schedules = [LambdaLR(optimizer, factor) for optimizer in optimizers]

    history: list[Epoch] = []
    with tqdm(total=how.epochs * steps, desc="train", unit="batch", mininterval=1) as bar:
        for number in range(1, how.epochs + 1):
            begin(number)
            started, loss = time.perf_counter(), 0.0
            for batch in batches(training, how, draws):
                loss += train_step(model, batch, optimizers, how.smoothing)
                for schedule in schedules:
                    schedule.step()
                bar.update()
            mean_loss = float(loss) / steps  # waits for the device
            seconds = time.perf_counter() - started
            if not math.isfinite(mean_loss):
                raise FloatingPointError(f"epoch {number} lost its way: try a lower rate")
            history.append(Epoch(number, mean_loss, *validate(model, validation), seconds))
            bar.set_postfix(validation=f"{history[-1].validation_accuracy:.1%}")
            if history[-1] is best_epoch(history):
                weights = copy.deepcopy(model.state_dict())
    model.load_state_dict(weights)
    return history


def train_step(model: nn.Module, batch: ImageSet, optimizers: list, smoothing: float) -> Tensor:
    """One step down the gradient of the mean loss of a batch, which it returns."""
    model.train()
    scores = model(normalize(batch.images))
    loss = F.cross_entropy(scores, batch.labels, label_smoothing=smoothing)
    for optimizer in optimizers:
        optimizer.zero_grad()
    loss.backward()
    for optimizer in optimizers:
        optimizer.step()
    return loss.detach()


def validate(model: nn.Module, data: ImageSet) -> tuple[float, float]:
    """Mean cross-entropy, without smoothing, and accuracy: total correct over N."""
    scores = predict(model, data.images)
    correct = (scores.argmax(1) == data.labels).sum().item()
    return F.cross_entropy(scores, data.labels).item(), correct / len(data)


def best_epoch(history: list[Epoch]) -> Epoch:
    """The epoch with the highest validation accuracy; the first of them if there are several."""
    return max(history, key=lambda epoch: epoch.validation_accuracy)
