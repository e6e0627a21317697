"""Prompts -> the scores of routers: the shipped classifier's, and those of what it has to beat."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from models.evaluation.curves import Floats, Integers
from models.training.baselines import Baseline, MiniLM, Words
from models.training.prepare import fold_of

Say = Callable[[str], None]
#: Prompts that a baseline needs to be trained and tried on.
LEAST_ROWS = 50


class Baselines:
    """Length; and, held out by fold of groups, tf-idf and MiniLM with logistic regression.

    Args:
        texts: N prompts, as the classifier reads them.
        groups: N names; one group stays on one side of a fold.
        cache: a folder in which MiniLM's vectors are kept.
    """

    def __init__(
        self, texts: Sequence[str], groups: Sequence[str], cache: Path | None, say: Say
    ) -> None:
        self.folds = np.array([fold_of(group) for group in groups])
        self.length = np.array([len(text) for text in texts], float)
        self._learners: list[Baseline] = [Words(texts), MiniLM(texts, cache)]
        self._say = say
        self._told: dict[bytes, dict[str, Floats]] = {}

    def scores(self, places: Integers, gains: Floats) -> dict[str, Floats]:
        """n of the prompts and whether each needed the strong model -> name -> (n,) scores.

        Those that have to learn are left out, and it is said why, where there is too little to.
        """
        key = places.tobytes() + gains.tobytes()
        if key not in self._told:
            self._told[key] = self._held_out(places, gains)
        return self._told[key]

    def _held_out(self, places: Integers, gains: Floats) -> dict[str, Floats]:
        scores = {"length": self.length[places]}
        folds = self.folds[places]
        held_out = np.unique(folds)
        if (
            len(places) < LEAST_ROWS
            or len(held_out) < 2
            or not all(0 < gains[folds != fold].mean() < 1 for fold in held_out)
        ):
            self._say(
                f"left out: tf-idf and MiniLM, which need {LEAST_ROWS} prompts of several groups, "
                f"both answers among them; here are {len(places)}, and only the strong model did "
                f"{int(gains.sum())}"
            )
            return scores
        target = gains.astype(np.float32)
        for learner in self._learners:
            self._say(f"{len(held_out)} folds by group: {learner.name}")
            found = np.empty(len(places))
            try:
                for fold in held_out:
                    held, train = folds == fold, folds != fold
                    found[held] = learner.fit_score(
                        places[train].tolist(), target[train], places[held].tolist()
                    )
            except ValueError as error:  # scikit-learn's, of texts that share no word
                self._say(f"left out: {learner.name}: {error}")
                continue
            scores[learner.name] = found
        return scores
