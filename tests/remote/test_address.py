import pytest

from edgetl.remote.address import Address, RemoteError, checked, parse_address


@pytest.mark.parametrize(
    ("text", "host", "user", "port"),
    [
        ("raspberrypi.local", "raspberrypi.local", None, None),
        ("pi@10.0.0.7", "10.0.0.7", "pi", None),
        ("my_board-1", "my_board-1", None, None),
        ("pi@fe80::1%eth0", "fe80::1%eth0", "pi", None),
        ("ssh://pi@board:2222", "board", "pi", 2222),
        ("ssh://board", "board", None, None),
        ("ssh://pi@[2001:db8::1]:2222", "2001:db8::1", "pi", 2222),
    ],
)
def test_an_address_has_host_user_and_port(text: str, host: str, user: str, port: int) -> None:
    assert parse_address(text) == Address(text, host, user, port)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-oProxyCommand=touch /tmp/x",
        "pi@-oProxyCommand=x",
        "-l@board",
        "ssh://-oProxyCommand=x",
        "ssh://board:0",
        "ssh://board:70000",
        "ssh://board:x",
        "ssh://pi:secret@board",
        "ssh://board/path",
        "http://board",
        "board:22",
        "board; reboot",
        "a b",
        "pi@",
        "board\n",
        "$(reboot)@board",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(RemoteError) as caught:
        parse_address(text)
    assert "user@host" in caught.value.hint


def test_ssh_gets_each_part_as_an_argument_and_the_host_after_the_options() -> None:
    address = parse_address("ssh://pi@board:2222")
    assert address.arguments() == ["-p", "2222", "-l", "pi", "--", "board"]
    assert address.command() == "ssh -p 2222 pi@board"


@pytest.mark.parametrize("python", ["-c", "python3; reboot", "", "py thon"])
def test_a_python_that_is_not_a_path_is_refused(python: str) -> None:
    with pytest.raises(RemoteError, match="is not the path of a Python"):
        checked(Address("board", "board", python=python))
