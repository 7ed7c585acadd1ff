"""The datasets of events: artifacts by their names, other large values by their content."""

from typing import Any

from openlineage.client.event_v2 import Dataset
from openlineage.client.facet_v2 import dataset_version_dataset, schema_dataset

from perdure import _serde
from perdure._core.artifacts import ArtifactRow
from perdure._core.ids import digest
from perdure._ports import Blobs
from perdure._serde.references import Artifact, Holding, references

PRODUCER = "https://pypi.org/project/perdure/"
"""Says in events and facets who made them."""

_FIELDS = 1000
"""Columns of a table that are told."""


def of_value(data: bytes, blobs: Blobs, namespace: str, kind: type[Dataset]) -> "list[Dataset]":
    """Return the datasets that an encoded value refers to.

    Args:
        data: The value.
        blobs: Where its large parts are.
        namespace: Namespace of the datasets.
        kind: Class of the datasets.
    """
    found: list[Dataset] = []
    for each in references(data, blobs):
        if isinstance(each, Artifact):
            name, _, version = each.label.rpartition("@")
            found.append(of_artifact(name, version, namespace, kind, {}))
        elif isinstance(each, Holding):
            found.append(_of_holding(each, blobs, namespace, kind))
    return found


def of_content(
    row: ArtifactRow, blobs: Blobs, namespace: str, kind: type[Dataset]
) -> "list[Dataset]":
    """Return the datasets in a published value, by their content."""
    return [_of_holding(each, blobs, namespace, kind) for each in _things(row, blobs)]


def of_artifact(
    name: str, version: str, namespace: str, kind: type[Dataset], facets: dict[str, Any]
) -> "Dataset":
    """Return the dataset of a version of an artifact."""
    about = dataset_version_dataset.DatasetVersionDatasetFacet(
        datasetVersion=version, producer=PRODUCER
    )
    return kind(namespace=namespace, name=f"artifacts/{name}", facets={"version": about, **facets})


def of_row(row: ArtifactRow, blobs: Blobs, namespace: str, kind: type[Dataset]) -> "Dataset":
    """Return the dataset of a published artifact, with the columns of its table if it is one."""
    tables = [facets for each in _things(row, blobs) if (facets := _schema(each, blobs))]
    return of_artifact(row.name, row.version, namespace, kind, tables[0] if tables else {})


def _things(row: ArtifactRow, blobs: Blobs) -> list[Holding]:
    whole = (row.blobs[-1],)
    found = [each for each in references(row.value, blobs) if isinstance(each, Holding)]
    return [each for each in found if each.blobs != whole]


def _of_holding(held: Holding, blobs: Blobs, namespace: str, kind: type[Dataset]) -> "Dataset":
    identity = held.blobs[0] if len(held.blobs) == 1 else digest(b"".join(held.blobs))
    name = f"values/{identity.hex()[:32]}"
    return kind(namespace=namespace, name=name, facets=_schema(held, blobs))


def _schema(held: Holding, blobs: Blobs) -> dict[str, Any]:
    """Return the columns of a table, whose bytes are not read; nothing for anything else."""
    if not held.node:
        return {}
    try:
        columns = _columns(_serde.loads(held.node, blobs))
    except Exception:  # a library that is not here, a class that cannot be imported
        return {}
    if not columns:
        return {}
    fields = [
        schema_dataset.SchemaDatasetFacetFields(name=str(name), type=str(type_))
        for name, type_ in columns[:_FIELDS]
    ]
    return {"schema": schema_dataset.SchemaDatasetFacet(fields=fields, producer=PRODUCER)}


def _columns(table: Any) -> list[tuple[Any, Any]]:
    types: Any = getattr(table, "types", None)
    if isinstance(types, dict):  # perdure.io.DataFrame
        return list(types.items())
    schema: Any = getattr(table, "schema", None)
    if hasattr(schema, "names") and hasattr(schema, "types"):  # pyarrow, polars
        return list(zip(_listed(schema.names), _listed(schema.types), strict=True))
    dtypes: Any = getattr(table, "dtypes", None)
    if hasattr(dtypes, "items"):  # pandas
        return list(dtypes.items())
    return []


def _listed(names: Any) -> list[Any]:
    return list(names() if callable(names) else names)
