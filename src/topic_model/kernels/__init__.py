"""Compiled kernels: the loops over campaigns and terms, on arrays alone.

Importing a module of this package imports numba and compiles that module's kernels, or loads what an earlier process
compiled; so whoever may do without imports it inside the function that needs it.
"""
