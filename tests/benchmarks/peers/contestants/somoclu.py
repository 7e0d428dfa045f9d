"""Somoclu: batch epochs in C++, from random prototypes (its PCA needs a scikit-learn of 2016)."""

REQUIREMENTS = ["somoclu==1.7.6"]
BUILD = ["numpy", "setuptools", "wheel"]


def batch(X, side):
    import numpy as np
    import somoclu

    som = somoclu.Somoclu(side, side)
    som.train(
        X.astype(np.float32), epochs=10, radius0=side / 2, radiusN=1, radiuscooling="exponential"
    )
    return som.codebook


RUNS = {"batch-10": batch}
