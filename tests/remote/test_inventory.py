"""Ansible inventories: what `ansible-inventory` reads in these files, or an error that says why."""

from pathlib import Path

import pytest

from edgetl.core.errors import SchemaError
from edgetl.remote.address import Address
from edgetl.remote.host_ranges import expanded
from edgetl.remote.inventory import read_inventory, unread_folders

INI = """
# boards of the greenhouse
lonely.example.com

[pis]
pi[01:03] ansible_user=pi
pi4 ansible_host=10.0.0.4 ansible_port=2222  # on the shelf

[jetsons]
orin ansible_host=10.0.0.9 note="a b"

[edge:children]
pis
jetsons

[edge:vars]
ansible_user=edge
ansible_python_interpreter="/usr/bin/python3.11"

[jetsons:vars]
ansible_user = nvidia
"""

YAML = """
all:
  hosts:
    lonely.example.com:
  children:
    edge:
      vars: {ansible_user: edge, ansible_python_interpreter: /usr/bin/python3.11}
      children:
        pis:
          hosts:
            pi[01:03]: {ansible_user: pi}
            pi4: {ansible_host: 10.0.0.4, ansible_port: 2222}
        jetsons:
          hosts:
            orin: {ansible_host: 10.0.0.9}
          vars:
            ansible_user: nvidia
"""

PYTHON = "/usr/bin/python3.11"
EXPECTED = {
    "lonely.example.com": Address("lonely.example.com", "lonely.example.com"),
    "pi01": Address("pi01", "pi01", "pi", python=PYTHON),
    "pi02": Address("pi02", "pi02", "pi", python=PYTHON),
    "pi03": Address("pi03", "pi03", "pi", python=PYTHON),
    "pi4": Address("pi4", "10.0.0.4", "edge", 2222, python=PYTHON),
    "orin": Address("orin", "10.0.0.9", "nvidia", python=PYTHON),
}


def write(folder: Path, text: str, name: str = "boards.ini") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def error_of(path: Path) -> SchemaError:
    with pytest.raises(SchemaError) as caught:
        read_inventory(path)
    return caught.value


@pytest.mark.parametrize(("text", "name"), [(INI, "boards.ini"), (INI, "hosts"), (YAML, "b.yml")])
def test_both_forms_name_the_same_hosts(text: str, name: str, tmp_path: Path) -> None:
    inventory = read_inventory(write(tmp_path, text, name))
    assert inventory.hosts == EXPECTED
    assert inventory.groups["pis"] == {"pi01", "pi02", "pi03", "pi4"}
    assert inventory.groups["edge"] == {"pi01", "pi02", "pi03", "pi4", "orin"}
    assert inventory.groups["all"] == set(EXPECTED)


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("all", list(EXPECTED)),
        ("pi4,orin", ["pi4", "orin"]),
        ("orin,pi4", ["pi4", "orin"]),  # in the inventory's order
        ("pis,!pi0*", ["pi4"]),
        ("!pis", ["lonely.example.com", "orin"]),
        ("edge,&jetsons", ["orin"]),
        ("pi0?", ["pi01", "pi02", "pi03"]),
        ("jet*", ["orin"]),
    ],
)
def test_a_pattern_chooses_hosts(pattern: str, names: list[str], tmp_path: Path) -> None:
    inventory = read_inventory(write(tmp_path, INI))
    assert [address.name for address in inventory.select(pattern)] == names


def test_a_pattern_with_an_unknown_name_suggests_the_nearest(tmp_path: Path) -> None:
    inventory = read_inventory(write(tmp_path, INI))
    with pytest.raises(SchemaError, match="no host or group 'jetson'") as caught:
        inventory.select("jetson")
    assert caught.value.hint.startswith("did you mean 'jetsons'?")
    with pytest.raises(SchemaError, match="leaves no host"):
        inventory.select("pis,!pis")


@pytest.mark.parametrize(
    ("pattern", "hosts"),
    [
        ("web", ["web"]),
        ("web[01:03]", ["web01", "web02", "web03"]),
        ("web[8:10].lan", ["web8.lan", "web9.lan", "web10.lan"]),
        ("n[0:6:3]", ["n0", "n3", "n6"]),
        ("db-[a:c]", ["db-a", "db-b", "db-c"]),
        ("r[1:2]-[x:y]", ["r1-x", "r1-y", "r2-x", "r2-y"]),
    ],
)
def test_a_range_stands_for_its_hosts(pattern: str, hosts: list[str]) -> None:
    assert expanded(pattern, "here") == hosts


@pytest.mark.parametrize(
    "pattern",
    ["w[3:1]", "w[1:c]", "w[1-3]", "w[01:03", "w[0:999999999]", "w[0:99][0:99]", "w[1:2:0]"],
)
def test_a_range_that_cannot_be_is_refused(pattern: str) -> None:
    with pytest.raises(SchemaError, match=r"^here: "):
        expanded(pattern, "here")


def test_a_port_may_follow_the_host(tmp_path: Path) -> None:
    path = write(tmp_path, "web[1:2]:2222\n10.0.0.1:22\nfe80::1\n")
    ports = [(one.host, one.port) for one in read_inventory(path).hosts.values()]
    assert ports == [("web1", 2222), ("web2", 2222), ("10.0.0.1", 22), ("fe80::1", None)]


