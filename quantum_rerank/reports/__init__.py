"""Reports on finished trainings and searches: records, tables, and a page with charts."""
