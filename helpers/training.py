"""Training an image classifier that is a function of images (B, H, W): scores (B, classes).

All images lie in memory as one uint8 tensor, on the device that computes; a batch is cut out,
augmented and normalised there, so that no loader process is needed. One seed fixes the split,
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
class Recipe:
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

    def __post_init__(self):
        if self.rule not in ("muon", "adamw"):
            raise ValueError(f"rule {self.rule!r}: choose muon or adamw")


@dataclass(frozen=True)
class Epoch:
    """What is known after an epoch. ``seconds`` are spent training, not validating."""

    epoch: int
    loss: float  # mean over the training batches
    validation_loss: float
    validation_accuracy: float
    seconds: float


PIXEL_MEAN, PIXEL_STD = 0.286, 0.353  # of Fashion-MNIST's training images, black 0 to white 1


def split(count: int, held_out: int, *, seed: int) -> tuple[Tensor, Tensor]:
    """Row numbers to train on and ``held_out`` others to validate on, drawn by the seed.

    Raises ValueError if nothing is left to train on.
    """
    if not 0 < held_out < count:
        raise ValueError(f"cannot hold out {held_out} of {count} images: take fewer")
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    return order[held_out:], order[:held_out]


def normalise(images: Tensor) -> Tensor:
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


def make_optimizers(model: nn.Module, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the model and AdamW for all the rest, or AdamW for all.

    Inside means every linear layer but the first and the last, which touch pixels and classes
    (Jordan et al. 2024). Only weights of layers decay: gains, shifts and positions do not.
    """
    layers = [m.weight for m in model.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    inner = [w for w in layers[1:-1] if w.ndim == 2] if recipe.rule == "muon" else []
    outer = [w for w in layers if not any(w is other for other in inner)]
    known = {id(w) for w in layers}
    groups = [
        {"params": outer, "weight_decay": recipe.weight_decay},
        {"params": [p for p in model.parameters() if id(p) not in known]},
    ]
    adamw = torch.optim.AdamW(groups, lr=recipe.rate, weight_decay=0.0, fused=True)
    if not inner:
        return [adamw]
    decay, (_, dtype) = recipe.weight_decay, choose_device(inner[0].device.type)
    return [adamw, Muon(inner, rate=recipe.matrix_rate, weight_decay=decay, dtype=dtype)]


def batches(data: ImageSet, recipe: Recipe, generator: torch.Generator) -> Iterator[ImageSet]:
    """One pass over the data in random order, augmented; a rest smaller than a batch is left."""
    order = torch.randperm(len(data), generator=generator, device=data.labels.device)
    for rows in order.split(recipe.batch)[: len(data) // recipe.batch]:
        batch = data[rows]
        images = augment(
            batch.images, shift=recipe.shift, mirror=recipe.mirror, generator=generator
        )
        yield ImageSet(images, batch.labels)


@torch.no_grad()
def predict(model: nn.Module, images: Tensor, *, batch: int = 500) -> Tensor:
    """Scores (N, classes) of uint8 images (N, H, W), with the model in evaluation mode."""
    model.eval()
    return torch.cat([model(normalise(part)) for part in images.split(batch)])


def train(
    model: nn.Module,
    training: ImageSet,
    validation: ImageSet,
    *,
    recipe: Recipe,
    seed: int,
    begin: Callable[[int], None] = lambda number: None,
) -> list[Epoch]:
    """Train in place, and end with the weights of the epoch that validated best.

    ``begin`` is called before each epoch with its number, from 1. Raises ValueError for a batch
    larger than the training set, FloatingPointError when the loss is no longer finite.
    """
    steps = len(training) // recipe.batch
    if not steps:
        need = f"batches of {recipe.batch} need at least {recipe.batch} images"
        raise ValueError(f"{need}, not {len(training)}: take smaller ones")
    draws = torch.Generator(training.labels.device).manual_seed(seed)
    torch.manual_seed(seed)  # for what the model itself draws
    optimizers = make_optimizers(model, recipe)
    factor = lambda step: rate_factor((step + 0.5) / (recipe.epochs * steps), recipe.warmup)
    schedules = [LambdaLR(optimizer, factor) for optimizer in optimizers]

    history: list[Epoch] = []
    with tqdm(total=recipe.epochs * steps, desc="train", unit="batch", mininterval=1) as bar:
        for number in range(1, recipe.epochs + 1):
            begin(number)
            started, loss = _now(training), 0.0
            for batch in batches(training, recipe, draws):
                loss += train_step(model, batch, optimizers, recipe.smoothing)
                for schedule in schedules:
                    schedule.step()
                bar.update()
            mean_loss, seconds = float(loss) / steps, _now(training) - started
            if not math.isfinite(mean_loss):
                raise FloatingPointError(f"epoch {number} lost its way: try a lower rate")
            history.append(Epoch(number, mean_loss, *validate(model, validation), seconds))
            bar.set_postfix(validation=f"{history[-1].validation_accuracy:.1%}")
            if history[-1] is best_epoch(history):
                weights = copy.deepcopy(model.state_dict())
    model.load_state_dict(weights)
    return history


def train_step(
    model: nn.Module, batch: ImageSet, optimizers: list[torch.optim.Optimizer], smoothing: float
) -> Tensor:
    """One step down the gradient of the mean loss of a batch, which it returns."""
    model.train()
    scores = model(normalise(batch.images))
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


def _now(data: ImageSet) -> float:
    """Seconds on a clock that has waited for the device to finish."""
    if data.labels.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter()
