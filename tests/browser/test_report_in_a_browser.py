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
    return page.locator("#board tbody tr:visible th .name").all_inner_texts()


def rendered(page, name):
    page.locator(f"#{name}").scroll_into_view_if_needed()
    page.wait_for_selector(f"#{name}-plots .chart .plot-container", state="attached")
    return page.locator(f"#{name}-plots .chart")


def test_leaderboard_sorts_by_mouse_and_keyboard(visit):
    page = visit()
    heading = page.locator("#board th", has=page.get_by_role("button", name="F1", exact=True))

    def values():
        cells = page.locator("#board tbody tr:visible td.c-f1")
        return [float(value) for value in cells.evaluate_all("cells => cells.map((cell) => cell.dataset.v)")]

    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "descending"
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
    assert shown_names(page) == sorted(shown_names(page))
    error = page.locator("#board th", has=page.get_by_role("button", name=re.compile("^MAE")))
    error.get_by_role("button").click()
    assert error.get_attribute("aria-sort") == "ascending"  # lower is better, and the best comes first


def test_leaderboard_filters_rows_and_columns(visit):
    page = visit()
    assert set(shown_names(page)) == {"eyes", "d.second-observer", "classes", "good", "worse"}
    page.get_by_label("Data set").first.select_option("t")
    assert shown_names(page) == ["good", "worse"]
    page.get_by_label("Name contains").fill("GOO")
    assert shown_names(page) == ["good"]
    assert page.locator("#board-count").inner_text().startswith("1 of ")
    page.get_by_role("button", name="Show all rows").click()
    assert shown_names(page).count("classes") == 10  # four classes and their mean, macro and micro
    page.get_by_label("Rows").select_option("-baseline")
    assert "d.second-observer" not in shown_names(page)
    assert page.locator("#board td.c-f1:visible").count() > 0
    page.locator(".chooser summary").click()
    page.locator("[data-column=f1]").uncheck()
    assert page.locator("#board td.c-f1:visible").count() == 0
    page.locator("[data-column=mcc]").check()
    assert page.locator("#board td.c-mcc:visible").count() > 0


def test_best_scores_and_intervals_are_shown(visit):
    page = visit()
    row = page.locator("#board tbody tr:visible", has=page.locator(".name", has_text="good"))
    cell = row.locator("td.c-f1")
    assert cell.get_by_role("img", name="best").count() == 1
    assert cell.locator(".interval").inner_text() == "[0.801, 0.942]"
    observer = page.locator("#board tbody tr", has=page.locator(".name", has_text="d.second-observer"))
    assert observer.locator(".best").count() == 0


def test_layers_of_a_case_work_by_keyboard(visit):
    page = visit()
    case = page.locator(".gallery[open] .case").first
    case.scroll_into_view_if_needed()
    over = case.locator(".over")
    case.get_by_label("errors", exact=True).focus()
    errors = over.get_attribute("src")
    page.keyboard.press("ArrowLeft")
    assert case.get_by_label("prediction").is_checked()
    assert over.get_attribute("src") != errors
    assert over.get_attribute("alt").startswith("prediction of ")
    case.get_by_label("image", exact=True).check()
    assert over.is_hidden()
    assert case.get_by_role("slider").is_disabled()
    case.get_by_label("mask", exact=True).check()
    slider = case.get_by_role("slider")
    slider.focus()
    assert slider.input_value() == "100"
    page.keyboard.press("ArrowLeft")
    assert slider.input_value() == "95"
    assert over.evaluate("element => element.style.clipPath") == "inset(0px 0px 0px 5%)"
    page.keyboard.press("Home")
    assert over.evaluate("element => element.style.clipPath") == "inset(0px 0px 0px 100%)"
    all_cases = page.locator(".gallery[open] .for-all")
    all_cases.get_by_label("prediction").check()
    radios = page.locator(".gallery[open] .case input[value=prediction]")
    assert all(radios.evaluate_all("boxes => boxes.map((box) => box.checked)"))


def test_points_and_table_rows_open_images(visit):
    page = visit()
    page.locator("#images-controls select").first.select_option("t")
    rendered(page, "images")
    dots = page.locator("#images-plots .point")
    assert dots.count() == 6
    page.wait_for_timeout(200)
    box = dots.first.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.wait_for_selector("#images-plots .hovertext")
    page.mouse.down()
    page.mouse.up()
    viewer = page.locator("#viewer")
    viewer.wait_for(state="visible")
    assert viewer.locator(".under").evaluate("element => element.naturalWidth") == 101
    page.keyboard.press("Escape")
    assert viewer.is_hidden()
    page.locator("details[data-table=images] summary").click()
    page.get_by_role("button", name=HOSTILE).click()
    assert page.locator("#viewer-title").inner_text() == f"{HOSTILE}, good"
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
    page.locator("#images-controls select").first.select_option("t")
    rendered(page, "images")
    scores = sorted(pd.to_numeric(table.loc[(table["split"] == "test") & (table["f1"] != ""), "f1"]))
    assert len(scores) == 5
    assert f"5 of 6 test images have this score; lowest {scores[0]:.3f}, median {scores[2]:.3f}" in (
        page.locator("#images-summary").inner_text()
    )
    details = page.locator("details[data-table=images]")
    details.locator("summary").click()
    for order in ("worst", "best"):
        details.get_by_label("Order").select_option(order)
        assert details.locator("tbody .name").all_inner_texts()[-1] == "tile003"


