"""Similar advertising campaigns from their keywords and search terms; a library that has never heard of AWS."""

from __future__ import annotations

__version__ = "0.1.0"