def test_a_host_in_two_groups_is_one_host(tmp_path: Path) -> None:
    text = "[a]\nx ansible_host=10.0.0.1\n[b]\nx\n[c]\nx ansible_host=10.0.0.1 ansible_user=pi\n"
    inventory = read_inventory(write(tmp_path, text))
    assert inventory.hosts == {"x": Address("x", "10.0.0.1", "pi")}
    assert all("x" in inventory.groups[group] for group in "abc")


def test_a_host_with_contradicting_variables_names_both_places(tmp_path: Path) -> None:
    path = write(tmp_path, "[a]\nx ansible_host=10.0.0.1\n[b]\nx ansible_host=10.0.0.2\n")
    assert str(error_of(path)) == (
        f"'{path}': ansible_host of 'x' is '10.0.0.1' in group 'a', and '10.0.0.2' in group 'b'."
    )


def test_two_groups_that_contradict_each_other_are_named(tmp_path: Path) -> None:
    text = "[a]\nx\n[b]\nx\n[a:vars]\nansible_user=pi\n[b:vars]\nansible_ssh_user=root\n"
    path = write(tmp_path, text)
    assert str(error_of(path)) == (
        f"'{path}': ansible_user of 'x' is 'pi' in group 'a', and 'root' in group 'b'."
    )
    # Beside the host it counts more than both.
    read_inventory(write(tmp_path, text.replace("[a]\nx", "[a]\nx ansible_user=edge")))


@pytest.mark.parametrize(
    "text",
    [
        "a ansible_host=10.0.0.1\nb ansible_host=10.0.0.1 ansible_user=root\n",
        "a ansible_host=Board\nb ansible_host=board ansible_port=22\n",
        "board\nb ansible_host=board\n",
    ],
)
def test_two_names_of_one_machine_are_named(text: str, tmp_path: Path) -> None:
    error = error_of(write(tmp_path, text))
    first, second = (line.split()[0] for line in text.splitlines())
    assert f"'{first}' and '{second}' are the same machine" in str(error)


def test_two_ports_of_one_address_are_two_machines(tmp_path: Path) -> None:
    path = write(tmp_path, "a ansible_host=gate ansible_port=1\nb ansible_host=gate:2\n")
    assert "not the address" in str(error_of(path))
    path = write(tmp_path, "a ansible_host=gate ansible_port=1\nb ansible_host=gate ansible_port=2")
    assert [one.port for one in read_inventory(path).hosts.values()] == [1, 2]


@pytest.mark.parametrize(
    ("variable", "message"),
    [
        ("ansible_ssh_common_args='-o ProxyCommand=x'", "ansible_ssh_common_args is not supported"),
        ("ansible_ssh_pass=secret", "ansible_ssh_pass is not supported"),
        ("ansible_connection=docker", "ansible_connection is not ssh"),
        ("ansible_host='{{ gateway }}'", "ansible_host is a template"),
        ("ansible_host=-oProxyCommand=x", "is not the address of a machine"),
        ("ansible_user=-l", "is not the address of a machine"),
        ("ansible_port=ssh", "ansible_port is 'ssh', not a number"),
        ("ansible_port=\u00b2", "ansible_port is '\u00b2', not a number"),
        ("ansible_port=99999", "there is no port 99999"),
        ("ansible_python_interpreter='sh -c x'", "is not the path of a Python"),
        ("ansible_ssh_private_key_file=/none/key", "there is no key file '/none/key'"),
    ],
)
def test_a_variable_that_cannot_be_followed_is_an_error(
    variable: str, message: str, tmp_path: Path
) -> None:
    error = error_of(write(tmp_path, f"x {variable}\n"))
    assert "host 'x'" in str(error)
    assert message in str(error)


def test_a_key_file_and_a_python_that_ansible_would_find_are_understood(tmp_path: Path) -> None:
    (tmp_path / "key").touch()
    text = f"x ansible_private_key_file={tmp_path / 'key'} ansible_python_interpreter=auto\n"
    text += "y ansible_python_interpreter='/usr/bin/env python3.12' ansible_become=true\n"
    x, y = read_inventory(write(tmp_path, text)).hosts.values()
    assert (x.key_file, x.python, y.python) == (tmp_path / "key", None, "python3.12")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names no host"),
        ("[a:sons]\nb\n", "line 1: a section is"),
        ("x ansible_host\n", "line 1: 'ansible_host' is not a variable"),
        ("x 'open\n", "line 1: No closing quotation"),
        ("[a:children]\nb\n[b:children]\na\n[a]\nx\n", "is inside itself"),
        ("[a:vars]\n[b\n", "line 2: '[b' is not a section"),
    ],
)
def test_a_malformed_file_names_the_line(text: str, message: str, tmp_path: Path) -> None:
    assert message in str(error_of(write(tmp_path, text)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("all: {host: {x: }}", "unknown field `host`"),
        ("all: {hosts: [x]}", "Expected `object | null`"),
        ("all: {hosts: {x: {ansible_port: [22]}}}", "ansible_port is not a text"),
        ("all: {hosts: {x: {ansible_password: !vault abc}}}", "is not well formed"),
        ("- x", "Expected `object`"),
    ],
)
def test_malformed_yaml_names_the_key(text: str, message: str, tmp_path: Path) -> None:
    assert message in str(error_of(write(tmp_path, text, "boards.yaml")))


def test_folders_of_variables_beside_it_are_noticed(tmp_path: Path) -> None:
    path = write(tmp_path, INI)
    assert unread_folders(path) == []
    (tmp_path / "group_vars").mkdir()
    assert unread_folders(path) == [tmp_path / "group_vars"]
