"""numbasom: Kohonen's rule, compiled."""

REQUIREMENTS = ["numbasom==0.1.0"]


def online(X, side):
    from numbasom import SOM

    return SOM(som_size=(side, side)).train(X, num_iterations=60_000)


def prepare(X, side):
    """Compile."""
    from numbasom import SOM

    SOM(som_size=(3, 3)).train(X[:100], num_iterations=10)


RUNS = {"online-60000": online}
PREPARE = {"online-60000": prepare}
