"""pyproject.toml says everything so far; an optional native extension (csrc/) would be declared here."""

from setuptools import setup

setup()
