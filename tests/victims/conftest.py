"""How a victim is rejected: by the check made for it, in a message its author can use."""

from __future__ import annotations

import pytest

from musicfw.testing import CheckFailure, plugin_checks


@pytest.fixture
def rejected():
    """Run one check on a victim and return the message that rejects it."""

    def run(factory, check, options=None):
        checks = dict(plugin_checks(factory.kind, factory, options=options))
        assert check in checks, f"the traits of {factory.name!r} rule out {check!r}"
        with pytest.raises(CheckFailure) as caught:
            checks[check]()
        message = str(caught.value)
        head, _, rest = message.partition("\n")
        assert head.startswith(f"{factory.kind} {factory.name!r} fails the check {check!r}: ")
        assert "\n  law: " in message
        assert "\n  what to do: " in message
        assert len(rest) < 3000, "an example that long is of no use"
        return message

    return run
