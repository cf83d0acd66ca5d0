"""Tests of lookup_api."""
