"""Mistral's decoder, small: token ids -> one vector a prompt. heads.py reads it.

RMSNorm, rotary positions, grouped-query attention over a sliding window, SwiGLU.
Sources: Jiang et al. 2023 (Mistral 7B, arXiv:2310.06825) for the block; Su et al. 2021
(arXiv:2104.09864) for the rotation.

Shapes: B prompts, T tokens, C hidden, H query heads, G key/value heads, D = C / H.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Shape:
    """The architecture; names are Mistral's."""

    vocab_size: int = 32_768
    dim: int = 256
    n_layers: int = 1
    n_heads: int = 8
    n_kv_heads: int = 2
    hidden_dim: int = 1_024
    sliding_window: int = 128
    rope_theta: float = 10_000.0
    norm_eps: float = 1e-5
    dropout: float = 0.0


class RMSNorm(nn.Module):
    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:  # (B, T, C)
        # a division, not a product with rsqrt: ONNX Runtime makes one node of just this
        return x / torch.sqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * self.weight


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:  # (B, T, H, D), (T, D/2)
    one, two = x.chunk(2, dim=-1)
    cos, sin = cos[None, :, None, :], sin[None, :, None, :]
    return torch.cat((one * cos - two * sin, two * cos + one * sin), dim=-1)


class Attention(nn.Module):
    def __init__(self, s: Shape) -> None:
        super().__init__()
        self.n_heads, self.n_kv_heads, self.head_dim = s.n_heads, s.n_kv_heads, s.dim // s.n_heads
        self.wq = nn.Linear(s.dim, s.n_heads * self.head_dim, bias=False)
        self.wk = nn.Linear(s.dim, s.n_kv_heads * self.head_dim, bias=False)
        self.wv = nn.Linear(s.dim, s.n_kv_heads * self.head_dim, bias=False)
        self.wo = nn.Linear(s.n_heads * self.head_dim, s.dim, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, bias: Tensor) -> Tensor:
        b, t, _ = x.shape
        q = rotate(self.wq(x).view(b, t, self.n_heads, self.head_dim), cos, sin)
        k = rotate(self.wk(x).view(b, t, self.n_kv_heads, self.head_dim), cos, sin)
        v = self.wv(x).view(b, t, self.n_kv_heads, self.head_dim)
        # each key/value head serves a group of H / G query heads
        q = q.view(b, t, self.n_kv_heads, -1, self.head_dim).permute(0, 2, 3, 1, 4)
        k = k.permute(0, 2, 3, 1)[:, :, None]  # (B, G, 1, D, T)
        v = v.permute(0, 2, 1, 3)[:, :, None]  # (B, G, 1, T, D)
        scores = q @ k * self.head_dim**-0.5 + bias  # (B, G, H/G, T, T)
        out = torch.softmax(scores, dim=-1) @ v
        return self.wo(out.permute(0, 3, 1, 2, 4).reshape(b, t, -1))


class FeedForward(nn.Module):
    def __init__(self, s: Shape) -> None:
        super().__init__()
        self.w1 = nn.Linear(s.dim, s.hidden_dim, bias=False)
        self.w2 = nn.Linear(s.hidden_dim, s.dim, bias=False)
        self.w3 = nn.Linear(s.dim, s.hidden_dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.w2(F.silu(self.w1(x)) * self.w3(x))


class Block(nn.Module):
    def __init__(self, s: Shape) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(s.dim, s.norm_eps)
        self.attention = Attention(s)
        self.ffn_norm = RMSNorm(s.dim, s.norm_eps)
        self.feed_forward = FeedForward(s)
        self.dropout = nn.Dropout(s.dropout)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, bias: Tensor) -> Tensor:
        x = x + self.dropout(self.attention(self.attention_norm(x), cos, sin, bias))
        return x + self.dropout(self.feed_forward(self.ffn_norm(x)))


class Encoder(nn.Module):
    """Token ids -> the mean of the last layer's states, (B, C)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.tok_embeddings = nn.Embedding(shape.vocab_size, shape.dim)
        self.layers = nn.ModuleList(Block(shape) for _ in range(shape.n_layers))
        self.norm = RMSNorm(shape.dim, shape.norm_eps)
        self.dropout = nn.Dropout(shape.dropout)
        for name, weight in self.named_parameters():
            if weight.dim() > 1:
                onto_stream = name.endswith(("wo.weight", "w2.weight"))
                scale = (2 * shape.n_layers) ** -0.5 if onto_stream else 1.0
                nn.init.normal_(weight, std=0.02 * scale)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """ids (B, T) int64; mask (B, T) int64, 1 for a token and 0 for padding."""
        return self.pooled(self.states(ids, mask), mask)

    def states(self, ids: Tensor, mask: Tensor) -> Tensor:
        """-> the last layer's state at each token, (B, T, C)."""
        position = torch.arange(ids.shape[1], device=ids.device)  # (T,)
        half = self.shape.dim // self.shape.n_heads // 2
        frequency = self.shape.rope_theta ** (-torch.arange(half, device=ids.device) / half)
        angle = position[:, None].float() * frequency[None, :]
        seen = self.sees(position[:, None] - position[None, :])  # (T, T): query minus key
        bias = torch.where(seen, 0.0, -1e4)[None, None, None]
        x = self.dropout(self.tok_embeddings(ids))
        for layer in self.layers:
            x = layer(x, angle.cos(), angle.sin(), bias)
        return self.norm(x)

    def sees(self, distance: Tensor) -> Tensor:
        """Whether a token sees another that is so many places before it."""
        return (distance >= 0) & (distance < self.shape.sliding_window)

    def pooled(self, x: Tensor, mask: Tensor) -> Tensor:  # (B, T, C), (B, T) -> (B, C)
        weight = mask[:, :, None].to(x.dtype)
        return (x * weight).sum(1) / weight.sum(1).clamp(min=1.0)
