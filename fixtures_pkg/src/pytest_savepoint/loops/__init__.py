"""Provenance: who made each loop, connection and task of this process, and what a failure still holds of them."""
