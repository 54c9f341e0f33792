"""`edgetl cache`."""

import time
from typing import TYPE_CHECKING

import click

from edgetl.cli.help import examples
from edgetl.cli.show import wide_option
from edgetl.core.caches import PARTS

if TYPE_CHECKING:
    from edgetl.core.caches import Item, Pruned

_POSITIVE = click.FloatRange(min=0)


@click.group(
    "cache",
    epilog=examples("edgetl cache list", "edgetl cache prune --older-than 30 --dry-run"),
)
def command() -> None:
    """What edgetl keeps on disk, in $EDGETL_CACHE, else in ~/.cache/edgetl."""


@command.command("list", epilog=examples("edgetl cache list", "edgetl cache list --json"))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document with every item.")
@wide_option
def list_all(as_json: bool) -> None:
    """List the parts of the cache, their sizes and when they were last used."""
    from edgetl.cli.show import mb, paragraph, print_json, table
    from edgetl.core.caches import cached_items, foreign_names
    from edgetl.core.files import cache_folder

    items = cached_items()
    if as_json:
        print_json({"folder": str(cache_folder()), "items": [_fields(item) for item in items]})
        return
    rows = []
    for part, what in PARTS.items():
        own = [item for item in items if item.part == part]
        used = _day(max(item.last_used for item in own)) if own else "-"
        rows.append((part, str(len(own)), mb(sum(item.bytes for item in own)), used, what))
    rows.append(("in all", str(len(items)), mb(sum(item.bytes for item in items)), "-", ""))
    click.echo(paragraph(f"{cache_folder()}") + "\n")
    click.echo(table(("part", "items", "MB", "last used", "what it holds"), rows))
    if others := foreign_names():
        click.echo(paragraph(f"\nnot edgetl's, so never deleted: {', '.join(others)}", "  "))


@command.command(
    "prune",
    epilog=examples(
        "edgetl cache prune pixels exports", "edgetl cache prune --max-size 5 --dry-run"
    ),
)
@click.argument("parts", nargs=-1, type=click.Choice(list(PARTS)), metavar="[PART]...")
@click.option("--older-than", type=_POSITIVE, default=None, metavar="DAYS",
              help="Delete only what was last used more than DAYS days ago.")  # fmt: skip
@click.option("--max-size", type=_POSITIVE, default=None, metavar="GB",
              help="Delete only the least recently used, until GB gigabytes are left.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Delete nothing; print what would be deleted.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def prune(
    parts: tuple[str, ...],
    older_than: float | None,
    max_size: float | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Delete what the PARTs hold, or what --older-than and --max-size choose of it.

    Without a PART the limits apply to the whole cache; `edgetl cache list` lists the parts. All of
    it is made or fetched again when it is needed. Another edgetl may be running: what it is
    writing is left, and what it has open stays readable for it.
    """
    from edgetl.cli.show import mb, print_json
    from edgetl.core.caches import Pruned, cached_items, choose, delete

    if not parts and older_than is None and max_size is None:
        raise click.UsageError(
            f"name a part ({', '.join(PARTS)}), or give --older-than or --max-size."
        )
    chosen = choose(
        cached_items(parts or tuple(PARTS)),
        older_than_days=older_than,
        max_bytes=None if max_size is None else max_size * 1e9,
    )
    word = "would delete" if dry_run else "deleted"
    results = []
    for result in (Pruned(item, "deleted") for item in chosen) if dry_run else delete(chosen):
        results.append(result)
        if not as_json:
            click.echo(_line(result, word))
    gone = [result.item for result in results if result.outcome == "deleted"]
    if as_json:
        print_json(
            {
                "dry_run": dry_run,
                "items": [{**_fields(r.item), "outcome": r.outcome} for r in results],
            }
        )
    else:
        items = "1 item" if len(gone) == 1 else f"{len(gone)} items"
        click.echo(f"{word} {items}, {mb(sum(item.bytes for item in gone))} MB")


def _line(result: "Pruned", word: str) -> str:
    from edgetl.cli.show import mb

    item = result.item
    name = f"{item.part}/{item.path.name}"
    if result.outcome == "in use":
        return f"left {name}: another edgetl is writing to it"
    return f"{word} {name}: {mb(item.bytes)} MB, last used {_day(item.last_used)}"


def _fields(item: "Item") -> dict[str, object]:
    return {
        "part": item.part,
        "path": str(item.path),
        "bytes": item.bytes,
        "last_used": _moment(item.last_used),
    }


def _day(seconds: float) -> str:
    return time.strftime("%Y-%m-%d", time.localtime(seconds))


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
