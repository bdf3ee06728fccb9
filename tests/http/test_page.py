"""The web page in headless Chromium: what a visitor does, both themes, narrow screens, keyboard, accessibility.

Every test fails on a console message, a script error, or a request to another host. With REEL_SCREENSHOTS=FOLDER the
pictures of the views are written there."""

import os
import re
import shutil
from pathlib import Path

import pytest

from service import API_KEY, Service, wait_until

sync_playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (PyPI)").sync_playwright
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
if CHROMIUM is None:
    pytest.skip("there is no Chromium (Debian: apt-get install chromium)", allow_module_level=True)

VIEWS = {"home": "#/", "users": "#/users", "user": "#/users/42?model=bmf", "movies": "#/movies?query=star", "movie": "#/movies/260",
         "clusters": "#/clusters", "cluster": "#/clusters/1", "jobs": "#/jobs", "server": "#/server"}
# A service beside the browser answers before a test can look. Here answers take a while, so that a test that does not
# wait for one always fails, not on a busy machine alone.
LATE_ANSWERS = """{
    const ask = window.fetch;
    window.fetch = async (...words) => {
        const answer = await ask(...words);
        await new Promise((done) => setTimeout(done, 150));
        return answer;
    };
}"""
STAR_WARS = {"id": 260, "title": "Star Wars: Episode IV - A New Hope (1977)", "genres": ["Action", "Adventure", "Sci-Fi"]}


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield running
        running.close()


@pytest.fixture(scope="module")
def jobs_service(files, tmp_path_factory):
    with Service(files, store=tmp_path_factory.mktemp("page") / "store.db") as running:
        yield running


class Visit:
    """A browser tab on a service that notes what must not happen; `expected` are statuses that a test provokes."""

    def __init__(self, browser, service, **options):
        self.service, self.wrong, self.expected = service, [], set()
        self.context = browser.new_context(viewport=options.pop("viewport", {"width": 1280, "height": 900}),
                                           reduced_motion="reduce", **options)
        self.context.set_default_timeout(30000)
        self.context.add_init_script(LATE_ANSWERS)
        self.page = self.context.new_page()
        self.page.on("console", lambda message: self.wrong.append(message.text) if not self.provoked(message.text) else None)
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("request", lambda request: self.wrong.append(request.url) if not request.url.startswith(service.url) else None)

    def provoked(self, text):
        status = re.match(r"Failed to load resource: the server responded with a status of (\d+)", text)
        return status is not None and int(status[1]) in self.expected

    def open(self, address):
        self.page.goto(f"{self.service.url}/{address}")
        return self.page

    def close(self):
        self.context.close()
        assert self.wrong == []


@pytest.fixture
def visit(browser, service):
    tab = Visit(browser, service)
    yield tab
    tab.close()


def until(page, expression, seconds=30):
    """Waits for a JavaScript expression; page.wait_for_function would need what the page's policy forbids."""
    assert wait_until(lambda: page.evaluate(expression), seconds), expression


def titles(page, where):
    return [card.get_attribute("data-movie") for card in page.query_selector_all(f"{where} > [data-movie]")]


def rate(page, movie, stars):
    """A click on the stars of a movie's first card."""
    stars_of = page.locator(f'[data-movie="{movie}"] .rater').first
    boxes = []  # none while a search's answer replaces the row
    assert wait_until(lambda: boxes.append(stars_of.bounding_box()) or boxes[-1])
    box = boxes[-1]
    stars_of.click(position={"x": box["width"] * (stars - 0.25) / 5, "y": box["height"] / 2})


def test_search_a_movie_and_rate_it_by_keyboard(visit):
    page = visit.open("#/movies")
    page.get_by_label("Search").fill("toy story")
    page.wait_for_selector('#found [data-movie="1"]')
    until(page, "document.querySelectorAll('#found > li').length < 10")
    assert titles(page, "#found")[0] == "1" and page.url.endswith("query=toy+story")
    page.get_by_role("link", name="Toy Story", exact=True).click()
    page.wait_for_selector("#similar > li[data-movie]")
    assert page.locator("h1").inner_text() == "Toy Story 1995"
    assert page.title().startswith("Toy Story")
    similar = visit.service.json("/api/v1/movies/1/most_similar_movies")["most_similar_movies"]
    assert titles(page, "#similar") == [str(movie["id"]) for movie in similar[:12]]
    page.get_by_role("button", name="Show more").click()
    assert len(titles(page, "#similar")) == 36
    slider = page.get_by_role("slider", name="Your rating of Toy Story")
    slider.press("4")
    slider.press("ArrowRight")
    assert slider.get_attribute("aria-valuetext") == "4.5 stars"
    slider.press("Delete")
    assert slider.get_attribute("aria-valuetext") == "not rated"


