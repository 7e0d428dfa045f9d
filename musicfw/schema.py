"""The JSON Schema of a spec, for the completion and checks of an editor.

It is made from the same dataclasses that validate a spec, and says for every name that is
installed which options it takes. `musicfw.spec` checks more (what concerns several keys at once)
and is what counts.
"""

from __future__ import annotations

import json
import warnings
from typing import TYPE_CHECKING, Any

from musicfw.api import Factory
from musicfw.params import type_schema
from musicfw.sections import ID_PATTERN, TARGET_KINDS, RunSpec

if TYPE_CHECKING:
    from musicfw.spec import SpecRegistry

__all__ = ["spec_schema"]

_KINDS = {
    "DataSpec": "dataset",
    "MapSpec": "backend",
    "InvertSpec": "solver",
    "ControlSpec": "policy",
}
# A lattice belongs to the mathematics and carries no help texts for YAML.
_LATTICE_HELP = {
    "rows": "Number of rows.",
    "columns": "Number of columns.",
    "topology": "Arrangement of the units.",
    "toroidal": "Whether opposite borders are joined; if hexagonal, rows must be even.",
    "cylindrical": "Whether only the left and the right border are joined.",
}


def spec_schema(registry: SpecRegistry) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a spec for what is installed.

    Parameters
    ----------
    registry : Registry
        Whose names ``use:`` may name; the options under ``with:`` follow from the name.

    Returns
    -------
    dict
        Plain data, for `json.dumps`.
    """
    schema = type_schema(RunSpec)
    definitions = schema["$defs"]
    for section, kind in _KINDS.items():
        _add_options(definitions, section, kind, registry)
    for section in ("InvertSpec", "ControlSpec"):
        name = definitions[section]["properties"]["id"]
        name.pop("default")
        name["pattern"] = f"^{ID_PATTERN}$"
    for option, text in _LATTICE_HELP.items():
        definitions["Lattice"]["properties"][option]["description"] = text
    for option in ("rows", "columns"):
        definitions["Lattice"]["properties"][option]["minimum"] = 1
    _accept_what_spec_accepts(schema)
    unknown = [d["$comment"] for d in definitions.values() if "$comment" in d]
    if unknown:
        schema["description"] = f"{schema.get('description', '')} {' '.join(unknown)}".strip()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "musicfw spec",
        **schema,
    }


def _add_options(
    definitions: dict[str, Any], section: str, kind: str, registry: SpecRegistry
) -> None:
    """Say which names a section may use and, for each, the options it takes."""
    properties = definitions[section]["properties"]
    names = registry.names(kind)
    # DISTRIBUTION:NAME tells apart what two plugins call the same.
    properties["use"] |= {"anyOf": [{"enum": list(names)}, {"pattern": "^[^:]+:[^:]+$"}]}
    properties["with"] |= {"type": ["object", "null"]}
    properties["with"].pop("default", None)
    branches = []
    for name in names:
        factory = registry.lookup(kind, name)
        if not isinstance(factory, Factory):
            continue
        options = _options(definitions, factory, f"{kind}.{name}")
        named: dict[str, Any] = {"properties": {"use": {"const": name}}}
        if properties["use"].get("default") != name:
            named["required"] = ["use"]
        branches.append({"if": named, "then": {"properties": {"with": options}}})
    if branches:
        definitions[section]["allOf"] = branches


def _options(definitions: dict[str, Any], factory: Factory[Any], prefix: str) -> dict[str, Any]:
    """Return a reference to a factory's options, which go to the definitions."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a default that JSON cannot hold is left out
            options = type_schema(factory.params, ref_template=f"#/$defs/{prefix}.{{model}}")
        json.dumps(options, allow_nan=False)
    except Exception as err:
        # One plugin's fault must not cost all others their completion.
        note = f"The options of {prefix} cannot be described ({type(err).__name__}): its params "
        options = {"$comment": note + f"class {factory.params.__name__} is at fault."}
    for name, definition in options.pop("$defs", {}).items():
        definitions[f"{prefix}.{name}"] = definition
    # `with:` may be left empty; the other keywords say nothing about null.
    definitions[prefix] = options | {"description": factory.summary, "type": ["object", "null"]}
    return {"$ref": f"#/$defs/{prefix}"}


def _accept_what_spec_accepts(schema: dict[str, Any]) -> None:
    """Allow what `musicfw.spec` tidies: numbers as labels, and sections that are left empty."""
    definitions = schema["$defs"]
    target, start = definitions["TargetSpec"], definitions["StartSpec"]
    for section in (target, start):
        section["properties"]["label"]["anyOf"].append({"type": "number"})
    given = {"not": {"type": "null"}}
    target["oneOf"] = [{"required": [k], "properties": {k: given}} for k in TARGET_KINDS]
    start["not"] = {
        "type": "object",
        "required": ["rows"],
        "properties": {"rows": given},
        "anyOf": [{"required": [key], "properties": {key: given}} for key in ("count", "label")],
    }
    for section in (start, definitions["ReportSpec"], definitions["PluginsSpec"]):
        section["type"] = ["object", "null"]
    for name in ("invert", "control"):
        schema["properties"][name]["type"] = ["array", "null"]
    definitions["ControlSpec"]["properties"]["start"]["default"] = {"count": 6}
