"""Nothing yet but what pyproject.toml cannot say."""
from setuptools import setup

setup()
