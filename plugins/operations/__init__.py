"""What operators of a cycle see and decide: release, alerts, retries, links, and reports in the UI."""
