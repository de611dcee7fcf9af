"""The embedded deployment: one SQLite file for assets, jobs and queue, a folder for the objects."""
