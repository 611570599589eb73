"""Answer the rows of tables of any size, each exactly once, whatever dies."""
