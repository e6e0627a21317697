"""Mistral's v3 SentencePiece model (in `mistral-common`, Apache-2.0) -> a `tokenizers` JSON.

    python -m models.training.tokenizer --out models/classifier/tokenizer.json

The vocabulary is kept whole: 32,768 pieces with byte fallback. Merges are rebuilt from the
pieces' scores; `--check` proves identical ids against SentencePiece on a file of texts.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import mistral_common
from sentencepiece import SentencePieceProcessor
from tokenizers import Tokenizer, models, normalizers


def source_model() -> Path:
    """The v3 instruct tokenizer's file inside of the installed package."""
    folder = Path(mistral_common.__file__).parent / "data"
    return next(iter(sorted(folder.glob("mistral_instruct_tokenizer_240323.model.v3"))))


def convert(pieces: SentencePieceProcessor) -> Tokenizer:
    """A SentencePiece BPE model -> the same byte-pair merges, in order of the pieces' scores."""
    vocab = {pieces.id_to_piece(i): i for i in range(pieces.vocab_size())}
    scored: list[tuple[float, int, int, str, str]] = []
    for piece, index in vocab.items():
        if pieces.is_control(index) or pieces.is_byte(index) or pieces.is_unknown(index):
            continue
        score = pieces.get_score(index)
        for cut in range(1, len(piece)):
            left, right = piece[:cut], piece[cut:]
            if left in vocab and right in vocab:
                scored.append((-score, vocab[left], vocab[right], left, right))
    merges = [(left, right) for *_, left, right in sorted(scored)]
    tokenizer = Tokenizer(
        models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    return tokenizer


def mismatches(pieces: SentencePieceProcessor, tokenizer: Tokenizer, texts: list[str]) -> int:
    """How many texts get other ids than SentencePiece gives them."""
    return sum(pieces.encode(t) != tokenizer.encode(t, add_special_tokens=False).ids for t in texts)


def save(tokenizer: Tokenizer, path: Path) -> None:
    """As JSON with each merge as one string, which loads a third faster than as a pair."""
    told = json.loads(tokenizer.to_str())
    told["model"]["merges"] = [" ".join(pair) for pair in told["model"]["merges"]]
    path.write_text(json.dumps(told, ensure_ascii=False, separators=(",", ":")), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--check", type=Path, help="a text file; each line is compared")
    args = parser.parse_args()
    pieces = SentencePieceProcessor(model_file=str(source_model()))
    tokenizer = convert(pieces)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    save(tokenizer, args.out)
    print(f"{tokenizer.get_vocab_size()} pieces, {args.out.stat().st_size / 1e6:.1f} MB")
    if args.check:
        texts = args.check.read_text(encoding="utf-8").splitlines()
        print(f"{mismatches(pieces, tokenizer, texts)} of {len(texts)} texts differ")


if __name__ == "__main__":
    main()
