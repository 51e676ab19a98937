// Every page in every state: accessible, whole at 320 px, light and dark, quiet, small.

import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { AxeBuilder } from "@axe-core/playwright";
import { claim, launch, screenshots, serve, signIn, visit } from "./preview.js";

const WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
const SIGNED_IN = ["/", "/feeds", "/destinations"];
const DETAIL = ["/feeds/adt", "/destinations/lake"];
const SCENES = {
  well: [...SIGNED_IN, ...DETAIL, "/destinations/research", "/nowhere"],
  trouble: [...SIGNED_IN, "/feeds/laboratory", "/destinations/lake", "/destinations/research"],
  quiet: [...SIGNED_IN, ...DETAIL],
  empty: SIGNED_IN,
};
const SHAPES = {
  light: { colorScheme: "light" },
  dark: { colorScheme: "dark" },
  narrow: { colorScheme: "light", viewport: { width: 320, height: 700 } },
  tablet: { colorScheme: "light", viewport: { width: 900, height: 800 } },
  small: { colorScheme: "light", viewport: { width: 1024, height: 700 } },
  "narrow-dark": { colorScheme: "dark", viewport: { width: 320, height: 700 } },
  // 200 % zoom of 1280 px is a window of 640 px.
  zoomed: { colorScheme: "light", viewport: { width: 640, height: 450 }, deviceScaleFactor: 2 },
  scriptless: { colorScheme: "light", javaScriptEnabled: false },
};

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());

async function look(page, name, { scripts }) {
  if (scripts) {
    const found = await new AxeBuilder({ page }).withTags(WCAG).analyze();
    const words = found.violations.map((v) => `${v.id}: ${v.help}\n  ${v.nodes.map((n) => n.html).join("\n  ")}`);
    assert.deepEqual(words, [], `axe on ${name}`);
    const wide = await page.evaluate(() => {
      const room = document.documentElement.clientWidth;
      const main = document.querySelector("main");
      const inside = main.getBoundingClientRect().right - Number.parseFloat(getComputedStyle(main).paddingRight);
      const out = [...document.querySelectorAll("body *")].filter((e) => {
        const edge = main.contains(e) && e !== main ? inside : room;
        return e.getBoundingClientRect().right > edge + 0.5 && !e.closest("pre, thead, svg");
      });
      return { scrolls: document.documentElement.scrollWidth > room, out: out.map((e) => e.outerHTML.slice(0, 120)) };
    });
    assert.deepEqual(wide, { scrolls: false, out: [] }, `width of ${name}`);
    const cut = await page.evaluate(() =>
      [...document.querySelectorAll("body *")]
        .filter((e) => e.children.length === 0 && e.textContent.trim() && !e.closest("pre, thead, svg"))
        .filter((e) => getComputedStyle(e).clipPath === "none")
        .filter((e) => getComputedStyle(e).overflowX !== "visible" && e.scrollWidth > e.clientWidth + 1)
        .map((e) => e.outerHTML.slice(0, 120)),
    );
    assert.deepEqual(cut, [], `text cut off on ${name}`);
  }
  await page.screenshot({ path: join(screenshots, `${name}.png`), fullPage: true });
}

for (const [scene, paths] of Object.entries(SCENES)) {
  describe(`${scene}`, () => {
    let preview;
    before(async () => {
      preview = await serve(scene);
      const { context, page } = await visit(browser, preview.url);
      await claim(page, preview.code);
      await context.close();
    });
    after(() => preview.stop());

    // What differs in these scenes shows in three shapes.
    const few = ["quiet", "empty"].includes(scene);
    const shapes = Object.entries(SHAPES).filter(([shape]) => !few || ["light", "dark", "narrow"].includes(shape));
    for (const [shape, options] of shapes) {
      test(`${shape}: ${paths.join(" ")}`, async () => {
        const { context, page, heard } = await visit(browser, preview.url, options);
        await signIn(page);
        const scripts = options.javaScriptEnabled !== false;
        for (const path of paths) {
          await page.goto(path);
          if (scripts && path !== "/nowhere") await page.getByText("Live", { exact: true }).waitFor();
          await look(page, `${scene}${path === "/" ? "-overview" : path.replaceAll("/", "-")}-${shape}`, { scripts });
        }
        // A page that is not there is asked for on purpose, and Chromium says so in its console.
        const unexpected = heard.filter((what) => !(paths.includes("/nowhere") && what.includes("404")));
        assert.deepEqual(unexpected, []);
        await context.close();
      });
    }
  });
}

describe("before signing in", () => {
  for (const [shape, options] of Object.entries(SHAPES)) {
    test(`${shape}: claim, with and without mistakes, and sign-in`, async () => {
      const preview = await serve("well");
      const { context, page } = await visit(browser, preview.url, options);
      const scripts = options.javaScriptEnabled !== false;
      await page.goto("/claim");
      await look(page, `claim-${shape}`, { scripts });
      await page.getByLabel("Claim code").fill("WRONG-CODE");
      await page.getByLabel("Your name to sign in with").fill("jane.roe");
      await page.getByLabel("Password", { exact: true }).fill("passwordpassword");
      await page.getByLabel("The same password again").fill("passwordpassword");
      await page.getByRole("button").click();
      await page.getByText("tried first").waitFor();
      await look(page, `claim-weak-${shape}`, { scripts });
      await claim(page, preview.code);
      await page.getByRole("button", { name: "Sign out" }).click();
      await page.waitForURL("**/sign-in");
      await look(page, `sign-in-${shape}`, { scripts });
      await page.getByLabel("Name").fill("jane.roe");
      await page.getByLabel("Password").fill("not the right one");
      await page.getByRole("button").click();
      await page.getByRole("alert").waitFor();
      await look(page, `sign-in-wrong-${shape}`, { scripts });
      await context.close();
      await preview.stop();
    });
  }
});
