"""Read users' tables of any size as streams; a bad row is told, and never ends the reading."""
