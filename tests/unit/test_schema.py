from __future__ import annotations

import json
from dataclasses import dataclass
from types import SimpleNamespace

import jsonschema
import pytest

import musicfw as mf
from musicfw.api import SolverFactory, hookimpl, param
from musicfw.plugins import Registry
from musicfw.schema import spec_schema
from musicfw.spec import parse_spec
from musicfw.yamlpos import load

REGISTRY = Registry.from_modules()
SCHEMA = spec_schema(REGISTRY)
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)

MINIMAL = "data: {use: digits}\nmap:\n  lattice: {rows: 6, columns: 8}\n"
ITEM = MINIMAL + "control:\n  - {use: music, target: {label: 3}"


def is_valid(text):
    document, _ = load(text, source="spec.yaml")
    return VALIDATOR.is_valid(document.tree)


def test_the_schema_is_a_valid_schema_and_plain_json():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA


@pytest.mark.parametrize(
    "text",
    [
        MINIMAL,
        MINIMAL + "  with:\ninvert:\nreport:\nplugins:\n",
        MINIMAL + "invert: [{use: ridge, with: {alpha: 1e-3}}, {use: exact, with: {}}]\n",
        MINIMAL + "invert: [{use: 'some-plugin:nmf', with: {rank: 3}}]\n",
        ITEM + "}\n",
        ITEM + ", start: {count: 3, label: 3}}\n",
        ITEM + ", start: {rows: [1]}}\n",
        ITEM + ", start: }\n",
        MINIMAL + "control:\n  - {use: music, target: {cell: [1, 2], label: null, away: true}}\n",
    ],
)
def test_the_schema_accepts_a_good_spec(text):
    assert is_valid(text)


@pytest.mark.parametrize(
    "text",
    [
        "data: {use: digits}\n",
        "seed: -1\n" + MINIMAL,
        "sede: 1\n" + MINIMAL,
        MINIMAL.replace("digits", "digit"),
        MINIMAL.replace("rows: 6", "rows: 0"),
        MINIMAL + "  with: {epoch: 3}\n",
        MINIMAL + "  use: native\n  with: {epochs: 0}\n",
        MINIMAL + "invert: [{use: exact, with: {alpha: 1}}]\n",
        MINIMAL + "invert: [{use: ridge, with: {alpha: -1}}]\n",
        MINIMAL + "invert: [{use: exact, id: ../up}]\n",
        MINIMAL + "invert: [{count: 1}]\n",
        ITEM.replace("label: 3", "") + "}\n",
        ITEM.replace("label: 3", "label: 3, cluster: 1") + "}\n",
        ITEM + ", start: {count: 3, rows: [1]}}\n",
        ITEM + ", until: arived}\n",
    ],
)
def test_the_schema_refuses_a_broken_spec(text):
    assert not is_valid(text)


def test_the_schema_accepts_every_resolved_spec():
    text = ITEM + "}\ninvert: [{use: truncated-svd}]\n"
    spec = parse_spec(text, source="spec.yaml", registry=REGISTRY)
    VALIDATOR.validate(spec.resolved())


@pytest.mark.parametrize("kind", ["solver", "backend", "policy", "dataset"])
def test_every_installed_factory_has_its_options_with_help_in_the_schema(kind):
    for name in REGISTRY.names(kind):
        options = SCHEMA["$defs"][f"{kind}.{name}"]
        assert options["description"]
        assert all(option.get("description") for option in options["properties"].values())


def test_every_key_of_the_spec_has_a_description():
    for name in ("DataSpec", "MapSpec", "InvertSpec", "ControlSpec", "Lattice", "TargetSpec"):
        for key, option in SCHEMA["$defs"][name]["properties"].items():
            assert option.get("description"), f"{name}.{key}"


class Odd:
    """Nothing that pydantic knows."""


@dataclass(frozen=True, kw_only=True)
class OddParams:
    thing: Odd = param(None, help="Nothing pydantic knows.")


def test_params_that_cannot_be_described_leave_the_rest_of_the_schema_alone():
    factory = SolverFactory(name="odd", params=OddParams, build=lambda p: p, summary="Odd.")
    module = SimpleNamespace(__name__="musicfw-odd", musicfw_solvers=hookimpl(lambda: [factory]))
    schema = spec_schema(mf.Registry.from_modules(module))
    note = (
        "The options of solver.odd cannot be described (PydanticSchemaGenerationError): its params "
        "class OddParams is at fault."
    )
    assert schema["description"].endswith(note)
    assert schema["$defs"]["solver.odd"]["description"] == "Odd."
    assert "properties" in schema["$defs"]["solver.ridge"]
