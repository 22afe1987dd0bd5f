"""The papers' methods, one module or package a chapter."""
