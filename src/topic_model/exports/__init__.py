"""Readers of campaign exports."""