def test_scatter_plot_median_and_axes(visit, project_with_page):
    page = visit()
    controls, summary = page.locator("#images-controls"), page.locator("#images-summary")
    controls.locator("select").first.select_option("t")
    rendered(page, "images")
    for name in ("good", "worse"):
        table = pd.read_csv(project_with_page / f"results/metrics/{name}/per_image.csv")
        controls.get_by_label("Y axis").select_option(label=name)
        assert f"median {table[table['split'] == 'test']['f1'].median():.3f}" in summary.inner_text()
    controls.get_by_label("Y axis").select_option(label="good")
    controls.get_by_label("X axis").select_option(label="worse")
    assert "Higher than worse on" in summary.inner_text()
    controls.get_by_label("Y axis").select_option(label="worse")
    assert "Higher than" not in summary.inner_text()
    assert controls.get_by_label("X axis").input_value() == "share"


def test_names_are_text_in_figures_and_tables(visit):
    page = visit()
    select = page.locator("#confusion-controls select").first
    select.select_option(label="classes")
    rendered(page, "confusion")
    page.locator("details[data-table=confusion] summary").click()
    table = page.locator("details[data-table=confusion] table")
    assert '</script><script>alert(2)</script><b onmouseover="alert(3)">&amp;' in table.inner_text()
    assert "<script>" in page.locator("#confusion-plots .chart").inner_text()
    assert HOSTILE in page.locator("#cases").inner_text() or page.locator(f'.case[data-id="{HOSTILE}"]').count()
    assert page.locator("main iframe, main img[src=x], main b[onmouseover]").count() == 0
    assert page.locator("#data").inner_text().count("<iframe src=//example.org></iframe>") == 1


def test_all_figures_have_charts_text_and_tables(visit):
    page = visit()
    for name, charts in (("learning", 3), ("curves", 3), ("images", 1), ("confusion", 1), ("runs", 1)):
        plots = rendered(page, name)
        assert plots.count() == charts, name
        for index in range(charts):
            assert len(plots.nth(index).get_attribute("aria-label")) > 30
        assert len(page.locator(f"#{name}-summary").inner_text()) > 20
    for summary in page.locator("details[data-table] summary").all():
        summary.click()
    for details in page.locator("details[data-table]").all():
        assert details.locator("tbody tr").count() > 1
    learning = page.locator("#learning-controls select")
    learning.nth(2).select_option("log")
    assert page.locator("#learning-controls select").nth(2).input_value() == "log"


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_page_is_not_wider_than_the_screen(visit, width):
    page = visit(width=width)
    for name in ("learning", "curves", "images", "confusion", "runs"):
        rendered(page, name)
    page.locator("details").evaluate_all("all => all.forEach((element) => { element.open = true; })")
    page.wait_for_timeout(200)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("#board .narrow-conditions").first.is_visible() == (width == 390)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_theme_menu_overrides_the_system_theme(visit, scheme):
    page = visit(color_scheme=scheme)
    background = "getComputedStyle(document.body).backgroundColor"
    first = page.evaluate(background)
    assert (first == "rgb(255, 255, 255)") == (scheme == "light")
    rendered(page, "learning")
    text = page.locator("#learning-plots .xtick text").first
    old_colour = text.evaluate("element => getComputedStyle(element).fill")
    page.get_by_label("Theme").select_option("light" if scheme == "dark" else "dark")
    assert page.evaluate(background) != first
    assert text.evaluate("element => getComputedStyle(element).fill") != old_colour


def test_print_opens_all_details_and_shows_all_layers(visit):
    page = visit()
    page.emulate_media(media="print", color_scheme="dark")
    page.wait_for_function("document.querySelectorAll('.case .strip').length > 5")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.locator("details:not([open]):not([data-table]):not(.chooser)").count() == 0
    assert page.locator("nav").is_hidden()
    assert page.locator(".stage:visible").count() == 0
    assert page.locator(".case").first.locator(".strip img:visible").count() == 5
    assert page.locator(".chart:visible").count() == 9
    page.emulate_media(media="screen")
    page.wait_for_function(
        "document.querySelectorAll('.stage').length && !document.querySelector('.strip').offsetParent"
    )


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
    for name in ("learning", "curves", "images", "confusion", "runs"):
        rendered(page, name)
    page.locator("details").evaluate_all("all => all.forEach((element) => { element.open = true; })")
    page.wait_for_timeout(200)
    assert violations(page) == []
    page.locator("details[data-table=images] table button").first.click()
    page.locator("#viewer").wait_for(state="visible")
    assert violations(page) == []


def test_tables_have_captions_and_links_have_targets(visit):
    """Rules that axe-core does not have."""
    page = visit()
    for name in ("learning", "curves", "images", "confusion", "runs"):
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
