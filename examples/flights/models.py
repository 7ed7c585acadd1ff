"""The two families of models, their grids, and how a fit is judged.

scikit-learn takes seconds to import: only the functions that use it do.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from itertools import product
from statistics import fmean
from typing import TYPE_CHECKING, Any

from features import CATEGORICAL, FEATURES, NUMERIC

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

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
        return fmean(scores.log_loss for scores in self.folds)


@dataclass(frozen=True)
class TrainedModel:
    """A fitted model as bytes, so that it is stored, digested and saved like any other value."""

    point: Point
    pickled: bytes

    def load(self) -> Any:
        """Return the scikit-learn estimator."""
        return pickle.loads(self.pickled)


@dataclass(frozen=True)
class Verdict:
    """Scores of held-out predictions.

    Attributes:
        overall: On all held-out months together, per family and for the constant ``baseline``.
        monthly: Per month and family.
    """

    overall: dict[str, Scores]
    monthly: dict[int, dict[str, Scores]]


def fit(table: pd.DataFrame, point: Point, months: tuple[int, ...]) -> Any:
    """Fit the model of ``point`` to the flights of ``months``."""
    chosen = _of_months(table, months)
    return _estimator(point).fit(chosen[FEATURES], chosen["late"])


def fit_and_score(table: pd.DataFrame, point: Point, fold: Fold) -> Scores:
    """Fit to one side of ``fold`` and score on the other."""
    chosen = _of_months(table, fold.judge)
    return score(chosen["late"], _probability(fit(table, point, fold.learn), chosen))


def train(table: pd.DataFrame, point: Point) -> TrainedModel:
    """Fit the model of ``point`` to all training months."""
    return TrainedModel(point, pickle.dumps(fit(table, point, TRAINING), protocol=5))


def predict(model: TrainedModel, table: pd.DataFrame) -> pd.DataFrame:
    """Predict the held-out months: the probability of being late, next to what happened."""
    chosen = _of_months(table, HELD_OUT)
    return chosen[["month", "late"]].assign(predicted=_probability(model.load(), chosen))


def importance(model: TrainedModel, table: pd.DataFrame, feature: str) -> float:
    """Tell how much worse the held-out log loss gets when ``feature`` is shuffled."""
    chosen, estimator = _of_months(table, HELD_OUT)[::3], model.load()
    shuffled = chosen[feature].sample(frac=1, random_state=13).to_numpy()
    before = score(chosen["late"], _probability(estimator, chosen))
    after = score(chosen["late"], _probability(estimator, chosen.assign(**{feature: shuffled})))
    return after.log_loss - before.log_loss


def score(late: Sequence[bool], predicted: Sequence[float]) -> Scores:
    """Score predicted probabilities against what happened."""
    from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

    return Scores(
        flights=len(late),
        log_loss=float(log_loss(late, predicted)),
        brier=float(brier_score_loss(late, predicted)),
        auc=float(roc_auc_score(late, predicted)),
    )


def verdict(predictions: dict[str, pd.DataFrame], constant: float) -> Verdict:
    """Score the predictions of each family, next to a ``constant`` one."""
    overall, monthly = {}, {month: {} for month in HELD_OUT}
    for family, table in predictions.items():
        overall["baseline"] = score(table["late"], [constant] * len(table))
        overall[family] = score(table["late"], table["predicted"])
        for month, chosen in table.groupby("month"):
            monthly[int(month)][family] = score(chosen["late"], chosen["predicted"])
    return Verdict(overall, monthly)


def _of_months(table: pd.DataFrame, months: tuple[int, ...]) -> pd.DataFrame:
    return table[table["month"].isin(months)].reset_index(drop=True)


def _probability(estimator: Any, flights: pd.DataFrame) -> Sequence[float]:
    return estimator.predict_proba(flights[FEATURES])[:, 1]


def _estimator(point: Point) -> Any:
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import KBinsDiscretizer, OneHotEncoder, StandardScaler

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
