// Brings a page with <main data-live="SECONDS"> up to date without a reload: the same address is asked again, and what
// differs is put in place. What is the same stays: pictures do not flicker, and focus and open details are kept.

const TYPED_IN = "input, select, textarea";
let timer;

function keyOf(node) {
  return node.nodeType === Node.ELEMENT_NODE ? node.id || node.dataset.key || null : null;
}

function fits(old, fresh) {
  return old.nodeType === fresh.nodeType && old.nodeName === fresh.nodeName && keyOf(old) === keyOf(fresh);
}

function update(old, fresh) {
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  if ("keep" in old.dataset || old.isEqualNode(fresh)) return;
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && name !== "open") old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  updateChildren(old, fresh);
}

function updateChildren(old, fresh) {
  const keyed = new Map([...old.childNodes].filter(keyOf).map((node) => [keyOf(node), node]));
  let place = old.firstChild;
  for (const child of [...fresh.childNodes]) {
    const known = keyed.get(keyOf(child));
    if (known && fits(known, child)) {
      if (known === place) place = place.nextSibling;
      else old.insertBefore(known, place);
      update(known, child);
    } else if (place && fits(place, child)) {
      const next = place.nextSibling;
      update(place, child);
      place = next;
    } else {
      old.insertBefore(child, place);
    }
  }
  while (place) {
    const next = place.nextSibling;
    place.remove();
    place = next;
  }
}

function isInUse(main) {
  const at = document.activeElement;
  return document.hidden || document.querySelector("dialog[open]") || (main.contains(at) && at.matches(TYPED_IN));
}

async function refresh() {
  const main = document.querySelector("main[data-live]");
  try {
    if (main && !isInUse(main)) {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" }, cache: "no-store" });
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      const theirs = fresh.querySelector("main");
      if (answer.ok && theirs && !isInUse(main)) update(main, theirs);
      document.documentElement.classList.toggle("stale", !answer.ok);
    }
  } catch {
    document.documentElement.classList.add("stale"); // the backend is away: what is shown is of before
  }
  schedule();
}

function schedule() {
  const main = document.querySelector("main[data-live]");
  clearTimeout(timer);
  if (main) timer = setTimeout(refresh, 1000 * Number(main.dataset.live));
}

document.addEventListener("visibilitychange", () => document.hidden || refresh());
schedule();