def test_no_hit_and_no_such_page(visit):
    page = visit.open("#/movies?query=zzzzqqqq")
    page.wait_for_selector("text=No title matches")
    page.goto(f"{visit.service.url}/#/nowhere")
    page.wait_for_selector("text=There is no such page here.")
    visit.expected = {404}
    page.goto(f"{visit.service.url}/#/users/999999")
    page.wait_for_selector("[role=alert]:has-text('there is no user 999999')")
    assert page.locator("h1").inner_text() == "User 999999"


def test_open_a_user(visit):
    page = visit.open("#/users")
    page.wait_for_selector(".tile")
    page.get_by_label("User id").fill("42")
    page.keyboard.press("Enter")
    page.wait_for_selector("#recommended > li")
    assert page.locator("h1").inner_text() == "User 42"
    rated = visit.service.json("/api/v1/users/42")["movies"]
    assert f"{len(rated)} movies rated" in page.locator(".lead").inner_text()
    page.get_by_label("Model").select_option("bmf")
    page.get_by_label("Genre").select_option("Comedy")
    until(page, "[...document.querySelectorAll('#recommended .genres')].every((g) => g.textContent.includes('Comedy'))")
    page.wait_for_selector("#recommended .sd")
    wanted = visit.service.json("/api/v1/users/42/recommendations?model=bmf&genre=Comedy&limit=20&explain=1")["recommendations"]
    assert titles(page, "#recommended") == [str(movie["id"]) for movie in wanted]
    first = page.locator("#recommended > li").first
    assert f"{wanted[0]['score']:.2f} of 5 stars predicted, give or take {wanted[0]['sd']:.2f}" in first.inner_text()
    assert "because of" in first.inner_text().lower() or "despite" in first.inner_text().lower()
    page.get_by_role("button", name="Show more").last.click()
    until(page, "document.querySelectorAll('#recommended > li').length === 40")
    assert "genre=Comedy" in page.url and "model=bmf" in page.url


def test_who_types_while_a_view_loads_stays_at_the_field(visit):
    page = visit.open("#/")
    page.wait_for_selector(".suggested .rater")
    page.get_by_role("link", name="Users").click()
    page.get_by_label("User id").press("4")
    page.wait_for_selector(".tile")
    page.keyboard.press("2")
    page.keyboard.press("Enter")
    page.wait_for_selector("h1:has-text('User 42')")


def test_rate_as_a_visitor_and_see_the_list_change(visit):
    page = visit.open("#/")
    page.wait_for_selector(".suggested .rater")
    assert "Rate one movie" in page.locator("main").inner_text()
    page.get_by_label("Find a movie").fill("matrix")
    until(page, "document.querySelector('.suggested > li').dataset.movie === '2571'")
    rate(page, 2571, 5)
    page.wait_for_selector("#recommended > li")
    first = titles(page, "#recommended")
    page.get_by_label("Find a movie").fill("titanic 1997")
    page.wait_for_selector('.suggested [data-movie="1721"]')
    rate(page, 1721, 1.5)
    assert wait_until(lambda: titles(page, "#recommended") not in ([], first))
    second = titles(page, "#recommended")
    model = page.get_by_label("Model").input_value()
    answer = visit.service.post("/api/v1/recommendations", json={
        "ratings": [{"movieId": 1721, "rating": 1.5}, {"movieId": 2571, "rating": 5}], "limit": 20, "model": model, "min_ratings": 10})
    assert second == [str(movie["id"]) for movie in answer.json()["recommendations"]]
    assert page.locator("#recommended .moved").count() > 0
    assert "2 ratings of yours" in page.locator("main").inner_text()
    page.reload()
    page.wait_for_selector("#recommended > li")
    assert titles(page, "#recommended") == second
    page.get_by_role("button", name="Start over").click()
    page.wait_for_selector("text=Rate one movie")
    assert page.evaluate("localStorage.getItem('reel.visitor')") == "[]"


def test_ratings_of_movies_that_are_gone_are_dropped(visit):
    visit.page.add_init_script(f"""localStorage.setItem('reel.visitor', JSON.stringify([
        {{...{STAR_WARS}, rating: 4.5}}, {{id: 999999, title: 'Nothing (1901)', genres: [], rating: 2}}]))""")
    visit.expected = {404}
    page = visit.open("#/")
    page.wait_for_selector("#recommended > li")
    assert "1 rating of yours" in page.locator("main").inner_text()


