"""XPySom: batch epochs in NumPy (CuPy, where there is a GPU)."""

REQUIREMENTS = ["xpysom==1.0.7"]


def batch(X, side):
    from xpysom import XPySom

    som = XPySom(
        side,
        side,
        X.shape[1],
        sigma=side / 2,
        sigmaN=1,
        std_coeff=1,  # so that sigma is the radius, as elsewhere
        decay_function="exponential",
        random_seed=0,
    )
    som.pca_weights_init(X[:2000])
    som.train(X, 10)
    return som.get_weights()


RUNS = {"batch-10": batch}
PREPARE = {"batch-10": lambda X, side: batch(X[:100], 3)}
