"""Resguardo: backups of databases and files into restic, driven by a YAML policy."""

__version__ = "0.1.0"
