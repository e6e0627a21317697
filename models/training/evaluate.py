"""The shipped classifier against tf-idf + logistic regression and length, on prompts held out.

    python -m models.training.evaluate --table models/training/runs/table.jsonl.gz

`test` is fold 9 of the sources that were trained on; `unseen` are whole sources and whole
subjects that were not. The baseline is fitted in the same run, on the same training rows.
Writes metrics.json beside the checkpoint, from where export.py takes it into the manifest.
"""

from __future__ import annotations

import argparse
import gzip
import json
import tempfile
import tomllib
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from fareway.classify import Classifier
from models.training.export import CHECKPOINT, CLASSIFIER, export_fp32, session

POLICY = Path(__file__).parents[2] / "shared" / "fareway" / "policy.toml"
TRAIN, TEST, UNSEEN = range(8), 9, 10
LEAST = 25  # rows of a group that is reported
Floats = np.ndarray[Any, np.dtype[np.float64]]
Scores = tuple[Floats, Floats]  # expected complexity and sensitivity, (N,) each


class Part:
    """Rows of some folds, as arrays of N; what is not known is nan."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.texts = [row["text"] for row in rows]
        self.sources = np.array([row["source"] for row in rows])
        self.kinds = np.array([row["kind"] for row in rows])
        self.levels = self._numbers(rows, "level")
        self.sensitive = self._numbers(rows, "sensitive")
        self.need_strong = self._numbers(rows, "need_strong")

    @staticmethod
    def _numbers(rows: list[dict[str, Any]], name: str) -> Floats:
        return np.array([np.nan if row[name] is None else row[name] for row in rows], float)


def parts(table: Path) -> tuple[Part, Part, Part]:
    rows = defaultdict(list)
    with gzip.open(table, "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            rows["train" if row["fold"] in TRAIN else row["fold"]].append(row)
    return Part(rows["train"]), Part(rows[TEST]), Part(rows[UNSEEN])


class Baseline:
    """Words and pairs of words, tf-idf, logistic regression: what a classifier has to beat."""

    def __init__(self, train: Part) -> None:
        self.words = TfidfVectorizer(
            ngram_range=(1, 2), max_features=60_000, sublinear_tf=True, min_df=2
        )
        x = self.words.fit_transform(train.texts)
        known, told = ~np.isnan(train.levels), ~np.isnan(train.sensitive)
        self.complexity = LogisticRegression(C=4, max_iter=60, tol=1e-3)
        self.complexity.fit(x[known], np.rint(train.levels[known]).astype(int))
        self.sensitivity = LogisticRegression(C=4, max_iter=200, tol=1e-3)
        self.sensitivity.fit(x[told], train.sensitive[told].astype(int))

    def score(self, texts: list[str]) -> Scores:
        x = self.words.transform(texts)
        expected = self.complexity.predict_proba(x) @ self.complexity.classes_
        return expected, self.sensitivity.predict_proba(x)[:, 1]


def baseline_scores(table: Path, train: Part, held_out: list[Part]) -> list[Scores]:
    """The baseline's scores of each part; fitted once a table, as that takes minutes."""
    kept = table.with_suffix(".baseline.npz")
    if not kept.exists() or kept.stat().st_mtime < table.stat().st_mtime:
        baseline = Baseline(train)
        scores = [score for part in held_out for score in baseline.score(part.texts)]
        np.savez(kept, *scores)
    saved = np.load(kept)
    flat = [saved[f"arr_{i}"] for i in range(2 * len(held_out))]
    return list(zip(flat[::2], flat[1::2], strict=True))


def served(classifier: Classifier, texts: list[str]) -> Scores:
    verdicts = classifier.score_many(texts)
    return np.array([v.score for v in verdicts]), np.array([v.sensitivity for v in verdicts])


