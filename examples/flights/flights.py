"""Which flights out of New York will be late? The whole of 2013, end to end.

Run it as a script or with the command line::

    python examples/flights/flights.py
    perdure run examples/flights/flights.py

The functions that do the work live in ``features.py``, ``models.py`` and ``report.py`` and know
nothing of Perdure. This file turns them into tasks and says how they depend on each other.
"""

import asyncio
import functools
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa

import features
import models
import perdure
import report
from trail import leave_trail

# Two tasks at a time on two cores, each with one thread: otherwise every task's linear algebra
# would start a thread per core.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

env = perdure.TaskEnvironment("flights", resources=perdure.Resources(cpu=1), env_vars=ONE_THREAD)


@dataclass(frozen=True)
class Judged:
    """The best model of a family, trained, and its predictions for the held-out months."""

    model: models.TrainedModel
    evaluations: list[models.Evaluation]


@env.task(retries=2)
def read_flights() -> pa.Table:
    """Read the 336,776 flights once; tasks that need them share the same pages of memory."""
    leave_trail()
    return pa.Table.from_pandas(features.read_table("flights.csv.zip"), preserve_index=False)


@env.task(retries=2)
def read_table(name: str) -> pd.DataFrame:
    """Read one of the small tables."""
    leave_trail()
    return features.read_table(name)


@env.task
def clean(raw: pa.Table, month: int) -> features.CleanMonth:
    """Clean one month."""
    leave_trail()
    return features.clean_month(raw, month)


@env.task
def join(month: features.CleanMonth, weather: pd.DataFrame, planes: pd.DataFrame) -> pa.Table:
    """Join one month with the weather and the aircraft."""
    leave_trail()
    return features.join_month(month, weather, planes)


@env.task
def assemble(months: list[pa.Table]) -> pa.Table:
    """Stack the months into the feature table."""
    leave_trail()
    return features.feature_table(months)


@env.task
def fit_and_score(table: pa.Table, point: models.Point, fold: models.Fold) -> models.Scores:
    """Judge one grid point on one fold."""
    leave_trail()
    return models.fit_and_score(table, point, fold)


@env.task
async def tune(table: pa.Table, point: models.Point) -> models.TunedPoint:
    """Judge one grid point on every fold."""
    leave_trail()
    folds = [fit_and_score.aio(table, point, fold) for fold in models.FOLDS]
    return models.TunedPoint(point, await asyncio.gather(*folds))


@env.task
def train(table: pa.Table, point: models.Point) -> models.TrainedModel:
    """Fit the chosen point of a family to all training months."""
    leave_trail()
    return models.train(table, point)


@env.task
def evaluate(model: models.TrainedModel, table: pa.Table, month: int) -> models.Evaluation:
    """Predict one held-out month."""
    leave_trail()
    return models.evaluate(model, table, month)


@env.task
def importance(model: models.TrainedModel, table: pa.Table, feature: str) -> float:
    """Weigh one feature."""
    leave_trail()
    return models.importance(model, table, feature)


@env.task(retries=1)
def publish(content: report.Content, model: models.TrainedModel, folder: str) -> report.Published:
    """Write the report and the model."""
    leave_trail()
    return report.publish(content, model, Path(folder))


async def prepare() -> tuple[pa.Table, list[features.Summary]]:
    """Read, clean and join: three reads, then two tasks per month, then one table."""
    with perdure.group("prepare"):
        # Futures are passed on as they are: the tables go from task to task, never through here.
        raw = read_flights.submit()
        weather, planes = read_table.submit("weather.csv"), read_table.submit("planes.csv")
        cleaned = [clean.submit(raw, month) for month in range(1, 13)]
        joined = [join.submit(month, weather, planes) for month in cleaned]
        table = assemble.submit(joined)
        return await table, [month.summary for month in await asyncio.gather(*cleaned)]


async def choose(table: pa.Table, family: str) -> list[models.TunedPoint]:
    """Judge all grid points of a family at once; best first."""
    with perdure.group(f"tune {family}"):
        tuned = await asyncio.gather(*(tune(table, point) for point in models.GRIDS[family]))
    return sorted(tuned, key=lambda point: point.log_loss)


async def judge(table: pa.Table, point: models.Point) -> Judged:
    """Train the best point of a family and predict the held-out months."""
    with perdure.group(f"judge {point.family}"):
        model = train.submit(table, point)
        months = [evaluate.aio(model, table, month) for month in models.HELD_OUT]
        return Judged(await model, await asyncio.gather(*months))


async def explain(table: pa.Table, model: models.TrainedModel) -> dict[str, float]:
    """Weigh every feature."""
    with perdure.group("explain"):
        weigh = functools.partial(importance, model, table)
        weights = [weight async for weight in perdure.map.aio(weigh, features.FEATURES)]
    return dict(zip(features.FEATURES, weights, strict=True))


@env.task
async def main(out: str = "flights-report") -> report.Result:
    """Run the whole pipeline; the report and the model are written to the folder ``out``."""
    leave_trail()
    table, months = await prepare()
    grids = await asyncio.gather(*(choose(table, family) for family in models.GRIDS))
    judged = await asyncio.gather(*(judge(table, grid[0].point) for grid in grids))

    chosen = min(range(len(grids)), key=lambda index: grids[index][0].log_loss)
    best = judged[chosen].model
    evaluations = [evaluation for family in judged for evaluation in family.evaluations]
    scores = models.overall(evaluations, features.late_share(months, models.TRAINING))
    content = report.Content(
        months=months,
        grids=grids,
        best=best.point.family,
        evaluations=evaluations,
        scores=scores,
        importances=await explain(table, best),
    )
    published = await publish.aio(content, best, out)
    return report.Result(
        flights=table.num_rows,
        best=str(best.point),
        scores=scores,
        predictions=models.digest(evaluations),
        published=published,
    )


if __name__ == "__main__":
    run = perdure.run(main)
    result = run.result()
    print(f"run {run.name}: {result.flights:,} flights, best model: {result.best}")
    for name, scores in result.scores.items():
        print(f"  {name:<10} log loss {scores.log_loss:.4f}   AUC {scores.auc:.3f}")
    print(f"report: {result.published.report}")
