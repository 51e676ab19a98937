// What people do here, as they do it.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { claim, launch, NAME, PASSWORD, serve, signIn, visit } from "./preview.js";

const FIRST_LOAD_BYTES_MAX = 100_000;
const NAVIGATION_BYTES_MAX = 15_000;

let browser;
let preview;
before(async () => {
  browser = await launch();
});
after(() => browser.close());

describe("a box is claimed and used", () => {
  before(async () => {
    preview = await serve("well");
  });
  after(() => preview.stop());

  test("by keyboard alone", async () => {
    const { context, page, heard } = await visit(browser, preview.url);
    await page.goto("/feeds");
    assert.match(page.url(), /\/claim$/, "until it is claimed, the claim page is all there is");
    // The first field has the focus; nobody reaches for the mouse.
    await page.keyboard.type(preview.code.toLowerCase().replaceAll("-", " "));
    await page.keyboard.press("Tab");
    await page.keyboard.type(NAME);
    await page.keyboard.press("Tab");
    await page.keyboard.type(PASSWORD);
    await page.keyboard.press("Tab");
    await page.keyboard.type(PASSWORD);
    await page.keyboard.press("Enter");
    await page.waitForURL("**/");
    await page.getByRole("heading", { level: 1 }).waitFor();

    const cookies = await context.cookies();
    const session = cookies.find((cookie) => cookie.name === "__Host-wardgate-session");
    assert.ok(session && session.secure && session.httpOnly && session.sameSite === "Strict" && session.path === "/");
    assert.equal(session.expires, -1, "ends with the browser");

    // To a feed: past the skip link, by links alone, each with a visible focus.
    await page.keyboard.press("Tab");
    assert.equal(await page.evaluate(() => document.activeElement.textContent), "Skip to content");
    const reach = async (name) => {
      for (let presses = 0; presses < 30; presses += 1) {
        const at = await page.evaluate(() => document.activeElement.textContent.trim());
        if (at === name) {
          const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
          assert.equal(outline, "solid", `focus on ${name} is visible`);
          return;
        }
        await page.keyboard.press("Tab");
      }
      assert.fail(`${name} is not reached by Tab`);
    };
    await reach("laboratory");
    await page.keyboard.press("Enter");
    await page.waitForURL("**/feeds/laboratory");
    await reach("Sign out");
    await page.keyboard.press("Enter");
    await page.waitForURL("**/sign-in");
    await page.goBack();
    await page.waitForURL("**/sign-in**");
    assert.deepEqual(heard, []);
    await context.close();
  });

  test("signing in leads where one wanted to go", async () => {
    const { context, page, heard } = await visit(browser, preview.url);
    await signIn(page, "/destinations/research");
    await page.getByRole("heading", { level: 1, name: "research" }).waitFor();
    await page.goto("/claim");
    assert.match(page.url(), /\/$/, "there is nothing to claim any more");
    assert.deepEqual(heard, []);
    await context.close();
  });

  test("figures move by themselves, and a selection is left alone", async () => {
    const { context, page, heard } = await visit(browser, preview.url);
    await signIn(page);
    await page.getByText("Live", { exact: true }).waitFor();
    const accepted = page.locator("#feeds tbody tr").filter({ hasText: "laboratory" }).locator("td").nth(2);
    const first = await accepted.textContent();
    await page.waitForFunction(
      ([text]) => ![...document.querySelectorAll("#feeds td")].some((cell) => cell.textContent === text),
      [first],
      { timeout: 15_000 },
    );
    // The keyboard stays where it was although the table was exchanged.
    await page.getByRole("link", { name: "laboratory" }).focus();
    const before = await accepted.textContent();
    await page.waitForFunction(
      ([text]) => ![...document.querySelectorAll("#feeds td")].some((cell) => cell.textContent === text),
      [before],
      { timeout: 15_000 },
    );
    assert.equal(await page.evaluate(() => document.activeElement.textContent), "laboratory");
    // What somebody is about to copy stays.
    await accepted.evaluate((cell) => getSelection().selectAllChildren(cell));
    const selected = await page.evaluate(() => getSelection().toString());
    await page.waitForTimeout(4_500);
    assert.equal(await page.evaluate(() => getSelection().toString()), selected);
    assert.deepEqual(heard, []);
    await context.close();
  });

  test("another tab signs out, and this one notices", async () => {
    const { context, page } = await visit(browser, preview.url);
    await signIn(page);
    await page.getByText("Live", { exact: true }).waitFor();
    const other = await context.newPage();
    await other.goto("/feeds");
    await other.getByRole("button", { name: "Sign out" }).click();
    await other.waitForURL("**/sign-in");
    await page.waitForURL("**/sign-in", { timeout: 10_000 });
    await context.close();
  });

  test("light enough for a slow line", async () => {
    const { context, page } = await visit(browser, preview.url);
    const session = await context.newCDPSession(page);
    await session.send("Network.enable");
    let bytes = 0;
    session.on("Network.loadingFinished", (event) => {
      bytes += event.encodedDataLength;
    });
    session.on("Network.dataReceived", () => {});
    await signIn(page);
    await page.getByText("Live", { exact: true }).waitFor();
    assert.ok(bytes > 5_000 && bytes <= FIRST_LOAD_BYTES_MAX, `first load: ${bytes} bytes`);
    for (const path of ["/feeds", "/destinations", "/feeds/adt", "/"]) {
      bytes = 0;
      await page.goto(path);
      await page.getByText("Live", { exact: true }).waitFor();
      assert.ok(bytes > 0 && bytes <= NAVIGATION_BYTES_MAX, `${path}: ${bytes} bytes`);
    }
    await context.close();
  });

  test("nothing is left in the browser", async () => {
    const { context, page } = await visit(browser, preview.url);
    await signIn(page);
    const kept = await page.evaluate(async () => ({
      local: localStorage.length,
      session: sessionStorage.length,
      databases: (await indexedDB.databases()).length,
      cookies: document.cookie,
    }));
    assert.deepEqual(kept, { local: 0, session: 0, databases: 0, cookies: "" });
    await context.close();
  });
});

test("a foreign page can neither frame it nor send its forms", async () => {
  preview = await serve("well");
  const { context, page } = await visit(browser, preview.url);
  await claim(page, preview.code);
  const stranger = await context.newPage();
  await stranger.route("https://evil.example/", (route) =>
    route.fulfill({
      contentType: "text/html",
      body: `<iframe src="${preview.url}/"></iframe>
        <form method="post" action="${preview.url}/sign-out"><button>Win a prize</button></form>`,
    }),
  );
  await stranger.goto("https://evil.example/");
  const frame = stranger.frames().find((f) => f !== stranger.mainFrame());
  assert.ok(!frame || !(await frame.content()).includes("Backlog"), "framed");
  const [answer] = await Promise.all([
    stranger.waitForResponse((response) => response.url().endsWith("/sign-out")),
    stranger.getByRole("button").click(),
  ]);
  assert.equal(answer.status(), 403);
  await page.reload();
  await page.getByRole("button", { name: "Sign out" }).waitFor();
  await context.close();
  await preview.stop();
});
