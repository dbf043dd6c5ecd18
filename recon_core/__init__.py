"""Tensors in, tensors out: operators, coil calibration and solvers for MRI reconstruction.

Nothing here knows ISMRMRD, sockets or the command line. Conventions are in docs/conventions.md.
"""
