"""The quality gate: row rules set rows aside, batch rules stop the run."""
