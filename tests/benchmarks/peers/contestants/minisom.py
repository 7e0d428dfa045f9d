"""MiniSom: Kohonen's rule, and its batch mode (half an hour on Fashion-MNIST)."""

from functools import partial

REQUIREMENTS = ["minisom==2.3.6", "numpy"]  # which it does not name itself


def begun(X, side, *, rate):
    from minisom import MiniSom

    som = MiniSom(side, side, X.shape[1], sigma=side / 2, learning_rate=rate, random_seed=0)
    som.pca_weights_init(X[:2000])
    return som


def online(X, side, *, updates):
    som = begun(X, side, rate=0.5)
    som.train(X, updates)
    return som.get_weights()


def batch(X, side):
    som = begun(X, side, rate=1.0)
    som.train_batch_offline(X, 10)
    return som.get_weights()


RUNS = {
    "online-1000": partial(online, updates=1000),
    "online-12000": partial(online, updates=12_000),
    "batch-10": batch,
}
PREPARE = dict.fromkeys(RUNS, lambda X, side: online(X[:100], 3, updates=1))
