"""Engines without servers."""
