"""The backend ``somrl-autoencoder``.

SOMRL: a self-organizing map whose units learn how much each dimension matters to them (H. Bassani
and A. Araujo, "Dimension selective self-organizing maps with time-varying structure for subspace
and projected clustering", IEEE TNNLS 26 (2015)), in the codes of an autoencoder that is trained
with it. The loss is

    λ_rec · reconstruction + λ_nn · neighbours + γ · unexplained

with the terms of `musicfw_torch.losses`. After a warm-up without a map, prototypes, dispersions and
relevances follow the codes of every batch, while the neighbourhood shrinks; a few batch epochs on
the finished codes end it.
"""

from __future__ import annotations

from dataclasses import dataclass

from musicfw.api import RawMap, TrainingProblem
from musicfw.errors import UsageError
from musicfw_torch.embedding import AutoencoderEmbedding
from musicfw_torch.params import SomrlParams
from musicfw_torch.training import Trainer


@dataclass(frozen=True, slots=True, kw_only=True)
class SomrlAutoencoder:
    """Trains; see the module."""

    params: SomrlParams

    def fit(self, problem: TrainingProblem) -> RawMap:
        """Return the prototypes (M, d) in the codes, their relevances, and the autoencoder.

        Raises
        ------
        UsageError
            For prototypes to begin with, which lie in no code space yet; for a device that is not
            there, an image shape that does not fit, or a loss that has left the numbers.
        """
        if problem.initial is not None:
            raise UsageError(
                "initial: expected none with the backend 'somrl-autoencoder', whose prototypes lie "
                "in codes that are learnt first; to go on with a training, use a checkpoint"
            )
        trainer = Trainer(problem, self.params)
        interrupted = trainer.run()
        state = trainer.finished_map()
        return RawMap(
            prototypes=state.prototypes.detach().double().cpu().numpy(),
            relevances=state.relevances.double().cpu().numpy(),
            history=trainer.history(),
            interrupted=interrupted,
            embedding=AutoencoderEmbedding(trainer.network.cpu().eval().requires_grad_(False)),
        )
