"""The report in a real browser: mouse, keyboard, accessibility, no network requests, names shown as text."""

import re
import shutil

import pandas as pd
import pytest
from axe_playwright_python.sync_playwright import Axe
from pages import HOSTILE

from pipeline.cli import main as cli

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH: `apt-get install chromium`"),
]


@pytest.fixture(scope="session")
def address(project_with_page):
    return (project_with_page / "results/report.html").as_uri()


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, address):
    """Open the page; afterwards, there must be no console messages, errors, dialogs or requests."""
    contexts, problems, visited_urls = [], [], []

    def open_page(width=1280, height=900, url=address, **options):
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: problems.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("dialog", lambda dialog: (problems.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda request: request.url.startswith(("data:", "blob:")) or problems.append(request.url))
        visited_urls.append(url)
        page.goto(url)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert [problem for problem in problems if problem not in visited_urls] == []


def shown_names(page):
    return page.locator("#board tbody tr:visible th[scope=row] .name").all_inner_texts()


FIGURES = {"curves": 3, "learning": 3}


def rendered(page, name):
    page.locator(f"#{name}").scroll_into_view_if_needed()
    page.wait_for_selector(f"#{name}-content .chart .plot-container", state="attached")
    return page.locator(f"#{name}-content .chart")


def option(page, label, group="images"):
    return page.locator(f"#{group}-controls").get_by_label(label)


def unfold(page):
    page.locator(".fold:visible").evaluate_all("all => all.forEach((button) => button.click())")


# -- overview ----------------------------------------------------------------------------------------------------------


def test_page_opens_with_images_and_the_best_method(visit):
    page = visit()
    cards = page.locator(".card.overview")
    assert cards.locator("h2").all_inner_texts() == ["d", "t", "s"]
    card = cards.nth(1)
    assert card.locator(".best-of .name").inner_text() == "good"
    assert "[0.801, 0.942]" in card.locator(".best-of").inner_text()
    assert "corrected p = 0.020" in card.locator(".verdict").inner_text()
    assert card.locator(".strip .over").evaluate_all("all => all.every((image) => image.naturalWidth > 0)")
    assert {text.split()[0] for text in card.locator(".strip .caption").all_inner_texts()} == {
        "Best",
        "Median",
        "Worst",
    }
    first = cards.first
    assert first.locator(".strip").bounding_box()["y"] < 900  # seen without scrolling
    assert "d.second-observer" in first.locator(".bars").inner_text()


def test_notes_lead_to_the_images_that_fail(visit, project_with_page):
    page = visit()
    note = page.locator(".look a[data-below]").first
    count = int(note.inner_text().split()[0])
    note.click()
    page.locator("#images-content .thumb").first.wait_for()
    assert page.locator("#images-note").inner_text().startswith(f"{count} of ")
    assert option(page, "To").input_value() == "0.5"
    scores = page.locator("#images-content .caption b").all_inner_texts()
    assert len(scores) == count
    assert all(float(score) < 0.5 for score in scores)


# -- tables ------------------------------------------------------------------------------------------------------------


def test_leaderboard_sorts_by_mouse_and_keyboard(visit):
    page = visit()
    page.get_by_role("button", name="Show all rows").click()
    heading = page.locator("#board th", has=page.get_by_role("button", name="F1", exact=True))

    def values():
        cells = page.locator("#board tbody[data-dataset=t] tr:visible td.c-f1")
        return [float(value) for value in cells.evaluate_all("cells => cells.map((cell) => cell.dataset.v)")]

    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "descending"
    assert len(values()) == 4
    assert values() == sorted(values(), reverse=True)
    heading.get_by_role("button").focus()
    page.keyboard.press("Enter")
    assert heading.get_attribute("aria-sort") == "ascending"
    assert values() == sorted(values())
    name = page.locator("#board th").first
    name.get_by_role("button").focus()
    page.keyboard.press("Space")
    assert name.get_attribute("aria-sort") == "ascending"
    assert heading.get_attribute("aria-sort") is None
    names = page.locator("#board tbody[data-dataset=t] tr:visible th[scope=row] .name").all_inner_texts()
    assert names == sorted(names)
    assert page.locator("#board tbody[data-dataset=t] tr").first.get_attribute("class") == "group"
    error = page.locator("#board th", has=page.get_by_role("button", name=re.compile("^MAE")))
    error.get_by_role("button").click()
    assert error.get_attribute("aria-sort") == "ascending"  # lower is better, and the best comes first


def test_leaderboard_shows_one_region_and_folds_baselines(visit):
    page = visit()
    assert shown_names(page) == ["eyes", "classes", "good", "worse"]
    fold = page.locator("tbody[data-dataset=d] .fold")
    assert fold.get_attribute("aria-expanded") == "false"
    fold.focus()
    page.keyboard.press("Enter")
    assert fold.get_attribute("aria-expanded") == "true"
    assert set(shown_names(page)) == {"eyes", "d.second-observer", "good", "worse", "classes"}
    assert "test · field of view · vessel · macro" in page.locator("tbody[data-dataset=d] .shared").inner_text()
    heights = page.locator("#board tbody tr:visible:not(.group)").evaluate_all(
        "rows => rows.map((r) => r.offsetHeight)"
    )
    assert max(heights) < 40  # one line each


def test_leaderboard_filters_rows_and_columns(visit):
    page = visit()
    page.get_by_label("Data set").first.select_option("t")
    assert shown_names(page) == ["good", "worse"]
    page.get_by_label("Name contains").fill("GOO")
    assert shown_names(page) == ["good"]
    assert page.locator("#board-count").inner_text().startswith("1 of ")
    assert page.locator("td.c-averaging:visible").count() == 0
    page.get_by_role("button", name="Show all rows").click()
    assert shown_names(page).count("classes") == 10  # four classes and their mean, macro and micro
    assert page.locator("td.c-averaging:visible").count() > 0  # differs now
    page.locator(".chooser summary").click()
    page.locator("[data-column=f1]").uncheck()
    assert page.locator("#board td.c-f1:visible").count() == 0
    page.locator("[data-column=mcc]").check()
    assert page.locator("#board td.c-mcc:visible").count() > 0


def test_best_scores_and_intervals_are_shown(visit):
    page = visit()
    unfold(page)
    row = page.locator("#board tbody tr:visible", has=page.locator(".name", has_text="good"))
    cell = row.locator("td.c-f1")
    assert cell.get_by_role("img", name="best").count() == 1
    assert cell.locator(".interval").inner_text() == "[0.801, 0.942]"
    observer = page.locator("#board tbody tr", has=page.locator(".name", has_text="d.second-observer"))
    assert observer.locator(".best").count() == 0


def test_matrix_shows_effect_and_corrected_p(visit):
    page = visit()
    cells = page.locator("#comparisons-content tbody tr").first.locator("td")
    assert cells.nth(1).inner_text().split("\n") == ["+0.200", "p = 0.020", "[+0.100, +0.300]"]
    assert "better" in cells.nth(1).get_attribute("class")
    back = page.locator("#comparisons-content tbody tr").nth(1).locator("td").first
    assert back.inner_text().split("\n") == ["\u22120.200", "p = 0.020", "[\u22120.300, \u22120.100]"]
    assert "worse" in back.get_attribute("class")
    option(page, "Score", "comparisons").select_option(label="IoU")
    assert "unsure" in page.locator("#comparisons-content td").nth(1).get_attribute("class")
    assert "2 comparisons" in page.locator("#comparisons-note").inner_text()


# -- images ------------------------------------------------------------------------------------------------------------


def open_first(page):
    option(page, "Data set").select_option("t")
    page.locator("#images-content .thumb").first.click()
    page.locator("#viewer").wait_for(state="visible")


def title(page):
    return page.locator("#viewer-title").inner_text()


def test_images_are_filtered_by_score_and_identifier(visit, project_with_page):
    page = visit()
    option(page, "Data set").select_option("t")
    option(page, "Method").select_option(label="worse")
    table = pd.read_csv(project_with_page / "results/metrics/worse/per_image.csv", dtype={"id": str})
    scores = table[table["split"] == "test"].set_index("id")["f1"].sort_values()
    assert page.locator("#images-content .name").all_inner_texts()[0] == scores.index[0]
    limit = round((scores.iloc[2] + scores.iloc[3]) / 2, 4)
    option(page, "To").fill(str(limit))
    page.keyboard.press("Tab")
    assert page.locator("#images-content .name").all_inner_texts() == list(scores.index[:3])
    assert page.locator("#images-note").inner_text() == "3 of 6 test images."
    option(page, "To").fill("")
    option(page, "Order").select_option("best")
    assert page.locator("#images-content .name").all_inner_texts() == list(scores.index[::-1])
    option(page, "Identifier contains").fill("TILE003")
    page.keyboard.press("Tab")
    assert page.locator("#images-content .name").all_inner_texts() == ["tile003"]
    option(page, "Layer").select_option("prediction")
    assert page.locator("#images-content .over").get_attribute("alt") == "prediction of tile003, worse"


def test_viewer_steps_through_images_by_key(visit):
    page = visit()
    open_first(page)
    names = page.locator("#images-content .name").all_inner_texts()
    assert title(page).startswith(f"{names[0]}, good: F1 ")
    page.keyboard.press("ArrowLeft")  # there is no image before the first
    assert title(page).startswith(f"{names[0]}, ")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert title(page).startswith(f"{names[2]}, ")
    assert page.locator("#viewer-status").inner_text() == "3 of 6, 1.0\u00d7"
    page.keyboard.press("ArrowLeft")
    assert title(page).startswith(f"{names[1]}, ")
    page.locator("#viewer").get_by_role("button", name="Next").click()
    assert title(page).startswith(f"{names[2]}, ")
    beside = page.locator("#viewer-beside select")
    beside.focus()
    beside.select_option(label="worse")
    page.keyboard.press("ArrowLeft")  # chooses in the menu, not another image
    assert title(page).startswith(f"{names[2]}, ")
    beside.select_option(label="worse")
    assert page.locator("#panes figcaption").all_inner_texts()[4].startswith("prediction of worse: F1 ")
    page.keyboard.press("Escape")
    assert page.locator("#viewer").is_hidden()


def test_views_zoom_and_move_together(visit):
    page = visit()
    open_first(page)

    def transforms():
        return page.locator("#panes .stage").evaluate_all("all => all.map((box) => box.style.transform)")

    page.keyboard.press("+")
    assert transforms() == ["translate(-25%, -25%) scale(1.5)"] * 4
    page.keyboard.press("Shift+ArrowRight")
    assert transforms() == ["translate(-37.5%, -25%) scale(1.5)"] * 4
    page.keyboard.press("0")
    assert transforms() == ["translate(0%, 0%) scale(1)"] * 4
    box = page.locator("#panes .frame").nth(1).bounding_box()
    page.mouse.move(box["x"] + 1, box["y"] + 1)
    page.mouse.wheel(0, -400)
    page.locator("#viewer-status", has_text="2.7\u00d7").wait_for()
    zoomed = transforms()
    assert len(set(zoomed)) == 1
    assert float(re.search(r"scale\((.*)\)", zoomed[0])[1]) == pytest.approx(2.718, abs=0.01)
    page.mouse.down()
    page.mouse.move(box["x"] - 40, box["y"] + 1)
    page.mouse.up()
    moved = transforms()
    assert len(set(moved)) == 1
    assert moved != zoomed
    page.mouse.dblclick(box["x"] + 9, box["y"] + 9)
    assert transforms() == ["translate(0%, 0%) scale(1)"] * 4
    page.locator("#viewer").get_by_role("button", name="Zoom in").click()
    assert page.locator("#viewer-status").inner_text().endswith(", 1.5\u00d7")


def test_thumbnails_open_images_and_panels(visit):
    page = visit()
    open_first(page)
    viewer = page.locator("#viewer")
    assert viewer.locator(".under").first.evaluate("element => element.naturalWidth") == 101
    page.keyboard.press("Escape")
    assert viewer.is_hidden()
    page.locator("#images-content .thumb", has_text=HOSTILE).click()
    assert title(page).startswith(f"{HOSTILE}, good")
    link = viewer.get_by_role("link", name="full panel").evaluate("element => element.href")
    assert page.context.new_page().goto(link).ok
    page.get_by_role("button", name="Close").click()
    assert viewer.is_hidden()


def test_images_without_a_score_come_last(visit, project_with_page, tmp_path, monkeypatch):
    folder = shutil.copytree(project_with_page, tmp_path / "project")
    monkeypatch.chdir(folder)
    path = folder / "results/metrics/good/per_image.csv"
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table.loc[(table["split"] == "test") & (table["id"] == "tile003"), "f1"] = ""
    table.to_csv(path, index=False)
    assert cli.main(["report", "--leaderboard", "results/leaderboard.csv"]) == 0
    page = visit(url=(folder / "results/report.html").as_uri())
    option(page, "Data set").select_option("t")
    option(page, "Method").select_option(label="good")
    assert page.locator("#images-note").inner_text() == "6 of 6 test images."
    for order in ("worst", "best"):
        option(page, "Order").select_option(order)
        assert page.locator("#images-content .name").all_inner_texts()[-1] == "tile003"


# -- names, sizes, themes, print, accessibility ----------------------------------------------------------------------


def test_names_are_text_in_figures_and_tables(visit):
    page = visit()
    name = '</script><script>alert(2)</script><b onmouseover="alert(3)">&amp;'
    option(page, "Method", "confusion").select_option(label="classes")
    assert name in page.locator("#confusion-content table").inner_text()
    assert HOSTILE in page.locator("#overview").inner_text()
    assert page.locator("main iframe, main img[src=x], main b[onmouseover]").count() == 0
    assert page.locator("#data").inner_text().count("<iframe src=//example.org></iframe>") == 1


def test_links_of_the_navigation_reach_their_sections(visit):
    page = visit(width=390, reduced_motion="reduce")
    for link in page.locator("nav a").all():
        page.evaluate("scrollTo(0, 0)")
        link.click()
        page.wait_for_timeout(300)
        section = page.locator(link.get_attribute("href"))
        at_end = page.evaluate("scrollY + innerHeight >= document.documentElement.scrollHeight - 1")
        assert at_end or abs(section.bounding_box()["y"] - 56) < 4, link.get_attribute("href")


def test_all_figures_have_charts_and_text(visit):
    page = visit()
    for name, charts in FIGURES.items():
        plots = rendered(page, name)
        assert plots.count() == charts, name
        for index in range(charts):
            assert len(plots.nth(index).get_attribute("aria-label")) > 30
    learning = page.locator("#learning-controls select")
    learning.nth(2).select_option("log")
    assert page.locator("#learning-controls select").nth(2).input_value() == "log"


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_page_is_not_wider_than_the_screen(visit, width):
    page = visit(width=width)
    for name in FIGURES:
        rendered(page, name)
    page.locator("details").evaluate_all("all => all.forEach((element) => { element.open = true; })")
    page.wait_for_timeout(200)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_paragraphs_take_at_most_two_lines(visit):
    page = visit()
    for name in FIGURES:
        rendered(page, name)
    page.locator("details").evaluate_all("all => all.forEach((element) => { element.open = true; })")
    lines = "p.offsetHeight / parseFloat(getComputedStyle(p).lineHeight)"
    long = page.locator("main p").evaluate_all(f"all => all.filter((p) => {lines} > 2.5).map((p) => p.textContent)")
    assert long == []


def test_page_and_figures_follow_the_system_theme(visit):
    page = visit(color_scheme="light")
    background = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(background) == "rgb(255, 255, 255)"
    rendered(page, "learning")
    text = page.locator("#learning-content .xtick text").first
    old_colour = text.evaluate("element => getComputedStyle(element).fill")
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(background) == "rgb(20, 24, 29)"
    assert text.evaluate("element => getComputedStyle(element).fill") != old_colour


def test_print_opens_all_details_and_shows_all_rows(visit):
    page = visit()
    page.emulate_media(media="print", color_scheme="dark")
    page.locator(".chart .plot-container").nth(5).wait_for(state="attached")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.locator("details:not([open]):not(.chooser)").count() == 0
    assert page.locator("nav").is_hidden()
    assert page.locator(".strip .over:visible").count() > 5
    assert "d.second-observer" in shown_names(page)


def violations(page):
    """Violations that axe-core finds: WCAG 2 up to level AA and best practices, including incomplete checks."""
    results = Axe().run(page).response
    assert len(results["passes"]) > 25
    undecided = [rule for rule in results["incomplete"] if rule["id"] != "color-contrast"]  # stars, and text over bars
    return [(rule["id"], *(node["html"][:150] for node in rule["nodes"])) for rule in results["violations"] + undecided]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_page_has_no_accessibility_violations(visit, width, scheme):
    page = visit(width=width, color_scheme=scheme)
    assert violations(page) == []
    for name in FIGURES:
        rendered(page, name)
    page.locator("details").evaluate_all("all => all.forEach((element) => { element.open = true; })")
    page.wait_for_timeout(200)
    assert violations(page) == []
    page.locator("#images-content .thumb").first.click()
    page.locator("#viewer").wait_for(state="visible")
    assert violations(page) == []


def test_tables_have_captions_and_links_have_targets(visit):
    """Rules that axe-core does not have."""
    page = visit()
    for name in FIGURES:
        rendered(page, name)
    for selector in ("table.sortable:not(:has(caption))", "main th:not([scope])"):
        assert page.locator(selector).count() == 0, selector
    for link in page.locator('a[href^="#"]').all():
        assert page.locator(link.get_attribute("href")).count() == 1


def test_first_tab_stop_skips_the_navigation(visit):
    page = visit()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
