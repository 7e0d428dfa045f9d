"""musicfw: self-organizing maps that can be inverted exactly and steered."""

__version__ = "0.1.0"
