"""The local stack of make up and make demo: its processes, from start to end.

Embedded PostgreSQL, sandbox gateway, receipt receiver and Airflow's parts on one machine, on loopback.
Production runs the same parts from docker-compose.yaml. Called by the commands `stack` and `demo`.
"""
