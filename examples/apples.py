"""A data frame with gaps and a text column, end to end: train, fill, invert, change by name.

Run it as it stands: python examples/apples.py (needs pandas). The 180 apples are made up.
"""

from pathlib import Path

import numpy as np
import pandas

import musicfw as mf

apples = pandas.read_csv(Path(__file__).parent / "apples.csv")
kinds = apples.pop("kind")
print(f"{len(apples)} apples, {int(apples.isna().sum().sum())} of {apples.size} values missing")

# Text becomes one column of 0 and 1 per colour; a colour that is missing stays missing in all.
table = pandas.get_dummies(apples, columns=["colour"], prefix_sep="=", dtype=float)
colours = [name for name in table if name.startswith("colour=")]
table.loc[apples["colour"].isna(), colours] = np.nan

trained = mf.train(
    table,  # which gives the features their names
    lattice=mf.Lattice(rows=8, columns=10, topology="hexagonal"),
    labels=kinds,
    scaling="minmax",
    missing="keep",
    seed=1,
)

# Gaps are filled from each row's best matching unit, in original units; what is known stays.
whole = pandas.DataFrame(trained.impute(table), columns=table.columns)
row = int(np.flatnonzero(table.isna().any(axis=1))[0])
print(pandas.DataFrame({"before": table.loc[row], "filled": whole.loc[row].round(2)}))

inverted = mf.invert(trained, trained.squared_distances(whole))
print(f"recovered from distances up to {np.abs(inverted.points - whole).to_numpy().max():.0e}")

# A row with gaps is refused here, so that nothing is filled unseen; the order of columns is free.
dessert = whole[kinds == "dessert"][:1]
path = mf.steer(
    trained,
    dessert[sorted(dessert)],
    target=mf.Target.label("cider"),
    until="arrived",
    frozen=colours,
)
print(f"From dessert to cider with the colour as it is (arrived: {path.reached.all()}):")
for change in path.changes()[:4]:
    print(f"  {change.feature:12} {change.start:6.1f} → {change.end:6.1f}  {change.share:4.0%}")
