"""Training a Vision Transformer: images per second, data loading included, all on two threads.

The same architecture for all: patches of 4 × 4, width 64, 6 layers, 4 heads of 16, batches of
128 of the real images, mirrored at random, AdamW. The others get what their documentation
shows: torchvision's data set behind a DataLoader with two workers. They are no dependencies:
``make bench`` installs them from bench/requirements.lock.
"""

import os
import subprocess
import sys
import time

import torch
import torch.nn.functional as F

from helpers import vit_training
from helpers.data import fashion_mnist
from helpers.devices import choose_device, matrix_limit

from . import paired

STEPS, WARM, BATCH = 20, 4, 128
WIDTH, LAYERS, HEADS = 64, 6, 4
DEPTHS = (2, 4, 6, 8, 10)  # layers


def ours(layers: int = LAYERS) -> float:
    """Images per second of helpers.vit_training."""
    data = fashion_mnist("train", profile="full")
    images = vit_training.ImageSet(data.images, data.labels)
    _, dtype = choose_device("cpu")
    model = vit_training.VisionTransformer(layers=layers, heads=HEADS, width=WIDTH, dtype=dtype)
    how = vit_training.Hyperparameters(epochs=1, batch=BATCH, rule="adamw", shift=0)
    optimizers = vit_training.make_optimizers(model, how)
    batches = vit_training.batches(images, how, torch.Generator().manual_seed(0))
    return _rate(lambda: vit_training.train_step(model, next(batches), optimizers, 0.1))


def theirs(make_model) -> float:
    """Images per second of another library's model, trained as its users would."""
    from torchvision.transforms import v2

    data = fashion_mnist("train", profile="full")
    normalize = v2.Normalize([vit_training.PIXEL_MEAN], [vit_training.PIXEL_STD])
    to_float = v2.ToDtype(torch.float32, scale=True)
    change = v2.Compose([v2.RandomHorizontalFlip(), to_float, normalize])
    pictures = [(image[None], label) for image, label in zip(data.images, data.labels, strict=True)]
    loader = torch.utils.data.DataLoader(
        _Changed(pictures, change), BATCH, shuffle=True, num_workers=2
    )
    model, batches = make_model(), iter(loader)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)

    def step() -> None:
        images, labels = next(batches)
        loss = F.cross_entropy(model(images), labels, label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return _rate(step)


class _Changed(torch.utils.data.Dataset):
    def __init__(self, pictures: list, change) -> None:
        self.pictures, self.change = pictures, change

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, i: int) -> tuple:
        image, label = self.pictures[i]
        return self.change(image), label


def _rate(step) -> float:
    for _ in range(WARM):
        step()
    started = time.perf_counter()
    for _ in range(STEPS):
        step()
    return BATCH * STEPS / (time.perf_counter() - started)


def vit_pytorch():
    """Lucidrains' ViT with heads of 16, as the others have."""
    from vit_pytorch import ViT

    return ViT(image_size=28, patch_size=4, num_classes=10, dim=WIDTH, depth=LAYERS, heads=HEADS,
               dim_head=WIDTH // HEADS, mlp_dim=4 * WIDTH, channels=1, pool="mean")  # fmt: skip


def timm():
    """Hugging Face's pytorch-image-models."""
    from timm.models.vision_transformer import VisionTransformer

    return VisionTransformer(img_size=28, patch_size=4, in_chans=1, num_classes=10,
                             embed_dim=WIDTH, depth=LAYERS, num_heads=HEADS)  # fmt: skip


def torchvision():
    """torchvision's, whose first layer takes three channels: it gets one, repeated."""
    from torchvision.models.vision_transformer import VisionTransformer

    class Gray(VisionTransformer):
        def forward(self, x):
            return super().forward(x.expand(-1, 3, -1, -1))

    return Gray(image_size=28, patch_size=4, num_layers=LAYERS, num_heads=HEADS,
                hidden_dim=WIDTH, mlp_dim=4 * WIDTH, num_classes=10)  # fmt: skip


PEERS = {"vit-pytorch": vit_pytorch, "timm": timm, "torchvision": torchvision}


def main(rounds: int = 2) -> None:
    """All in turn, each in a process of its own; then our share of the machine's limit."""
    torch.set_num_threads(2)  # for the limit, too, whatever the machine has
    names = ["ours", *PEERS]
    contenders = {name: lambda name=name: _alone(name) for name in names}
    found = paired.in_turn(contenders | {"ours, two processes": _two_processes}, rounds)
    curve = [1 / _result(_start("ours", threads=2, layers=depth)) for depth in DEPTHS]
    grows = paired.grows("layers", DEPTHS, curve)
    what = "training a ViT (width 64, 6 layers)"
    rows = [
        paired.row(what, found, mine, peer, unit="images/s", growth=grows, goal="≥ 2.5 × the best")
        for mine in ("ours", "ours, two processes")
        for peer in PEERS
    ]
    for r, mine in zip(rows, ["one process"] * 3 + ["two processes of a thread"] * 3, strict=True):
        r["what"] += f", {mine}"
    arithmetic = 3 * vit_training.product_operations(layers=LAYERS, width=WIDTH)
    share = max(found["ours, two processes"]) * arithmetic / matrix_limit(*choose_device("cpu"))
    paired.save("vit", rows, share_of_matrix_product_limit=round(share, 3))


def _alone(name: str) -> float:
    return _result(_start(name, threads=2))


def _two_processes() -> float:
    return sum([_result(run) for run in [_start("ours", threads=1) for _ in range(2)]])


def _result(run: subprocess.Popen) -> float:
    """The number that a process prints last. Raises RuntimeError if it failed."""
    printed, _ = run.communicate()
    if run.returncode:
        raise RuntimeError(f"{' '.join(run.args)} failed: its message is above")
    return float(printed.split()[-1])


def _start(name: str, threads: int, layers: int = LAYERS) -> subprocess.Popen:
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    command = [sys.executable, "-m", "bench.vit", name, str(layers)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


if __name__ == "__main__":
    if sys.argv[1:]:
        torch.manual_seed(0)
        print(ours(int(sys.argv[2])) if sys.argv[1] == "ours" else theirs(PEERS[sys.argv[1]]))
    else:
        main()
