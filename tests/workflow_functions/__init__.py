"""Tests of workflow_functions."""
