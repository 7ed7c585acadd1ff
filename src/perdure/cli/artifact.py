"""``perdure artifact``: published values, their versions and tags."""

from typing import TYPE_CHECKING, Any

import click

from perdure.cli import exits, render, report

if TYPE_CHECKING:
    from perdure._core.artifacts import ArtifactRow

_PARTITION = click.option(
    "--partition", "partitions", multiple=True, metavar="KEY=VALUE",
    help="Only versions with this partition; may be repeated.",
)  # fmt: skip


@click.group()
def artifact() -> None:
    """List, show and tag published values."""


@artifact.command()
@click.argument("name", required=False)
@click.option("--kind", help="Only of this kind.")
@click.option("--tag", help="Only versions with this tag.")
@_PARTITION
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="At most.")
@exits.json_option
def ls(
    name: str | None,
    kind: str | None,
    tag: str | None,
    partitions: tuple[str, ...],
    limit: int,
    as_json: bool,
) -> None:
    """List artifacts by their newest versions, or all versions of NAME."""
    from perdure.client import artifacts, link

    found = artifacts.listed(name, kind, tag, _pairs(partitions), limit + 1)
    rows, more = found[:limit], len(found) > limit
    if as_json:
        exits.print_json([_as_dict(row) for row in rows])
        return
    if not rows:
        click.echo(f"no such artifacts in {link.config().home}", err=True)
        return
    table = render.grid("NAME", "VERSION", "KIND", "TAGS", "PARTITIONS", "PUBLISHED", "RUN",
                        header=True)  # fmt: skip
    for row in rows:
        table.add_row(
            row.name, row.version, row.kind, ", ".join(row.tags), _parts(row),
            render.when(row.created), row.run,
        )  # fmt: skip
    render.show(table)
    if more:
        click.echo(f"... more with --limit {limit * 5}", err=True)


@artifact.command()
@click.argument("name", metavar="NAME[@VERSION]")
@_PARTITION
@exits.json_option
def show(name: str, partitions: tuple[str, ...], as_json: bool) -> None:
    """Show a version of an artifact; the newest if none is given. A tag will do, too."""
    row = find(name, _pairs(partitions))
    if as_json:
        exits.print_json(_as_dict(row))
        return
    from rich.text import Text

    lines: list[Any] = [
        Text(f"{row.name}@{row.version}", style="bold"),
        report.labelled("kind", row.kind),
        report.labelled("value", report.preview(row.value)),
        report.labelled("published", render.when(row.created)),
    ]
    lines += [report.labelled("run", row.run)] if row.run else []
    lines += [report.labelled("tags", ", ".join(row.tags))] if row.tags else []
    lines += [report.labelled("partitions", _parts(row))] if row.partitions else []
    lines += [report.labelled(key, str(value)) for key, value in _metadata(row).items()]
    lines.append(report.labelled("look closer", f"perdure lineage {row.name}@{row.version}"))
    render.show(*lines)


@artifact.command()
@click.argument("name", metavar="NAME[@VERSION]")
@click.argument("tags", nargs=-1, required=True)
@click.option("--remove", is_flag=True, help="Take the tags from it instead.")
@exits.json_option
def tag(name: str, tags: tuple[str, ...], remove: bool, as_json: bool) -> None:
    """Let TAGS point to a version, wherever they pointed before."""
    from perdure import artifacts

    change = artifacts.untag if remove else artifacts.tag
    changed = change(name, tags=tags)
    if as_json:
        exits.print_json(_as_dict(find(changed.label, {})))
    else:
        click.echo(f"{changed.label}: {', '.join(changed.tags) or 'no tags'}")


def find(reference: str, partitions: dict[str, str]) -> "ArtifactRow":
    """Return the version that ``NAME[@VERSION]`` names.

    Raises:
        ArtifactNotFoundError: There is none.
    """
    from perdure._api.artifacts import wanted
    from perdure.client import artifacts

    return artifacts.find(wanted(reference, "latest", partitions))


def _pairs(texts: tuple[str, ...]) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts]
    for text, (key, equals, _) in zip(texts, pairs, strict=True):
        if not equals or not key.isidentifier():
            raise click.BadParameter(f"{text!r} is not KEY=VALUE", param_hint="--partition")
    return {key: value for key, _, value in pairs}


def _parts(row: "ArtifactRow") -> str:
    return ", ".join(f"{key}={value}" for key, value in row.partitions.items())


def _metadata(row: "ArtifactRow") -> dict[str, Any]:
    import json

    metadata: dict[str, Any] = json.loads(row.metadata)
    return metadata


def _as_dict(row: "ArtifactRow") -> dict[str, Any]:
    return {
        "name": row.name,
        "version": row.version,
        "kind": row.kind,
        "created": row.created,
        "run": row.run or None,
        "action": row.action.hex() or None,
        "digest": row.digest.hex(),
        "tags": list(row.tags),
        "partitions": row.partitions,
        "metadata": _metadata(row),
        "value": _value(row),
    }


def _value(row: "ArtifactRow") -> Any:
    from perdure import _serde
    from perdure._serde.named import content
    from perdure.client import link
    from perdure.errors import StorageError

    try:
        return _serde.to_json(content(row.value, link.blobs()))
    except StorageError:  # a part is gone: what the journal has of it will do
        return _serde.to_json(row.value)
