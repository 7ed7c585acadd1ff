"""The two families of models, their grids, and how a fit is judged."""

import hashlib
import pickle
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, OneHotEncoder, StandardScaler

from features import CATEGORICAL, FEATURES, NUMERIC

TRAINING = (1, 2, 3, 4, 5, 6, 7, 8, 9)
HELD_OUT = (10, 11, 12)
"""Months that no model and no choice between models ever sees."""


@dataclass(frozen=True)
class Fold:
    """Months to learn from and the later months to be judged on: the future is never used."""

    learn: tuple[int, ...]
    judge: tuple[int, ...]


FOLDS = (
    Fold(learn=(1, 2, 3), judge=(4, 5)),
    Fold(learn=(1, 2, 3, 4, 5), judge=(6, 7)),
    Fold(learn=(1, 2, 3, 4, 5, 6, 7), judge=(8, 9)),
)


@dataclass(frozen=True)
class Point:
    """One point of a grid: a family of models and its hyper-parameters."""

    family: str
    params: dict[str, float]

    def __str__(self) -> str:
        return ", ".join(f"{name} {value:g}" for name, value in self.params.items())


GRIDS = {
    "linear": [Point("linear", {"C": c}) for c in (0.01, 0.1, 1.0)],
    "boosting": [
        Point("boosting", {"learning_rate": rate, "max_leaf_nodes": leaves, "min_samples_leaf": n})
        for rate, leaves, n in product((0.1, 0.2), (15, 31, 63), (20, 200))
    ],
}


@dataclass(frozen=True)
class Scores:
    """How good predicted probabilities are; smaller is better except for ``auc``."""

    flights: int
    log_loss: float
    brier: float
    auc: float


@dataclass(frozen=True)
class TunedPoint:
    """A grid point with its scores, one per fold."""

    point: Point
    folds: list[Scores]

    @property
    def log_loss(self) -> float:
        """The mean over the folds, by which points are compared."""
        return float(np.mean([scores.log_loss for scores in self.folds]))


@dataclass(frozen=True)
class TrainedModel:
    """A fitted model as bytes, so that it is stored, digested and saved like any other value."""

    point: Point
    pickled: bytes

    def load(self) -> Any:
        """Return the scikit-learn estimator."""
        return pickle.loads(self.pickled)


@dataclass(frozen=True)
class Evaluation:
    """Predictions for one month.

    Attributes:
        family: Of the model.
        month: 1 to 12.
        scores: Of these predictions.
        late: What happened.
        predicted: What was predicted: the probability of being late.
    """

    family: str
    month: int
    scores: Scores
    late: np.ndarray
    predicted: np.ndarray


def fit(table: pa.Table, point: Point, months: tuple[int, ...]) -> Any:
    """Fit the model of ``point`` to the flights of ``months``."""
    features, late = _of_months(table, months)
    return _estimator(point).fit(features, late)


def train(table: pa.Table, point: Point) -> TrainedModel:
    """Fit the model of ``point`` to all training months."""
    return TrainedModel(point, pickle.dumps(fit(table, point, TRAINING), protocol=5))


def fit_and_score(table: pa.Table, point: Point, fold: Fold) -> Scores:
    """Fit to one side of ``fold`` and score on the other."""
    features, late = _of_months(table, fold.judge)
    return score(late, fit(table, point, fold.learn).predict_proba(features)[:, 1])


def evaluate(model: TrainedModel, table: pa.Table, month: int) -> Evaluation:
    """Predict one month and compare with what happened."""
    features, late = _of_months(table, (month,))
    predicted = model.load().predict_proba(features)[:, 1]
    return Evaluation(model.point.family, month, score(late, predicted), late, predicted)


def importance(model: TrainedModel, table: pa.Table, feature: str) -> float:
    """Tell how much worse the held-out log loss gets when ``feature`` is shuffled."""
    features, late = _of_months(table, HELD_OUT)
    features, late = features[::3], late[::3]
    estimator = model.load()
    before = log_loss(late, estimator.predict_proba(features)[:, 1])
    shuffled = features.assign(
        **{feature: np.random.default_rng(13).permutation(features[feature].to_numpy())}
    )
    return float(log_loss(late, estimator.predict_proba(shuffled)[:, 1]) - before)


def score(late: np.ndarray, predicted: np.ndarray) -> Scores:
    """Score predicted probabilities against what happened."""
    return Scores(
        flights=len(late),
        log_loss=float(log_loss(late, predicted)),
        brier=float(brier_score_loss(late, predicted)),
        auc=float(roc_auc_score(late, predicted)),
    )


def overall(evaluations: list[Evaluation], constant: float) -> dict[str, Scores]:
    """Score each family on all held-out months together, next to a ``constant`` prediction."""
    result = {}
    for family in dict.fromkeys(e.family for e in evaluations):
        mine = [e for e in evaluations if e.family == family]
        late = np.concatenate([e.late for e in mine])
        result[family] = score(late, np.concatenate([e.predicted for e in mine]))
    return {"baseline": score(late, np.full(len(late), constant))} | result


def digest(evaluations: list[Evaluation]) -> str:
    """Return a digest of every predicted probability: equal only if all are equal to the bit."""
    parts = (e.predicted.astype("<f8").tobytes() for e in evaluations)
    return hashlib.sha256(b"".join(parts)).hexdigest()


def _of_months(table: pa.Table, months: tuple[int, ...]) -> tuple[pd.DataFrame, np.ndarray]:
    chosen = table.filter(pc.field("month").isin(months))
    return chosen.select(FEATURES).to_pandas(), chosen["late"].to_numpy()


def _estimator(point: Point) -> Any:
    if point.family == "boosting":
        return HistGradientBoostingClassifier(
            learning_rate=point.params["learning_rate"],
            max_leaf_nodes=int(point.params["max_leaf_nodes"]),
            min_samples_leaf=int(point.params["min_samples_leaf"]),
            max_iter=60,
            early_stopping=False,
            categorical_features=CATEGORICAL,
            random_state=13,
        )
    numeric = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), [*CATEGORICAL, "weekday"]),
        (KBinsDiscretizer(24, strategy="uniform"), ["minute_of_day"]),
        (numeric, [n for n in NUMERIC if n not in ("weekday", "minute_of_day")]),
    )
    return make_pipeline(columns, LogisticRegression(C=point.params["C"], solver="newton-cholesky"))
