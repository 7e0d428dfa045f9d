"""Training backends: native and MiniSom."""
