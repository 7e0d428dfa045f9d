"""Laws of specs: what is valid is accepted, and one mistake is told once, where it is."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

import musicfw as mf
from musicfw.errors import SpecError
from musicfw.spec import parse_spec
from musicfw.testing import broken_run_specs, run_specs

REGISTRY = mf.Registry.from_modules()


@settings(max_examples=40)
@given(text=run_specs(REGISTRY))
def test_a_valid_spec_is_accepted_and_so_is_what_it_resolves_to(text):
    spec = parse_spec(text, source="spec.yaml", registry=REGISTRY)
    again = parse_spec(spec.to_yaml(), source="resolved.yaml", registry=REGISTRY)
    assert again.sha256() == spec.sha256()


@settings(max_examples=80)
@given(broken=broken_run_specs(REGISTRY))
def test_one_mistake_is_told_once_where_it_is(broken):
    with pytest.raises(SpecError) as caught:
        parse_spec(broken.text, source="spec.yaml", registry=REGISTRY)
    told = [(p.code, p.mark.line, p.mark.column) for p in caught.value.problems]
    assert told == [(broken.code, broken.line, broken.column)]
