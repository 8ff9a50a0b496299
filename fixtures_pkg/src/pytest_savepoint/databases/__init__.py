"""Databases of our own on a server: a template, its clones, and who owns them."""
