"""Tests of the algorithms and of what is around them."""
