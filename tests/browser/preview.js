// Starts and stops the preview server, and the browser that looks at it.

import { spawn } from "node:child_process";
import { mkdtempSync, mkdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const here = import.meta.dirname ?? new URL(".", import.meta.url).pathname;
const target = process.env.CARGO_TARGET_DIR ?? join(here, "../../target");
const program = process.env.PREVIEW ?? join(target, "debug/examples/preview");
export const screenshots = join(here, "screenshots");
mkdirSync(screenshots, { recursive: true });

/** The account that the tests make. */
export const NAME = "jane.roe";
export const PASSWORD = "seven blue doors by the sea";

/** A preview server of its own for each scene: `{url, code, fingerprint, stop}`. */
export async function serve(scene) {
  const dir = mkdtempSync(join(tmpdir(), "wardgate-preview-"));
  const child = spawn(program, [scene, "0", dir], { stdio: ["ignore", "pipe", "inherit"] });
  const ended = new Promise((resolve) => child.once("exit", resolve));
  const failed = new Promise((_, reject) => {
    child.once("error", reject);
    child.once("exit", (code) => reject(new Error(`the preview ended with ${code}`)));
  });
  failed.catch(() => {});
  const line = new Promise((resolve) => createInterface({ input: child.stdout }).once("line", resolve));
  const said = JSON.parse(await Promise.race([line, failed]));
  const stop = async () => {
    child.kill();
    await ended;
    rmSync(dir, { recursive: true });
  };
  return { ...said, stop };
}

/** A browser without anything that it would do on its own. */
export function launch() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
}

/** A fresh visitor. `heard` collects what must not happen: console errors, page errors, foreign requests. */
export async function visit(browser, url, options = {}) {
  const context = await browser.newContext({
    ignoreHTTPSErrors: true,
    baseURL: url,
    viewport: { width: 1280, height: 900 },
    colorScheme: "light",
    ...options,
  });
  const page = await context.newPage();
  const heard = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) heard.push(`console: ${message.text()}`);
  });
  page.on("pageerror", (error) => heard.push(`error: ${error.message}`));
  page.on("request", (request) => {
    if (!request.url().startsWith(`${url}/`)) heard.push(`foreign request: ${request.url()}`);
  });
  return { context, page, heard };
}

/** Claims a fresh box as a person does; ends on the overview. */
export async function claim(page, code) {
  await page.goto("/");
  await page.getByLabel("Claim code").fill(code);
  await page.getByLabel("Your name to sign in with").fill(NAME);
  await page.getByLabel("Password", { exact: true }).fill(PASSWORD);
  await page.getByLabel("The same password again").fill(PASSWORD);
  await page.getByRole("button", { name: "Claim the gateway" }).click();
  await page.waitForURL("**/");
}

/** Signs in as a person does; ends where `path` says. */
export async function signIn(page, path = "/") {
  await page.goto(path);
  await page.getByLabel("Name").fill(NAME);
  await page.getByLabel("Password").fill(PASSWORD);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.waitForURL(`**${path}`);
}
