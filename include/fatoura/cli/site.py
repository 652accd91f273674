"""`fatoura site`: run the public web site."""

from __future__ import annotations

import click


@click.command()
def site() -> None:
    """Run the web site on FATOURA_SITE_HOST and _PORT until it is stopped.

    It needs the providers' connections, for it sends the one-time codes itself. What people ask for is
    nobody's business: it writes no access log.
    """
    import logging

    import uvicorn

    from fatoura.settings import get_settings
    from fatoura.site.app import create_app

    logging.getLogger("fatoura").setLevel(logging.INFO)
    settings = get_settings()
    uvicorn.run(
        create_app(),
        host=settings.site_host,
        port=settings.site_port,
        http="h11",  # which limits the length of headers
        ws="none",
        access_log=False,
        log_level="warning",
        server_header=False,
        proxy_headers=True,
        forwarded_allow_ips=settings.site_proxies,
        limit_concurrency=1000,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=3,
    )
