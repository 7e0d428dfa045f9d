"""Figures, with matplotlib's objects only: no pyplot, no global settings, no window.

Every function takes values and returns the axes, or the figure if it has several panels; give
``ax`` or ``figure`` to draw into your own. `png_bytes` turns either into a PNG file.
"""

from musicfw.measures import frames_at_fractions
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
    training_curve,
    u_matrix,
)
from musicfw.plot.paths import (
    feature_changes,
    path_strips,
    paths_on_map,
    target_distances,
)
from musicfw.plot.plane import paths_in_plane
from musicfw.plot.relevances import relevance_images, relevance_map

__all__ = [
    "cell_polygons",
    "component_planes",
    "evaluation_curves",
    "feature_changes",
    "frames_at_fractions",
    "hit_map",
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
    "u_matrix",
]
