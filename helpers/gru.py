"""A bidirectional GRU (Cho et al. 2014) for padded rows that trains fast on a processor.

It is PyTorch's ``nn.GRU``, weights and numbers alike, but read another way: both directions
take each step of time together, and the backward pass is written out, so that a step's
gradient is three small operations and the weights' is one product for many steps.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from helpers.text_encoder import mask

HOLD = 1e4  # the sigmoid of this, whatever is added, is 1
STEPS = 16  # of time whose gradients fit a processor's cache


class Recurrence(torch.autograd.Function):
    """States of GRUs side by side: (D, T, B, H), all beginning at zero.

    Of x, ``inputs`` (D, T, B, 3H) are the parts of the gates r, z and n that do not depend on
    the state h; ``weight`` (D, 3H, H) and ``bias`` (D, 3H) make the parts that do:

        r = σ(x_r + g_r),  z = σ(x_z + g_z),  n = tanh(x_n + r g_n),  h′ = (1 − z) n + z h
        where g = W h + b
    """

    @staticmethod
    def forward(ctx, inputs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        directions, steps, rows, width = inputs.shape
        hidden = width // 3
        gates = torch.empty_like(inputs)  # r, z, n
        inner = inputs.new_empty(directions, steps, rows, hidden)  # g_n
        states = inputs.new_zeros(directions, steps + 1, rows, hidden)
        bias = bias[:, None].expand(-1, rows, -1).contiguous()  # (D, B, 3H)
        weight_t = weight.mT.contiguous()  # (D, H, 3H)
        g = torch.empty_like(bias)
        for t in range(steps):
            x, h, (r, z, n) = inputs[:, t], states[:, t], gates[:, t].split(hidden, -1)
            torch.baddbmm(bias, h, weight_t, out=g)
            torch.add(x[..., :-hidden], g[..., :-hidden], out=gates[:, t, :, :-hidden]).sigmoid_()
            inner[:, t] = g[..., -hidden:]
            torch.addcmul(x[..., -hidden:], r, inner[:, t], out=n).tanh_()
            torch.lerp(n, h, z, out=states[:, t + 1])
        ctx.save_for_backward(gates, inner, states, weight)
        return states[:, 1:]

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        gates, inner, states, weight = ctx.saved_tensors
        hidden = weight.shape[-1]
        to_inputs = torch.empty_like(gates)
        to_weight = torch.zeros_like(weight, dtype=torch.promote_types(weight.dtype, torch.float32))
        to_bias = to_weight.new_zeros(weight.shape[:-1])
        to_state = torch.zeros_like(states[:, 0])
        for part in reversed(range(0, grad.shape[1], STEPS)):
            block = slice(part, part + STEPS)
            (r, z, n), before = gates[:, block].split(hidden, -1), states[:, :-1][:, block]
            by_n = (1 - z) * (1 - n * n)  # ∂h′/∂(what tanh gets), and so on
            slopes = [by_n * inner[:, block] * (r - r * r), (before - n) * (z - z * z), by_n * r]
            slopes = torch.stack(slopes, dim=-2)  # of g: (D, steps, B, 3, H)
            to_g, total = torch.empty_like(slopes), torch.empty_like(before)
            for t in reversed(range(slopes.shape[1])):
                torch.add(to_state, grad[:, part + t], out=total[:, t])
                torch.mul(slopes[:, t], total[:, t, :, None], out=to_g[:, t])
                passed = total[:, t] * z[:, t]
                to_state = torch.baddbmm(passed, to_g[:, t].flatten(-2), weight)  # (D, B, H)
            rows = to_g.flatten(-2).flatten(1, 2)  # (D, steps · B, 3H)
            to_weight += rows.mT @ before.flatten(1, 2)
            to_bias += rows.sum(1, dtype=to_bias.dtype)
            to_inputs[:, block] = to_g.flatten(-2)
            torch.mul(total, by_n, out=to_inputs[:, block, :, -hidden:])  # x_n is outside of r g_n
        return to_inputs, to_weight.to(weight.dtype), to_bias.to(weight.dtype)


class BidirectionalGRU(nn.GRU):
    """``nn.GRU`` for padded rows, in both directions, that padding leaves as it is.

    Where a row has ended the update gate z is held at 1: h′ = h. So the forward direction
    ends in the state after its last token, and the backward one, which meets the padding
    first, still has its initial state at the row's first.
    """

    def __init__(self, *, width: int, hidden: int, layers: int, dropout: float):
        dropout = dropout if layers > 1 else 0.0  # it is between layers
        how = {"batch_first": True, "bidirectional": True, "dropout": dropout}
        super().__init__(width, hidden, num_layers=layers, **how)

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs (B, T, 2·hidden) and the last layer's final states (B, 2·hidden).

        ``x`` is (B, T, width), ``lengths`` (B,). In autocast a processor computes all in its
        dtype; a GPU takes float32, since float16's gradients vanish, and PyTorch's own way.
        """
        kind = x.device.type
        chosen = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
        with torch.autocast(kind, enabled=False):
            if kind == "cuda":
                return self.packed(x.float(), lengths)
            x = x.transpose(0, 1).to(chosen)  # (T, B, width)
            padding = ~mask(lengths, len(x)).T  # (T, B)
            padding = torch.stack([padding, padding.flip(0)])[..., None]  # (2, T, B, 1)
            for layer in range(self.num_layers):
                x = F.dropout(x, self.dropout, self.training) if layer else x
                ahead, back = self.read(layer, x, padding)  # (T, B, hidden), back: last step first
                x = torch.cat([ahead, back.flip(0)], dim=-1)
        return x.transpose(0, 1), torch.cat([ahead[-1], back[-1]], dim=-1)

    def read(self, layer: int, x: Tensor, padding: Tensor) -> Tensor:
        """States (2, T, B, hidden) of a layer, in the order in which each direction reads x."""
        input_weight, input_bias, weight, bias = (
            torch.stack([getattr(self, f"{name}_l{layer}{way}") for way in ("", "_reverse")])
            .to(x.dtype)
            for name in ("weight_ih", "bias_ih", "weight_hh", "bias_hh")
        )  # fmt: skip
        both = torch.stack([x, x.flip(0)]).flatten(1, 2)  # (2, T · B, width)
        inputs = torch.baddbmm(input_bias[:, None], both, input_weight.mT)
        inputs = inputs.unflatten(1, x.shape[:2])  # (2, T, B, 3 · hidden)
        update = inputs[..., self.hidden_size : 2 * self.hidden_size]
        update.masked_fill_(padding, HOLD)
        return Recurrence.apply(inputs, weight, bias)

    def packed(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """The same by PyTorch's own way, a packed sequence; outputs are 0 over padding."""
        rows = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
        outputs, final = super().forward(rows)  # final: (2 · layers, B, hidden)
        outputs, _ = pad_packed_sequence(outputs, batch_first=True, total_length=x.shape[1])
        return outputs, torch.cat([final[-2], final[-1]], dim=-1)
