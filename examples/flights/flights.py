"""Which flights out of New York will be late? The whole of 2013, end to end.

Run it as a script or with the command line::

    python examples/flights/flights.py
    perdure run examples/flights/flights.py

The functions that do the work live in ``features.py``, ``models.py`` and ``report.py`` and know
nothing of Perdure. This file turns them into tasks and says how they depend on each other. Tables
go from task to task by reference; only who works on one loads it.
"""

import asyncio
import functools
from dataclasses import asdict
from pathlib import Path

import features
import models
import perdure
import report
from perdure import artifacts
from perdure.io import DataFrame, File
from trail import leave_trail

# Two tasks at a time on two cores, each with one thread: otherwise every task's linear algebra
# would start a thread per core.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

env = perdure.TaskEnvironment(
    "flights",
    cache="auto",  # what has been computed once, by whichever run, is not computed again
    resources=perdure.Resources(cpu=1),
    env_vars=ONE_THREAD,
)


@env.task(retries=2)
def read_table(name: str) -> DataFrame:
    """Read one of the tables of the data set."""
    leave_trail()
    return features.read_table(name)


@env.task
def summarize(raw: DataFrame) -> list[features.Summary]:
    """Count what became of the flights."""
    leave_trail()
    return features.summarize(raw.to_pandas())


@env.task
def clean(raw: DataFrame, month: int) -> DataFrame:
    """Clean one month."""
    leave_trail()
    return features.clean_month(raw.to_pandas(), month)


@env.task
def join(flights: DataFrame, weather: DataFrame, planes: DataFrame) -> DataFrame:
    """Join one month with the weather and the aircraft."""
    leave_trail()
    return features.join_month(flights.to_pandas(), weather.to_pandas(), planes.to_pandas())


@env.task
def assemble(months: list[DataFrame]) -> DataFrame:
    """Stack the months into the feature table."""
    leave_trail()
    return features.feature_table([month.to_pandas() for month in months])


@env.task
def fit_and_score(table: DataFrame, point: models.Point, fold: models.Fold) -> models.Scores:
    """Judge one grid point on one fold."""
    leave_trail()
    return models.fit_and_score(table.to_pandas(), point, fold)


@env.task
async def tune(table: DataFrame, point: models.Point) -> models.TunedPoint:
    """Judge one grid point on every fold."""
    leave_trail()
    folds = [fit_and_score.aio(table, point, fold) for fold in models.FOLDS]
    return models.TunedPoint(point, await asyncio.gather(*folds))


@env.task
def train(table: DataFrame, point: models.Point) -> models.TrainedModel:
    """Fit the chosen point of a family to all training months."""
    leave_trail()
    return models.train(table.to_pandas(), point)


@env.task
def predict(model: models.TrainedModel, table: DataFrame) -> DataFrame:
    """Predict the held-out months."""
    leave_trail()
    return models.predict(model, table.to_pandas())


@env.task
def judge(predictions: dict[str, DataFrame], months: list[features.Summary]) -> models.Verdict:
    """Score the predictions of each family, next to a constant guess."""
    leave_trail()
    guess = features.late_share(months, models.TRAINING)
    return models.verdict({name: table.to_pandas() for name, table in predictions.items()}, guess)


@env.task
def importance(model: models.TrainedModel, table: DataFrame, feature: str) -> float:
    """Weigh one feature."""
    leave_trail()
    return models.importance(model, table.to_pandas(), feature)


@env.task
def render(content: report.Content, predictions: dict[str, DataFrame]) -> File:
    """Write the report."""
    leave_trail()
    tables = {name: table.to_pandas() for name, table in predictions.items()}
    page = File.new("report.html")
    with page.open_sync("w", encoding="utf-8") as file:
        file.write(report.render(content, tables))
    return page


async def prepare() -> tuple[list[features.Summary], DataFrame]:
    """Read, clean and join: three reads, then two tasks per month, then one table."""
    with perdure.group("prepare"):
        # Futures are passed on as they are: no month waits for another.
        raw = read_table.submit("flights.csv.zip")
        weather, planes = read_table.submit("weather.csv"), read_table.submit("planes.csv")
        joined = [join.submit(clean.submit(raw, month), weather, planes) for month in range(1, 13)]
        return await asyncio.gather(summarize.aio(raw), assemble.aio(joined))


async def choose(table: DataFrame, family: str) -> list[models.TunedPoint]:
    """Judge all grid points of a family at once; best first."""
    with perdure.group(f"tune {family}"):
        tuned = await asyncio.gather(*(tune(table, point) for point in models.GRIDS[family]))
    return sorted(tuned, key=lambda point: point.log_loss)


async def explain(table: DataFrame, model: models.TrainedModel) -> dict[str, float]:
    """Weigh every feature."""
    with perdure.group("explain"):
        weigh = functools.partial(importance, model, table)
        weights = [weight async for weight in perdure.map.aio(weigh, features.FEATURES)]
    return dict(zip(features.FEATURES, weights, strict=True))


@env.task(cache="disable")  # it writes to a folder of yours; what it calls is cached
async def main(out: str = "flights-report") -> report.Result:
    """Run the whole pipeline; the report and the model are written to the folder ``out``."""
    leave_trail()
    months, table = await prepare()
    grids = await asyncio.gather(*(choose(table, family) for family in models.GRIDS))
    best = min((grid[0] for grid in grids), key=lambda point: point.log_loss).point

    trained = {grid[0].point.family: train.submit(table, grid[0].point) for grid in grids}
    predictions = {family: await predict.aio(model, table) for family, model in trained.items()}
    verdict = await judge.aio(predictions, months)
    model = await trained[best.family]
    content = report.Content(months, grids, best.family, verdict, await explain(table, model))
    page = await render.aio(content, predictions)

    scores = verdict.overall
    await artifacts.publish.aio(table, "flights/features", kind="dataset")
    published = await artifacts.publish.aio(
        model, "flights/model", kind="model", metadata=asdict(scores[best.family])
    )
    Path(out).mkdir(parents=True, exist_ok=True)
    Path(out, "model.pickle").write_bytes(model.pickled)
    await page.download(Path(out, "report.html"))
    return report.Result(table.num_rows, str(best), scores, published.label)


if __name__ == "__main__":
    run = perdure.run(main)
    result = run.result()
    print(f"run {run.name}: {result.flights:,} flights, best model: {result.best}")
    for name, scores in result.scores.items():
        print(f"  {name:<10} log loss {scores.log_loss:.4f}   AUC {scores.auc:.3f}")
    print(f"report: flights-report/report.html, model: {result.model}")
