"""Tests of Resguardo."""
