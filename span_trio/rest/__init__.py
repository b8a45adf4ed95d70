"""The panel's REST API, and the only place that imports httpx."""

from .client import download_ca_cert, get_homie_schema

__all__ = ["download_ca_cert", "get_homie_schema"]
