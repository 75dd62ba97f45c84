"""Training a Vision Transformer: images per second, data loading included, all on two threads.

The same architecture for all: patches of 4 × 4, width 64, 6 layers, 4 heads of 16, batches of
128 of the real images, mirrored at random, AdamW. The others get what their documentation
shows: a data set behind a DataLoader, here with a worker per thread. They are no dependencies:
``make bench`` installs them from bench/requirements.lock.
"""

from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pkgutil import resolve_name

import torch
import torch.nn.functional as F
from torch.utils.benchmark import Timer
from torch.utils.data import DataLoader, default_collate

from helpers import vit_training
from helpers.data import fashion_mnist
from helpers.devices import choose_device

from . import paired

STEPS, WARM, BATCH = 20, 4, 128
WIDTH, LAYERS, HEADS = 64, 6, 4
DEPTHS = (2, 4, 6, 8, 10)  # layers
PEERS = {  # where the class is, and how it calls our architecture
    "vit-pytorch": ("vit_pytorch:ViT", {
        "image_size": 28, "patch_size": 4, "channels": 1, "num_classes": 10, "dim": WIDTH,
        "depth": LAYERS, "heads": HEADS, "dim_head": WIDTH // HEADS, "mlp_dim": 4 * WIDTH,
        "pool": "mean"}),
    "timm": ("timm.models.vision_transformer:VisionTransformer", {
        "img_size": 28, "patch_size": 4, "in_chans": 1, "num_classes": 10, "embed_dim": WIDTH,
        "depth": LAYERS, "num_heads": HEADS}),
    "torchvision": ("torchvision.models.vision_transformer:VisionTransformer", {
        "image_size": 28, "patch_size": 4, "num_classes": 10, "hidden_dim": WIDTH,
        "num_layers": LAYERS, "num_heads": HEADS, "mlp_dim": 4 * WIDTH}),
}  # fmt: skip


def ours(layers: int) -> float:
    """Images per second of helpers.vit_training."""
    data = fashion_mnist("train", profile="full")
    images = vit_training.ImageSet(data.images, data.labels)
    _, dtype = choose_device("cpu")
    model = vit_training.VisionTransformer(layers=layers, heads=HEADS, width=WIDTH, dtype=dtype)
    how = vit_training.Hyperparameters(epochs=1, batch=BATCH, rule="adamw", shift=0)
    optimizers = vit_training.make_optimizers(model, how)
    batches = vit_training.batches(images, how, torch.Generator().manual_seed(0))
    return _rate(lambda: vit_training.train_step(model, next(batches), optimizers, 0.1))


def theirs(name: str) -> float:
    """Images per second of another library's model, trained as its users would."""
    from torchvision.transforms import v2

    data = fashion_mnist("train", profile="full")
    normalize = v2.Normalize([vit_training.PIXEL_MEAN], [vit_training.PIXEL_STD])
    to_float = v2.ToDtype(torch.float32, scale=True)
    change = v2.Compose([v2.RandomHorizontalFlip(), to_float, normalize])
    pictures = [(image[None], label) for image, label in zip(data.images, data.labels, strict=True)]
    how = {"shuffle": True, "num_workers": torch.get_num_threads()}
    loader = DataLoader(pictures, BATCH, collate_fn=partial(_changed, change), **how)
    where, architecture = PEERS[name]
    model, batches = resolve_name(where)(**architecture), iter(loader)
    if name == "torchvision":  # it is made for three channels
        model.conv_proj = torch.nn.Conv2d(1, WIDTH, 4, stride=4)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)

    def step() -> None:
        images, labels = next(batches)
        loss = F.cross_entropy(model(images), labels, label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return _rate(step)


def _changed(change, pictures: list) -> list[torch.Tensor]:
    return default_collate([(change(image), label) for image, label in pictures])


def _rate(step) -> float:
    for _ in range(WARM):
        step()
    return BATCH * STEPS / paired.seconds(lambda: [step() for _ in range(STEPS)])


def alone(name: str, layers: int = LAYERS, *, processes: int = 1) -> float:
    """Images per second in fresh processes that share two threads, all of them together."""
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        runs = [pool.submit(_alone, name, layers, 2 // processes) for _ in range(processes)]
        return sum(run.result() for run in runs)


def _alone(name: str, layers: int, threads: int) -> float:
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    return theirs(name) if name in PEERS else ours(layers)


def product_limit() -> float:
    """Operations per second in a product of two large matrices on two threads, at best."""
    a = torch.randn(1024, 1024, dtype=choose_device("cpu")[1])
    product = Timer("a @ a", globals={"a": a}, num_threads=2).blocked_autorange(min_run_time=1)
    return 2 * 1024**3 / min(product.times)


def main(rounds: int = 2) -> None:
    """All in turn, each in processes of its own; then our share of the machine's limit."""
    growth = paired.grows("layers", DEPTHS, [1 / alone("ours", depth) for depth in DEPTHS])
    rows = []
    for processes, setting in ((1, "one process"), (2, "two processes of a thread")):
        ways = {name: partial(alone, name, processes=processes) for name in ("ours", *PEERS)}
        found = paired.in_turn(ways, rounds)
        what = f"training a ViT (width {WIDTH}, {LAYERS} layers), {setting}"
        how = {"unit": "images/s", "growth": growth}
        rows += [paired.row(what, found, "ours", name, **how) for name in PEERS]
    arithmetic = 3 * vit_training.product_operations(layers=LAYERS, width=WIDTH)
    share = max(found["ours"]) * arithmetic / product_limit()  # of two processes
    paired.save("vit", rows, share_of_matrix_product_limit=round(share, 3))
