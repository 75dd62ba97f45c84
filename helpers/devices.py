"""Where to compute, and in which type of numbers."""

import torch


def choose_device(name: str = "auto") -> tuple[str, torch.dtype]:
    """The device to compute on, and the dtype in which it multiplies matrices fastest.

    Processors without instructions for bfloat16 emulate it slowly, so they get float32.
    Raises ValueError if a GPU is asked for and there is none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("device = 'cuda', but PyTorch finds no GPU: take 'auto' or 'cpu'")
    device = "cuda" if name != "cpu" and torch.cuda.is_available() else "cpu"
    if device == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        has = torch.cpu.get_capabilities()
        fast = has.get("amx_bf16", False) or has.get("avx512_bf16", False)
    return device, torch.bfloat16 if fast else torch.float32


def describe(device: str, dtype: torch.dtype) -> str:
    """The device in words, for the stamp: ``cpu, 2 threads, bfloat16``."""
    kind = str(dtype).removeprefix("torch.")
    if device == "cuda":
        return f"{torch.cuda.get_device_name()}, {kind}"
    threads = torch.get_num_threads()
    return f"cpu, {threads} thread{'s' * (threads > 1)}, {kind}"
