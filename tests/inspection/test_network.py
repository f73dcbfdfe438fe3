"""URLs, hosts and coordinates: found whole, and told from versions, times and decimals."""

import pytest

from tuneward.inspection.network import find_coordinates, find_hosts, find_urls


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("see https://example.org/a?b=1.", "https://example.org/a?b=1"),
        ("(www.example.it)", "www.example.it"),
        ("at shop.example.com, today", "shop.example.com"),
        ("ftp://files.example.net/x", "ftp://files.example.net/x"),
    ],
)
def test_a_url_is_found_without_the_signs_around(text, value):
    assert value in [text[f.start : f.end] for f in find_urls(text)]


@pytest.mark.parametrize(
    "text", ["it ends here.It begins", "file.py and notes.md", "e.g. this", "a@example.org", "3.14"]
)
def test_sentences_files_and_mail_are_no_urls(text):
    assert list(find_urls(text)) == []


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("host 192.168.10.255 down", "ip", "192.168.10.255"),
        ("from 10.0.0.1:8080", "ip", "10.0.0.1"),
        ("at 2001:db8::8a2e:370:7334 now", "ip", "2001:db8::8a2e:370:7334"),
        ("6e40:4041:c617:e898:c11:40d2:c669:2eb4", "ip", "6e40:4041:c617:e898:c11:40d2:c669:2eb4"),
        ("mac 00:1A:2b:3C:4d:5E", "mac", "00:1A:2b:3C:4d:5E"),
        ("mac 001a.2b3c.4d5e", "mac", "001a.2b3c.4d5e"),
    ],
)
def test_a_host_is_found(text, kind, value):
    assert (kind, value) in [(f.kind, text[f.start : f.end]) for f in find_hosts(text)]


@pytest.mark.parametrize("text", ["version 1.2.3.4", "1.2.3.4.5", "256.1.1.1", "at 12:30:45", "std::vector", "a::b"])
def test_versions_and_times_are_no_hosts(text):
    assert list(find_hosts(text)) == []


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("GPS 52.5200, 13.4050", "52.5200, 13.4050"),
        ("latitude: 48.8566", "48.8566"),
        ("41°24'12.2\"N 2°10'26.5\"E", "41°24'12.2\"N 2°10'26.5\"E"),
    ],
)
def test_coordinates_are_found(text, value):
    assert value in [text[f.start : f.end] for f in find_coordinates(text)]


@pytest.mark.parametrize("text", ["3.14159, 2.71828", "latitude 999.123", "costs 52.5200"])
def test_decimals_are_no_coordinates(text):
    assert list(find_coordinates(text)) == []