def fp32_scores(classifier: Classifier, checkpoint: Path, texts: list[str]) -> Floats:
    """The expected complexity of the same tokens through the graph before quantisation."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "fp32.onnx"
        export_fp32(checkpoint, path)
        run = session(path)
    scores = []
    for ids in classifier._ids(texts):
        tokens = np.asarray([ids])
        (complexity,) = run.run(["complexity"], {"ids": tokens, "mask": np.ones_like(tokens)})
        scores.append(float(complexity[0] @ np.arange(1, 6)))
    return np.array(scores)


def spearman(one: Floats, other: Floats) -> float:
    ranks = [np.argsort(np.argsort(values, kind="stable")) for values in (one, other)]
    return float(np.corrcoef(*ranks)[0, 1])


def auc(truth: Floats, score: Floats) -> float | None:
    told = ~np.isnan(truth)
    if len(set(truth[told])) < 2:
        return None
    return round(float(roc_auc_score(truth[told], score[told])), 3)


def compared(part: Part, by: dict[str, Scores]) -> dict[str, Any]:
    """Each model's agreement with what is known of one part, as a whole and inside each source."""
    said: dict[str, Any] = {}
    known = ~np.isnan(part.levels)
    for name, (expected, sensitivity) in by.items():
        inside = {}
        for source in sorted(set(part.sources[known])):
            rows = known & (part.sources == source)
            if rows.sum() >= LEAST and part.levels[rows].std() > 0.1:
                inside[str(source)] = round(spearman(part.levels[rows], expected[rows]), 3)
        moderation = part.sources == "openai_moderation"
        ours = np.char.startswith(part.sources, "template")
        said[name] = {
            "complexity_spearman": round(spearman(part.levels[known], expected[known]), 3),
            "complexity_spearman_inside": inside,
            "need_strong_auc": auc(part.need_strong, expected),
            "sensitivity_auc": auc(part.sensitive, sensitivity),
            "sensitivity_auc_openai_moderation": auc(
                part.sensitive[moderation], sensitivity[moderation]
            ),
            "sensitivity_auc_templates": auc(part.sensitive[ours], sensitivity[ours]),
        }
    return said


def tiers(scores: Floats, cuts: list[float]) -> Floats:
    """0 cheap (complexity 1, 2), 1 mid (3, 4), 2 premium (5)."""
    return np.digitize(np.digitize(scores, cuts) + 1, [3, 5])


def shares(part: Part, scores: Floats, flags: Floats, cuts: list[float]) -> dict[str, Any]:
    said = {}
    for source in sorted(set(part.sources)):
        rows = part.sources == source
        if rows.sum() >= LEAST:
            tier = tiers(scores[rows], cuts)
            said[str(source)] = {
                "rows": int(rows.sum()),
                "score_p10_p50_p90": [
                    round(float(q), 2) for q in np.quantile(scores[rows], (0.1, 0.5, 0.9))
                ],
                "cheap_mid_premium": [round(float((tier == t).mean()), 3) for t in range(3)],
                "sensitive": round(float(flags[rows].mean()), 3),
            }
    return said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument("--classifier", type=Path, default=CLASSIFIER)
    parser.add_argument("--cuts", type=float, nargs=4, help="the policy's by default")
    parser.add_argument("--threshold", type=float, help="the policy's by default")
    args = parser.parse_args()
    policy = tomllib.loads(POLICY.read_text(encoding="utf-8"))
    cuts = args.cuts or policy["complexity"]["cuts"]
    threshold = args.threshold or policy["sensitivity"]["threshold"]
    train, *held_out = parts(args.table)
    classifier = Classifier.load(args.classifier)
    words = baseline_scores(args.table, train, held_out)
    metrics: dict[str, Any] = {"cuts": cuts, "threshold": threshold}
    for name, part, tf_idf in zip(("test", "unseen"), held_out, words, strict=True):
        ours = served(classifier, part.texts)
        length = np.array([len(text) for text in part.texts], float)
        by = {"shipped": ours, "tf-idf": tf_idf, "length": (length, length)}
        fp32 = fp32_scores(classifier, args.checkpoint, part.texts)
        flags = ours[1] >= threshold
        metrics[name] = {
            "rows": len(part.texts),
            **compared(part, by),
            "int8_fp32_tier_agreement": round(
                float((tiers(fp32, cuts) == tiers(ours[0], cuts)).mean()), 4
            ),
            "sensitive_recall": round(float(flags[part.sensitive == 1].mean()), 3),
            "sensitive_false_alarms": round(float(flags[part.sensitive == 0].mean()), 3),
            "by_source": shares(part, ours[0], flags, cuts),
        }
    text = json.dumps(metrics, indent=1, ensure_ascii=False)
    (args.checkpoint / "metrics.json").write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
