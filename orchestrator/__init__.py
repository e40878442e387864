"""Resguardo: backups that are proven, driven by a YAML policy."""

__version__ = "0.1.0"
