"""The host's side of every embedding call: shapes and finiteness checked, failures attributed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from musicfw.api import Embedding
from musicfw.arrays import FloatArray, read_only
from musicfw.plugins import Provided, Registry, default_registry

__all__ = ["CheckedEmbedding", "checked_embedding", "load_embedding"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CheckedEmbedding:
    """An embedding whose results are what they should be.

    Parameters
    ----------
    provided : Provided
        Its factory and the plugin that owns it.
    inner : Embedding
        The plugin's own.
    dimension, code_dimension : int
        Number of features D and of coordinates d.
    """

    provided: Provided
    inner: Embedding
    dimension: int
    code_dimension: int

    @property
    def name(self) -> str:
        """Name of its factory."""
        return self.provided.factory.name

    def encode(self, points: FloatArray) -> FloatArray:
        """Return the codes (N, d) of points (N, D)."""
        with self.provided.calling("encode"):
            codes = self.inner.encode(read_only(points))
        return self._checked(codes, "encode", "codes", (points.shape[0], self.code_dimension))

    def decode(self, codes: FloatArray) -> FloatArray:
        """Return the points (N, D) of codes (N, d)."""
        with self.provided.calling("decode"):
            points = self.inner.decode(read_only(codes))
        return self._checked(points, "decode", "points", (codes.shape[0], self.dimension))

    def files(self) -> Mapping[str, bytes]:
        """Return all that it is made of."""
        with self.provided.calling("files"):
            files = self.inner.files()
        for name, content in dict(files).items():
            if not isinstance(content, bytes):
                got = type(content).__name__
                raise self.provided.error("files", f"expected {name!r} as bytes, got {got}")
        return files

    def _checked(
        self, values: FloatArray, call: str, name: str, shape: tuple[int, int]
    ) -> FloatArray:
        checked = self.provided.checked(values, call=call, name=name, shape=shape)
        if not np.isfinite(checked).all():
            row = int(np.flatnonzero(~np.isfinite(checked).all(axis=1))[0])
            raise self.provided.error(call, f"row {row} of its {name} is not finite")
        return np.ascontiguousarray(checked, dtype=np.float64)


def checked_embedding(
    inner: Embedding, *, dimension: int, code_dimension: int, registry: Registry | None
) -> CheckedEmbedding:
    """Return an embedding that the host may rely on.

    Raises
    ------
    UsageError
        If no installed plugin provides its name, so that it could never be loaded again.
    """
    found = (registry or default_registry()).find("embedding", inner.name)
    return CheckedEmbedding(
        provided=found, inner=inner, dimension=dimension, code_dimension=code_dimension
    )


def load_embedding(
    name: str,
    files: Mapping[str, bytes],
    *,
    dimension: int,
    code_dimension: int,
    registry: Registry | None,
) -> CheckedEmbedding:
    """Return the embedding that was stored under a name."""
    found = (registry or default_registry()).find("embedding", name)
    return CheckedEmbedding(
        provided=found,
        inner=found.build(files),
        dimension=dimension,
        code_dimension=code_dimension,
    )
