"""Log the tables, plots, pages and descriptions of each verb."""
