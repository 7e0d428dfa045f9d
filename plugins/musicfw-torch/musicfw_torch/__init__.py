"""Self-organizing maps with relevance learning, joined to an autoencoder (PyTorch).

PyTorch is imported when a map is trained or an embedding read, not with this module: a plugin that
nobody uses costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

from musicfw.api import Backend, BackendFactory, Embedding, EmbeddingFactory, hookimpl
from musicfw_torch.params import SomrlParams

__all__ = ["EMBEDDING", "SOMRL_AUTOENCODER", "SomrlParams"]


def _backend(params: SomrlParams) -> Backend:
    from musicfw_torch.backend import SomrlAutoencoder

    return SomrlAutoencoder(params=params)


def _embedding(files: Mapping[str, bytes]) -> Embedding:
    from musicfw_torch.embedding import AutoencoderEmbedding

    return AutoencoderEmbedding.from_files(files)


SOMRL_AUTOENCODER = BackendFactory(
    name="somrl-autoencoder",
    params=SomrlParams,
    build=_backend,
    summary="SOM with relevance learning in the codes of an autoencoder, trained together.",
    traits=frozenset({"embedding", "float32", "resumable"}),
)
EMBEDDING = EmbeddingFactory(
    name="autoencoder",
    build=_embedding,
    summary="The encoder and decoder that somrl-autoencoder trained.",
)


@hookimpl
def musicfw_backends() -> list[BackendFactory]:
    """Return the backend ``somrl-autoencoder``."""
    return [SOMRL_AUTOENCODER]


@hookimpl
def musicfw_embeddings() -> list[EmbeddingFactory]:
    """Return the reader of its autoencoders."""
    return [EMBEDDING]
