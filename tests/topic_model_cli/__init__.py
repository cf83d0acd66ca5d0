"""Tests of the topic-model command."""
