"""How limits are written, and what of an address is one line's own."""

import pytest

from fatoura.errors import BadInput
from fatoura.site.limits import limits_of, network_of


def test_limits_are_read_as_they_are_written(configure):
    configure(site_limit_phone="3/h, 7/d", site_limit_all="100/d")
    assert limits_of("phone") == {"hour": 3, "day": 7}
    assert limits_of("all") == {"day": 100}


@pytest.mark.parametrize("written", ["", "5", "5/m", "0/h", "-1/h", "5/h;10/d", "5/h,,10/d", "five/h"])
def test_anything_else_is_refused_by_the_settings(configure, written):
    with pytest.raises(BadInput, match=r"FATOURA_SITE_LIMIT_PHONE.*5/h,10/d"):
        configure(site_limit_phone=written)


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("197.0.0.1", "197.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:0db8:0001:0002::/64"),
        ("2001:db8:1:2::9", "2001:0db8:0001:0002::/64"),
        ("::ffff:197.0.0.1", "197.0.0.1"),
        ("unknown", "unknown"),
        ("", ""),
    ],
)
def test_of_a_long_address_the_first_half_counts(address, network):
    assert network_of(address) == network
