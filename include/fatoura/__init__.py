"""Fatoura: the utility's own work behind its bill messages. Never imports Airflow."""
