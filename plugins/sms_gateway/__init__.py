"""The SMS provider as Airflow sees it: a hook, the operators that send and settle, the triggers that wait."""
