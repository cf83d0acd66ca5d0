"""The same model behind other servers; each file runs in an environment of its peer's, made by ``environments``."""
