"""Alembic's entry: runs the migrations on the connection that `fatoura.database.migrate` hands over."""

from alembic import context

from fatoura.database.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table="fatoura_version",
    compare_server_default=True,
    include_name=lambda name, kind, parents: kind != "schema" or name is None,
)
with context.begin_transaction():
    context.run_migrations()
