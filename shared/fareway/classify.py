"""Text -> Verdict, in process. The only room that knows onnxruntime.

What is classified of a long text, in two steps: first at most 8,192 characters, the head and the
tail, half each (so that a megabyte costs no more to tokenise than a page); then at most
`max_tokens` tokens of it (512, from the manifest), again the head and the tail, half each.

A text is scored alone, never padded beside others: int8 activations share one scale a batch, so
a prompt's verdict would hang on its neighbours, and a decision could not be cached by its prompt.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fareway.errors import ClassifierUnavailable
from fareway.verdict import Verdict

if TYPE_CHECKING:
    from onnxruntime import InferenceSession  # type: ignore[import-untyped]
    from tokenizers import Encoding, Tokenizer

Floats = np.ndarray[Any, np.dtype[np.float32]]
MAX_CHARACTERS = 8_192
FILES = ("model.onnx", "tokenizer.json")
SAMPLE_WORDS = 100  # that tell whether a text is in capitals
#: Zero-width characters, soft hyphens, marks of direction.
INVISIBLE = dict.fromkeys(
    [0x00AD, 0xFEFF, *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2065)]
)


class Classifier:
    """A model in memory. Make one with `load`."""

    def __init__(
        self, session: InferenceSession, tokenizer: Tokenizer, version: str, max_tokens: int
    ) -> None:
        self.version = version
        self._session, self._tokenizer, self._max_tokens = session, tokenizer, max_tokens

    @classmethod
    def load(cls, folder: Path, *, threads: int = 1) -> Classifier:
        """A folder with model.onnx, tokenizer.json and manifest.json -> a classifier.

        Raises: ClassifierUnavailable, saying what is missing, altered or unreadable.
        """
        manifest = _manifest(folder)
        content = {name: _verified(folder / name, manifest["files"][name]) for name in FILES}
        try:
            session = _session(content["model.onnx"], threads)
            tokenizer = _tokenizer(content["tokenizer.json"])
        except Exception as error:  # the runtimes raise their own kinds, and bare ones
            raise ClassifierUnavailable(f"{folder}: cannot load the model: {error}") from error
        return cls(session, tokenizer, manifest["version"], manifest["max_tokens"])

    def score(self, text: str) -> Verdict:
        """A text, as `render` makes it -> how complex and how sensitive it is. Never raises."""
        # `encode_batch` would hand even one text to the tokenizer's pool, and wait for its thread
        return self._verdict(
            self._cut(self._tokenizer.encode(_clean(text), add_special_tokens=False))
        )

    def score_many(self, texts: Sequence[str], *, workers: int = 1) -> list[Verdict]:
        """Texts -> their verdicts in the same order, each the same as `score` gives it alone.

        Tokenised together and run from short to long, so that the runtime's buffers grow once.

        Args:
            workers: prompts scored side by side. They share nothing, so that busy cores do not
                make them wait for each other as the threads of one inference would.
        """
        ids = self.tokens(texts)
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
        with ThreadPoolExecutor(workers) as pool:
            verdicts = dict(
                zip(order, pool.map(self._verdict, (ids[i] for i in order)), strict=True)
            )
        return [verdicts[position] for position in range(len(ids))]

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Texts -> the token ids that are scored of each, at least one and at most `max_tokens`."""
        encodings = self._tokenizer.encode_batch(
            [_clean(text) for text in texts], add_special_tokens=False
        )
        return [self._cut(encoding) for encoding in encodings]

    def _cut(self, encoding: Encoding) -> list[int]:
        return _head_and_tail(encoding.ids, self._max_tokens) or [0]

    def count(self, text: str) -> int:
        """How many tokens a text of any length is, by our tokenizer; a model's own differs some."""
        valid = text.encode("utf-8", "replace").decode("utf-8")
        return len(self._tokenizer.encode(valid, add_special_tokens=False).ids)

    def states(self, ids: Sequence[Sequence[int]], *, workers: int = 1) -> Floats:
        """Token ids of N prompts -> the encoder's (N, C) vectors, to which heads are fitted."""

        def state(tokens: Sequence[int]) -> Floats:
            row = np.asarray([tokens], dtype=np.int64)
            (found,) = self._session.run(["state"], {"ids": row, "mask": np.ones_like(row)})
            return np.asarray(found[0])

        with ThreadPoolExecutor(workers) as pool:
            return np.stack(list(pool.map(state, ids)))

    def _verdict(self, ids: list[int]) -> Verdict:
        tokens = np.asarray([ids], dtype=np.int64)  # (1, T)
        complexity, sensitivity = self._session.run(
            ["complexity", "sensitivity"], {"ids": tokens, "mask": np.ones_like(tokens)}
        )  # (1, 5), (1,)
        one, two, three, four, five = (float(p) for p in complexity[0])
        return Verdict(
            probabilities=(one, two, three, four, five),
            sensitivity=float(sensitivity[0]),
            classifier=self.version,
        )


def ends(text: str) -> str:
    """All that is looked at of a text: at most 8,192 characters, of its head and its tail."""
    if len(text) <= MAX_CHARACTERS:
        return text
    return text[: MAX_CHARACTERS // 2] + text[-(MAX_CHARACTERS // 2) :]


def _clean(text: str) -> str:
    """A text of any length and any code points -> valid Unicode of at most 8,192 characters.

    Invisible characters go, and a text in capitals or with a capital on every word is lowered:
    neither changes what is asked.
    """
    text = ends(text).translate(INVISIBLE)
    words = [word for word in text.split()[:SAMPLE_WORDS] if word[0].isalpha()]
    capitals = sum(word[0].isupper() for word in words)
    if text.isupper() or (len(words) > 3 and capitals > 0.9 * len(words)):
        text = text.lower()
    return text.encode("utf-8", "replace").decode("utf-8")  # a lone surrogate becomes `?`


def _head_and_tail(ids: list[int], limit: int) -> list[int]:
    return ids if len(ids) <= limit else ids[: limit // 2] + ids[-(limit - limit // 2) :]


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        return {
            "version": str(manifest["version"]),
            "max_tokens": int(manifest["max_tokens"]),
            "files": {name: str(manifest["files"][name]["sha256"]) for name in FILES},
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ClassifierUnavailable(
            f"{folder / 'manifest.json'}: {type(error).__name__}: {error}"
        ) from error


def _verified(path: Path, sha256: str) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ClassifierUnavailable(f"{path}: {error.strerror}") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ClassifierUnavailable(f"{path}: not the file that the manifest names (sha256)")
    return content


def _session(model: bytes, threads: int) -> InferenceSession:
    import onnxruntime  # here, as it takes 100 ms that a warm cache may never need

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # export.py has optimised the graph, at a level that is the same on every CPU
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _tokenizer(content: bytes) -> Tokenizer:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(content.decode("utf-8"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    # a text is one word to it: its cache would hold 10,000 prompts a thread, 5 KB each
    tokenizer.model._resize_cache(0)
    return tokenizer
