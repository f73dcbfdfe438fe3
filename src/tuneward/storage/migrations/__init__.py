"""Migrations of the site's database, run by ``storage.schema``; add one with ``storage/migrations/script.py.mako``."""