def test_clusters(visit):
    page = visit.open("#/clusters")
    page.wait_for_selector(".map circle")
    clusters = visit.service.json("/api/v1/clusters")["clusters"]
    assert page.locator("article").count() == len(clusters)
    page.get_by_role("link", name="Cluster 1").first.click()
    page.wait_for_selector("h1:has-text('Cluster 1')")
    page.locator(".inline a").first.wait_for()
    assert f"{clusters[1]['n_users']} users" in page.locator("main").inner_text()
    page.locator(".inline a").first.click()
    page.wait_for_selector("h1:has-text('User')")
    page.wait_for_selector("#recommended > li")


def test_watch_a_job_to_its_end(browser, jobs_service):
    visit = Visit(browser, jobs_service)
    page = visit.open("#/jobs")
    page.wait_for_selector("text=No job yet")
    visit.expected = {401, 403}
    page.get_by_label("Model name").fill("from-page")
    page.get_by_label("Parameters").fill("factors=8 epochs=5")
    page.get_by_role("button", name="Submit").click()
    page.wait_for_selector(".toast")
    visit.expected = set()
    page.get_by_label("API key or token").fill(API_KEY)
    page.get_by_role("button", name="Submit").click()
    page.wait_for_selector('[data-job][data-state="done"]', timeout=60000)
    assert "Train svd" in page.locator("[data-job]").first.inner_text()
    models = [model["name"] for model in jobs_service.json("/api/v1/models")["models"]]
    assert "from-page" in models
    page.get_by_label("Algorithm").select_option("bmf")
    page.get_by_label("Parameters").fill("factors=64 samples=4000 burn_in=4000")
    page.get_by_role("button", name="Submit").click()
    page.wait_for_selector('[data-job="2"][data-state="running"] progress[value]')
    page.get_by_role("button", name="Cancel job 2").click()
    page.wait_for_selector('[data-job="2"][data-state="cancelled"]')
    assert API_KEY not in page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href])")
    visit.close()


def test_where_everything_needs_a_key(browser, start):
    visit = Visit(browser, start("--auth-all"))
    visit.expected = {401}
    page = visit.open("#/movies/1")
    page.get_by_label("API key or token").fill(API_KEY)
    page.keyboard.press("Enter")
    page.wait_for_selector("h1:has-text('Toy Story')")
    page.wait_for_selector("#loaded:has-text('671 users')")
    visit.close()


def test_server_view(visit):
    for _ in range(300):  # the page lists the busiest routes, and other tests share this server
        visit.service.json("/api/v1/movies/1")
    page = visit.open("#/server")
    page.wait_for_selector("#curves .spark polyline")
    assert "GET /api/v1/movies/{id}" in page.locator("main").inner_text()
    for model in visit.service.json("/api/v1/models")["models"]:
        assert page.get_by_role("button", name=f"Load {model['name']} again").count() == 1


def test_keyboard_and_themes(visit):
    page = visit.open("#/movies")
    page.wait_for_selector("#found > li")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    ground = "getComputedStyle(document.body).backgroundColor"
    system = page.evaluate(ground)
    button = page.get_by_role("button", name="Theme: as the system")
    button.press("Enter")
    assert page.evaluate("document.documentElement.dataset.theme") == "light" and page.evaluate(ground) == system
    page.get_by_role("button", name="Theme: light").press("Enter")
    assert page.evaluate(ground) != system
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.get_by_role("link", name="Clusters").press("Enter")
    page.wait_for_selector(".map circle")
    until(page, "document.activeElement.tagName === 'H1'")
    assert page.locator("nav a[aria-current]").inner_text() == "Clusters"


@pytest.mark.parametrize("theme,width", [("light", 360), ("dark", 1280)])
def test_every_view_fits_and_is_accessible(browser, jobs_service, theme, width):
    """No horizontal scrolling, and no violation that axe finds (contrast, names, order of headings, landmarks ...)."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed").Axe()
    # axe is a script put into the page, which the page's policy would refuse.
    visit = Visit(browser, jobs_service, viewport={"width": width, "height": 800}, color_scheme=theme, bypass_csp=True)
    visit.page.add_init_script(f"localStorage.setItem('reel.visitor', JSON.stringify([{{...{STAR_WARS}, rating: 4.5}}]))")
    pictures = os.environ.get("REEL_SCREENSHOTS")
    for name, address in VIEWS.items():
        page = visit.open(address)
        page.wait_for_load_state("networkidle") if name not in ("jobs", "server") else page.wait_for_selector("#jobs > li, #curves svg")
        until(page, "!document.querySelector('.spinner, [aria-busy]')")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
        violations = axe.run(page).response["violations"]
        assert [(found["id"], [node["html"] for node in found["nodes"]]) for found in violations] == [], name
        if pictures:
            page.screenshot(path=Path(pictures) / f"{name}-{theme}-{width}.png", full_page=width == 360)
    visit.close()
