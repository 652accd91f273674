"""`fatoura receiver`: run the receipt receiver."""

from __future__ import annotations

import click


@click.command()
def receiver() -> None:
    """Run the receipt receiver on FATOURA_RECEIVER_HOST and _PORT until it is stopped.

    Its URL holds a secret, so it writes no access log; what came is in the database.
    """
    import logging

    import uvicorn

    from fatoura.receipts.receiver import create_app
    from fatoura.settings import get_settings

    logging.getLogger("fatoura").setLevel(logging.INFO)
    settings = get_settings()
    uvicorn.run(
        create_app(),
        host=settings.receiver_host,
        port=settings.receiver_port,
        access_log=False,
        log_level="warning",
        server_header=False,
    )
