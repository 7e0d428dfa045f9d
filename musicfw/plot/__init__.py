"""Figures, with matplotlib's objects only: no pyplot, no global settings, no window.

Every function takes values and returns the axes, or the figure if it has several panels; give
``ax`` or ``figure`` to draw into your own. `png_bytes` turns either into a PNG file.
"""

from musicfw.measures import frames_at_fractions
from musicfw.plot.borders import cluster_borders, interstitial_u_matrix
from musicfw.plot.canvas import cell_polygons, png_bytes
from musicfw.plot.comparison import evaluation_curves
from musicfw.plot.inversion import (
    inversion_comparison,
    inversion_error,
    singular_values,
)
from musicfw.plot.maps import (
    component_planes,
    hit_map,
    label_map,
    neighbour_distances,
    prototype_images,
    u_matrix,
)
from musicfw.plot.paths import (
    feature_changes,
    path_strips,
    paths_on_map,
    target_distances,
)
from musicfw.plot.plane import paths_in_plane
from musicfw.plot.points import bmu_scatter, class_pies
from musicfw.plot.relevances import relevance_images, relevance_map
from musicfw.plot.training import training_curve, training_curves

__all__ = [
    "bmu_scatter",
    "cell_polygons",
    "class_pies",
    "cluster_borders",
    "component_planes",
    "evaluation_curves",
    "feature_changes",
    "frames_at_fractions",
    "hit_map",
    "interstitial_u_matrix",
    "inversion_comparison",
    "inversion_error",
    "label_map",
    "neighbour_distances",
    "path_strips",
    "paths_in_plane",
    "paths_on_map",
    "png_bytes",
    "prototype_images",
    "relevance_images",
    "relevance_map",
    "singular_values",
    "target_distances",
    "training_curve",
    "training_curves",
    "u_matrix",
]
