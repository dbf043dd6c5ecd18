"""Solvers that know only operators, never where the data came from."""
