"""Inversion solvers."""
