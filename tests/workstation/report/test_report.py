"""`edgetl report`: what is on the page, and what happens if something is missing."""

import json
import re
import shutil
from pathlib import Path

import pytest

pytest.importorskip("captum")

from edgetl.bundle.archive import Bundle, record_verdicts
from edgetl.core.errors import EdgetlError
from edgetl.data.split import SPLITS_FILE, read_split
from edgetl.workstation.report.report import report
from tests.browser import DESKTOP_PX, PHONE_PX, look_at, needs_chromium
from tests.bundle.test_record_verdicts import verdict
from tests.conftest import Command


@pytest.fixture(scope="module")
def page(tiny_run: Path, tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a run and its bundle, with everything that a report can have."""
    out = tmp_path_factory.mktemp("report") / "report.html"
    return report([tiny_run, tiny_bundle], out, attack=True)


@pytest.fixture
def moved_run(tiny_run: Path, pictures: Path, tmp_path: Path) -> Path:
    """A copy of the run whose pictures are in a folder that can be changed."""
    shutil.copytree(pictures, tmp_path / "moved")
    run = shutil.copytree(tiny_run, tmp_path / "run")
    split = json.loads((run / SPLITS_FILE).read_text())
    (run / SPLITS_FILE).write_text(json.dumps({**split, "root": str(tmp_path / "moved")}))
    return run


def headings(page: Path) -> list[str]:
    return re.findall("<h3>(.*?)</h3>", page.read_text())


def test_a_run_and_its_bundle_are_one_section_with_every_part(page: Path, tiny: Bundle) -> None:
    text = page.read_text()
    names = [a.name for a in tiny.manifest.artifacts]
    chosen = re.search('<tr class="chosen"><th scope="row">(.*?)</th>', text)
    assert chosen and chosen[1] in names and "int8" in chosen[1]
    found = headings(page)
    assert found[0] == "Models"
    assert {
        f"Classes, {chosen[1]}", f"Confusions, {chosen[1]}",
        f"Where {chosen[1]} and torch disagree",
        "Calibration, training and int8", "Blur, noise, compression, darkness, colour cast",
        "Under a gradient attack", "Where the time goes", "Where it comes from",
    } <= set(found)  # fmt: skip
    assert all(f'<th scope="row">{name}</th>' in text for name in ("torch", *names))
    for artifact in tiny.manifest.artifacts:
        assert all(file.sha256 in text for file in artifact.files)


def test_it_is_one_file_of_at_most_five_megabytes_without_addresses(page: Path) -> None:
    text = page.read_text()
    assert page.stat().st_size < 5e6
    addresses = set(re.findall(r'(?:src|href|xlink:href)="([^"]{0,40})', text))
    assert all(address.startswith(("data:image/jpeg;base64,", "#")) for address in addresses)
    outside = set(re.findall(r"https?://[^\s\"<]+", text))
    assert all(address.startswith("http://www.w3.org/") for address in outside)  # SVG's names


def test_each_chart_says_in_words_what_it_shows(page: Path) -> None:
    text = page.read_text()
    labels = re.findall('<svg role="img" aria-label="(.*?)"', text)
    assert len(labels) == text.count("<svg") >= 5
    assert all(len(label) > 20 for label in labels)
    assert text.count("<img ") == text.count(' alt="')


@needs_chromium
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width_px", [PHONE_PX, DESKTOP_PX])
def test_it_fits_a_phone_and_a_desktop_in_light_and_dark(
    page: Path, width_px: int, dark: bool, tmp_path: Path
) -> None:
    seen = look_at(page, width_px, tmp_path / "look", dark=dark)
    assert seen.console == []
    assert not seen.scrolls
    assert seen.wide == []
    assert (seen.paper == "rgb(255, 255, 255)") != dark


@needs_chromium
def test_a_table_is_sorted_by_pressing_a_heading(page: Path, tmp_path: Path) -> None:
    steps = """
    const table = document.querySelector("table.sortable");
    const button = table.querySelectorAll("thead button")[2];
    const sizes = () => [...table.tBodies[0].rows].map((row) => row.cells[2].textContent);
    button.click();
    const up = sizes(), sort = button.parentElement.getAttribute("aria-sort");
    button.click();
    result = [sort, up.join(), sizes().join()].join("|");
    """
    sort, up, down = look_at(page, DESKTOP_PX, tmp_path, dark=False, steps=steps).result.split("|")
    known = [float(size) for size in up.split(",") if size != "-"]
    assert sort == "ascending"
    assert known == sorted(known)
    assert len(known) > 1
    assert [float(size) for size in down.split(",") if size != "-"] == known[::-1]


def test_a_bundle_alone_says_what_it_was_exported_with(tiny_bundle: Path, tmp_path: Path) -> None:
    text = report([tiny_bundle], tmp_path / "r.html", benchmark=False).read_text()
    assert "there are no mistakes, confusions or class scores: add --data DIR or the run" in text
    assert headings(tmp_path / "r.html")[-1] == "Where it comes from"
    assert "Where the time goes" not in text


def test_pictures_may_be_named(
    edgetl: Command, tiny_bundle: Path, pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "r.html"
    answer = edgetl(
        "report", tiny_bundle, "--data", pictures, "-o", out, "--no-bench", "--no-corruptions"
    )
    assert answer.code == 0, answer.err
    assert answer.out == f"{out}: {out.stat().st_size / 1e6:.1f} MB\n"
    assert f"Scored on 60 pictures from <bdi>&#39;{pictures}&#39;</bdi>" in out.read_text()


def test_a_benchmark_from_a_device_is_shown(
    edgetl: Command, tiny_bundle: Path, paper_bundle: Path, tmp_path: Path
) -> None:
    made, out = tmp_path / "bench.json", tmp_path / "r.html"
    assert edgetl("bench", tiny_bundle, "--engine", "onnxruntime", "--json", made).code == 0
    assert edgetl("report", tiny_bundle, "--bench", made, "-o", out).code == 0
    assert "Where the time goes" in out.read_text()
    assert edgetl("report", paper_bundle, "--bench", made, "-o", out).code == 0
    assert "The benchmark is of another bundle" in out.read_text()


def test_pictures_that_have_moved_are_counted_and_the_rest_is_shown(moved_run: Path) -> None:
    split = read_split(moved_run / SPLITS_FILE)
    names = [name for names in split.test.values() for name in names]
    for name in names[::2]:
        (Path(split.root) / name).unlink()
    out = moved_run.parent / "r.html"
    text = report([moved_run], out, corruptions=False).read_text()
    gone = len(names[::2])
    assert f"{gone} pictures of the run&#39;s test part are no longer in" in text
    assert f"Scored on {len(names) - gone} pictures" in text
    assert "Classes, torch" in headings(out)


def test_a_run_whose_pictures_are_all_gone_still_has_a_report(moved_run: Path) -> None:
    shutil.rmtree(moved_run.parent / "moved")
    out = moved_run.parent / "r.html"
    text = report([moved_run], out).read_text()
    assert "are no longer in" in text
    assert "Learning curve" in text
    assert "Classes, torch" not in headings(out)


def test_several_runs_are_compared(tiny_run: Path, moved_run: Path, tmp_path: Path) -> None:
    text = report([tiny_run, moved_run], tmp_path / "r.html", corruptions=False).read_text()
    assert text.count('<p class="verdict">') == 2
    assert f"<h2><bdi>{moved_run}</bdi></h2>" in text


def test_an_interrupted_run_is_an_error(tiny_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(tiny_run, tmp_path / "run")
    facts = json.loads((run / "checkpoint.json").read_text())
    (run / "checkpoint.json").write_text(json.dumps({**facts, "finished": False}))
    with pytest.raises(EdgetlError, match="was interrupted before it was finished") as caught:
        report([run], tmp_path / "r.html")
    assert "--resume" in (caught.value.hint or "")
    assert not (tmp_path / "r.html").exists()


def test_an_output_folder_that_does_not_exist_is_an_error(
    edgetl: Command, tiny_run: Path, tmp_path: Path
) -> None:
    answer = edgetl("report", tiny_run, "-o", tmp_path / "nowhere" / "r.html")
    assert answer.code == 1
    assert f"'{tmp_path / 'nowhere' / 'r.html'}' cannot be written" in answer.err


def test_labels_that_a_bundle_does_not_know_are_an_error(
    tiny_bundle: Path, pictures: Path, tmp_path: Path
) -> None:
    other = shutil.copytree(pictures, tmp_path / "other")
    (other / "slope").rename(other / "ramp")
    with pytest.raises(EdgetlError, match="'ramp'"):
        report([tiny_bundle], tmp_path / "r.html", data=other, benchmark=False)


def test_an_attack_needs_a_run(tiny_bundle: Path, pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(EdgetlError, match="needs a run"):
        report([tiny_bundle], tmp_path / "r.html", data=pictures, benchmark=False, attack=True)


def test_what_was_found_on_a_board_is_in_the_sentence_on_top(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    bundle = Bundle(shutil.copy(tiny_bundle, tmp_path / "m.edgetl"))
    found = [verdict(artifact=a.name) for a in bundle.manifest.artifacts]
    record_verdicts(bundle, found)
    text = report([bundle.path], tmp_path / "r.html", benchmark=False).read_text()
    sentence = re.search('<p class="verdict"><bdi>(.*?)</bdi>', text)
    assert sentence and sentence[1].endswith("; right on an emulated a-board.")
    assert " MB, " in sentence[1]
