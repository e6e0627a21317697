"""Encoder and heads -> what is served of a prompt: token ids in, probabilities out.

One graph, so that one call tells all. Here the sensitivity gets its floor too: a prompt is at
least as sensitive as what it begins with, and as each window of it, less a margin.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.training import complexity, stored
from models.training.heads import LENGTH_CENTRE, joined, pair_bucket
from models.training.model import Encoder


@dataclass(frozen=True)
class Part:
    """A part of a text whose own sensitivity, less a margin, the whole's cannot fall below.

    Args:
        least: tokens that it needs.
        margin: log-odds.
    """

    least: int
    margin: float


#: The encoder is causal: what follows a beginning does not change what it says. So text added to a
#: prompt lowers its sensitivity by no more than the margin, as long as the prompt is in the head
#: that is read of a long text. Of windows that is a rule of thumb: they see what is before them.
BEGINNING, WINDOW = Part(least=8, margin=1.5), Part(least=24, margin=1.5)
WIDE, STRIDE = 32, 16  # tokens of a window, and between two windows' starts


class Served(nn.Module):
    """What is served: every head over the encoder's vector and the n-grams, as probabilities."""

    def __init__(self, encoder: Encoder, heads: Mapping[str, Any]) -> None:
        super().__init__()
        self.encoder = encoder
        self.widths = list(stored.WIDTHS.values())
        linear = [heads[name] for name in stored.WIDTHS]
        deep = heads["sensitivity"]
        linear[list(stored.WIDTHS).index("sensitivity")] = deep.linear
        head = joined(linear)  # K columns, of all heads
        largest = np.abs(head.over_grams).max(0) + 1e-12
        self.over_state = parameter(head.over_state)  # (C + 2, K)
        # int8 has one scale for the table: each column is stored up to 1, and scaled when summed
        self.over_grams = nn.Embedding.from_pretrained(torch.from_numpy(head.over_grams / largest))
        self.place = sum(self.widths[: list(stored.WIDTHS).index("sensitivity")])
        self.alone = parameter(head.over_state[:, self.place : self.place + 1])
        self.largest, self.bias = parameter(largest), parameter(head.bias)
        self.inward, self.unit_bias = parameter(deep.hidden.inward), parameter(deep.hidden.bias)
        self.outward = parameter(deep.hidden.outward)

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
        """(B, T) int64 ids and mask -> the encoder's (B, C) states, and each head's (B, ...)."""
        here = mask[:, :, None].to(self.bias.dtype)  # (B, T, 1)
        states = self.encoder.states(ids, mask) * here  # (B, T, C)
        before = F.pad(ids[:, :-1], (1, 0), value=1)  # 1 opens a text
        grams = self.over_grams(ids) + self.over_grams(pair_bucket(before, ids))
        grams = grams * here * self.largest  # (B, T, K)
        tokens = here.sum(1).clamp(min=1.0)
        seen = with_length(states.sum(1) / tokens, tokens)
        columns = seen @ self.over_state + grams.sum(1) / tokens.sqrt() + self.bias
        parts = dict(zip(stored.WIDTHS, columns.split(self.widths, dim=1), strict=True))
        whole = parts["sensitivity"][:, 0] + self.nets(seen)
        floor = self.floor(states, grams[:, :, self.place : self.place + 1], mask)
        return (
            seen[:, : self.encoder.shape.dim],
            mixed(parts["complexity"]),
            torch.sigmoid(torch.maximum(whole, floor)),
            torch.softmax(parts["kinds"], dim=-1),
            torch.softmax(parts["task"], dim=-1),
            torch.sigmoid(parts["dissatisfaction"][:, 0]),
        )

    def nets(self, seen: Tensor) -> Tensor:
        return (torch.tanh(seen @ self.inward + self.unit_bias) @ self.outward)[..., 0]

    def floor(self, states: Tensor, grams: Tensor, mask: Tensor) -> Tensor:
        """(B, T, C) states and (B, T, 1) grams -> (B,) log-odds below which a text cannot fall.

        Of what it begins with, whatever follows; and of what stands in it, whatever is around.
        """
        here = mask[:, :, None].to(states.dtype)
        begun = self.sensitivity(states.cumsum(1), grams.cumsum(1), here.cumsum(1), BEGINNING)
        spans = windows(mask).to(states.dtype)  # (B, W, T)
        within = self.sensitivity(spans @ states, spans @ grams, spans @ here, WINDOW)
        return torch.maximum(begun, within)

    def sensitivity(self, states: Tensor, grams: Tensor, tokens: Tensor, part: Part) -> Tensor:
        """Sums over W parts of a text -> the gravest part's log-odds less its margin, (B,)."""
        many = tokens.clamp(min=1.0)
        seen = with_length(states / many, many)
        linear = seen @ self.alone + grams / many.sqrt() + self.bias[self.place]
        said = linear[:, :, 0] + self.nets(seen) - part.margin
        return torch.where(tokens[:, :, 0] >= part.least, said, torch.full_like(said, -30)).amax(1)


def with_length(state: Tensor, tokens: Tensor) -> Tensor:
    """(..., C) and (..., 1) -> (..., C + 2), as heads.features_of makes it."""
    length = tokens.log() - LENGTH_CENTRE
    return torch.cat((state, length, length**2), dim=-1)


def windows(mask: Tensor) -> Tensor:
    """(B, T) mask -> (B, W, T): 1 where a token is in a window, one each STRIDE tokens."""
    place = torch.arange(mask.shape[1], device=mask.device)
    after = place[None, :] - place[::STRIDE, None]  # (W, T)
    return ((after >= 0) & (after < WIDE)).to(mask.dtype)[None] * mask[:, None]


def parameter(values: Any) -> nn.Parameter:
    return nn.Parameter(torch.from_numpy(np.asarray(values, np.float32)))


def mixed(columns: Tensor) -> Tensor:
    """(B, WIDTH) columns -> (B, 5): `complexity.probabilities` in torch."""
    gate = torch.softmax(columns[:, complexity.GATE], dim=-1)
    kinds = torch.softmax(columns[:, complexity.OPEN], dim=-1)
    order = torch.from_numpy(complexity.COMPLEXITIES)
    level, problem = (
        torch.softmax(complexity.bell(columns[:, place], order), dim=-1)
        for place in (complexity.EXAM, complexity.PROBLEM)
    )
    return gate[:, :1] * kinds + gate[:, 1:2] * level + gate[:, 2:] * problem
