"""Makers of tasks and loaders of sets; each returns a frozen dataclass of tensors with its origin and licence."""

from beyondloss.data.completions import Answered, completions
from beyondloss.data.hub import HubError
from beyondloss.data.images import ImageSet, load_images
from beyondloss.data.text import TokenStream, python_documentation, wikitext

__all__ = [
    "Answered",
    "HubError",
    "ImageSet",
    "TokenStream",
    "completions",
    "load_images",
    "python_documentation",
    "wikitext",
]
