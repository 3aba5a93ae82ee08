"use strict";
// Says a page in another language as it is shown: whatever draws it knows English alone. The catalogue and the way in which a
// finished text is found in it are those of language.py. Elements with translate="no", code and what is typed stay as they are.
const Language = (() => {
  const { texts, tail, chosen } = LANGUAGE_DATA;
  const NAMES = { en: "English", zh: "中文" };
  const QUIET = "[translate=no], code, pre, kbd, math, textarea, script, style";
  const READ = ["aria-label", "title", "placeholder"];
  const known = new Map(); // from a text to the same in the other language
  let now = chosen;
  let names = new Set(); // what is never a text, whatever it says

  const literal = (key) => key.replace(/\{\d+\}/g, "");
  const isTail = (key) => tail.some((mark) => key.startsWith(mark));
  const compiled = (isTight) => Object.keys(texts).filter((key) => /\{\d+\}/.test(key) || isTail(key))
    .sort((a, b) => isTail(b) - isTail(a) || literal(b).length - literal(a).length)
    .map((key) => {
      const field = isTight ? "(?:(?!, )[^])*?" : "[^]*?";
      const text = key.split(/\{(\d+)\}/).map((part, i) => (i % 2 ? `(?<f${part}>${field})` : part.replace(/[.*+?^${}()|[\]\\\/]/g, "\\$&"))).join("");
      return [new RegExp(`^${isTail(key) ? `(?<head>${field})\\s*` : ""}${text}$`), texts[key]];
    });
  const [tight, loose] = [compiled(true), compiled(false)];

  const isNames = (text) => names.has(text) || !/[A-Za-z]{2}/.test(text) || /^[^\s,]+(, [^\s,]+)*$/.test(text);
  const own = (text) => (!names.has(text) && Object.hasOwn(texts, text) ? texts[text] : null);

  /** A text in the other language, as far as it is known. */
  function say(text) {
    return !/[A-Za-z]{2}/.test(text) || names.has(text) ? text : text.split("\n").map(line).join("\n");
  }

  function line(text) {
    const bare = text.trim();
    return bare ? text.replace(bare, () => bare.split("; ").map((part) => clause(part, true) ?? clause(part, false) ?? part).join("；")) : text;
  }

  /** A clause by a key; null where there is none or, of the whole, where some of it is not known. */
  function clause(text, whole) {
    const key = whole + text;
    if (!known.has(key)) known.set(key, own(text) ?? filled(tight, text, whole) ?? listed(text, whole) ?? ended(text, whole) ?? filled(loose, text, whole) ?? lowered(text, whole));
    return known.get(key);
  }

  const lowered = (text, whole) => (/^[A-Z]/.test(text) ? clause(text[0].toLowerCase() + text.slice(1), whole) : null); // it begins a sentence

  function part(text, whole) {
    return isNames(text) ? own(text) ?? text : whole ? clause(text, true) : say(text);
  }

  function filled(patterns, text, whole) {
    for (const [form, said] of patterns) {
      const found = form.exec(text);
      if (!found) continue;
      const fields = Object.fromEntries(Object.entries(found.groups || {}).map(([name, field]) => [name, part(field.trim(), whole)]));
      if (!Object.values(fields).includes(null)) return (fields.head ?? "") + said.replace(/\{(\d+)\}/g, (_, n) => fields[`f${n}`]);
    }
    return null;
  }

  function listed(text, whole) {
    const parts = text.split(/, (?![^[(]*[\])])/); // not within brackets
    const found = parts.length > 1 ? parts.map((one) => clause(one, whole)) : [null];
    if (!found.includes(null) || (!whole && found.some((one) => one !== null))) return found.map((one, i) => one ?? parts[i]).join("，");
    for (const { 0: { length }, 1: colon, 2: end, index } of text.matchAll(/(: )|([.?]) /g)) {
      const before = text.slice(0, index) + (end || "");
      const [head, tail] = [end ? clause(before, whole) : part(before, whole), clause(text.slice(index + length), whole)];
      if (head !== null && tail !== null) return `${head}${colon ? "：" : ""}${tail}`;
    }
    const factors = text.split(/( \*\*? | \/ )/);
    const product = factors.map((factor, i) => (i % 2 ? factor : factors.length > 1 ? part(factor, whole) : null));
    return product.includes(null) || product.join("") === text ? null : product.join("");
  }

  function ended(text, whole) {
    const before = text.endsWith(".") ? clause(text.slice(0, -1), whole) : null;
    return before && `${before}。`;
  }

  const english = new WeakMap(); // of a node, what each of its texts says in English, and what was put there
  function show(node, name, text, put) {
    const kept = english.get(node) || english.set(node, {}).get(node);
    if (!kept[name] || kept[name].said !== text) kept[name] = { text };
    kept[name].said = now === "en" ? kept[name].text : say(kept[name].text);
    if (kept[name].said !== text) put(kept[name].said);
  }

  function showAll(root) {
    if ((root.nodeType === 1 ? root : root.parentElement)?.closest(QUIET)) return;
    const walker = document.createTreeWalker(root, NodeFilter.SHOW_ELEMENT | NodeFilter.SHOW_TEXT, {
      acceptNode: (node) => (node.nodeType === 1 && node.matches(QUIET) ? NodeFilter.FILTER_REJECT : NodeFilter.FILTER_ACCEPT),
    });
    for (let node = root; node; node = walker.nextNode()) {
      if (node.nodeType === 3) show(node, "text", node.data, (text) => { node.data = text; });
      else for (const name of READ) if (node.hasAttribute?.(name)) show(node, name, node.getAttribute(name), (text) => node.setAttribute(name, text));
    }
  }

  function choose(language) {
    now = language;
    document.documentElement.lang = now;
    button.textContent = NAMES[now === "en" ? "zh" : "en"];
    button.lang = now === "en" ? "zh" : "en";
    showAll(document.querySelector("title"));
    showAll(document.body);
  }

  const button = document.createElement("button");
  button.type = "button";
  button.className = "language";
  button.translate = false;
  button.addEventListener("click", () => choose(now === "en" ? "zh" : "en"));
  document.querySelector("header").append(button);
  const still = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (still.nextNode()) if (!still.currentNode.parentElement.closest(QUIET)) still.currentNode.data = still.currentNode.data.replace(/\s+/g, " "); // as it is shown
  choose(now);
  new MutationObserver((changes) => {
    for (const { type, target, addedNodes } of changes) for (const node of type === "childList" ? addedNodes : [target]) showAll(node);
  }).observe(document.body, { subtree: true, childList: true, characterData: true, attributes: true, attributeFilter: READ });

  return { neverSay: (some) => { names = new Set(some); known.clear(); } };
})();
