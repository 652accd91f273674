"""Reports for analysts: one page with charts, CSV and XLSX."""
