"""Each method looks the same in every figure, and no two look alike."""

from __future__ import annotations

from revo_ray.report.style import looks

METHODS = ["revo-continuous", "revo-binary", "random", "set-encoding", "full", "first", "last"]
METHODS += ["layer-decay", "auto-rgn"]


def test_each_method_has_a_look_of_its_own_everywhere() -> None:
    everywhere = looks([*METHODS, "random (encoding binary)", "my-own"])
    assert len({(look.colour, look.marker, str(look.dash)) for look in everywhere.values()}) == 11
    for method in METHODS:
        assert looks([method])[method] == everywhere[method]
