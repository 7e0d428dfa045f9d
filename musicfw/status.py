"""What is known about a point in the end: statuses of inversions, stop reasons of paths."""

from __future__ import annotations

from enum import IntEnum


class Status(IntEnum):
    """What is known about one inverted point. ``advice`` tells the cause and what to try."""

    EXACT = 0
    PROJECTED = 1
    INCONSISTENT = 2
    REGULARISED = 3
    INVALID_INPUT = 4
    FAILED = 5
    AMBIGUOUS = 6

    @property
    def advice(self) -> str:
        """Cause first, then what to try."""
        return _STATUS_ADVICE[self]


_STATUS_ADVICE = {
    Status.EXACT: "The distances determine the point and the point reproduces them: use it.",
    Status.PROJECTED: (
        "The point has a part outside the affine hull of the prototypes (its length is "
        "hidden_radius), which distances cannot place: this is its projection on the hull. Use a "
        "map with at least D+1 affinely independent prototypes, or accept the projection."
    ),
    Status.INCONSISTENT: (
        "No point has these distances to these prototypes: they carry noise, belong to another "
        "codebook, or are not squared. Check where they come from; for noise use "
        "'maximum-likelihood', and a tolerance of its size. With relevances that differ and too "
        "few units the search may have missed it."
    ),
    Status.REGULARISED: (
        "The solver was asked to prefer a smaller answer to an exact one, and did: the point does "
        "not reproduce the distances. Lower the regularisation, or use 'exact' if the distances "
        "carry no noise."
    ),
    Status.INVALID_INPUT: (
        "The distances hold NaN, an infinity or a negative number, so there is no point (it is "
        "NaN). Remove the row or mend what measured it."
    ),
    Status.FAILED: (
        "The solver returned no finite point. Try another solver; if it comes from a plugin, "
        "report it there."
    ),
    Status.AMBIGUOUS: (
        "The point reproduces the distances, but it may not be the only one: some features matter "
        "to no unit, or there are too few units for relevances that differ (well_posedness.message "
        "says which). Use more units, or relevances above 0."
    ),
}


class StopReason(IntEnum):
    """Why a point stopped moving."""

    REACHED = 0
    STALLED = 1
    STEP_LIMIT = 2
    INTERRUPTED = 3
    DIVERGED = 4
    LEFT_MANIFOLD = 5

    @property
    def advice(self) -> str:
        """Cause first, then what to try."""
        return _STOP_ADVICE[self]


_STOP_ADVICE = {
    StopReason.REACHED: "The point's best matching unit belongs to the target.",
    StopReason.STALLED: (
        "The policy could make no more progress before the point's best matching unit belonged to "
        "the target. Raise selected_weight or lower preserve_weight, or name fewer target units."
    ),
    StopReason.STEP_LIMIT: (
        "The steps were used up before the point's best matching unit belonged to the target. "
        "Raise steps or the policy's rate; where features are frozen or bounded, and more steps do "
        "not help, scope: all may, or more active_units."
    ),
    StopReason.INTERRUPTED: "The run was interrupted; the frames so far are complete.",
    StopReason.DIVERGED: (
        "The policy's next point was not finite, so the point stays at its last finite frame. Use "
        "step_control: levenberg-marquardt, or raise damping."
    ),
    StopReason.LEFT_MANIFOLD: (
        "The point went farther from every prototype than the training data do (see off_manifold), "
        "and stays at the last frame before. Raise preserve_weight or active_units, or allow more."
    ),
}
