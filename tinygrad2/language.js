"use strict";
// Says a page in another language as it is shown: whatever draws it knows English alone. The catalogue and the way in which a
// finished text is found in it are those of language.py. Elements with translate="no", code and what is typed stay as they are.
const Language = (() => {
  const { texts, tail, marks, chosen } = LANGUAGE_DATA;
  const NAMES = { en: "English", zh: "中文" };
  const QUIET = "[translate=no], code, pre, kbd, math, textarea, script, style";
  const READ = ["aria-label", "title", "placeholder"];
  const known = new Map(); // from a text to the same in the other language
  let now = chosen;
  let names = new Set(); // what is never a text, whatever it says

  const literal = (key) => key.replace(/\{\d+\}/g, "");
  const isTail = (key) => tail.some((mark) => key.startsWith(mark));
  const compiled = (isTight) => Object.keys(texts).filter((key) => /\{\d+\}/.test(key) || isTail(key))
    .sort((a, b) => literal(b).length - literal(a).length)
    .map((key) => {
      const field = isTight ? "(?:(?!, )[^])*?" : "[^]*?";
      const text = key.split(/\{(\d+)\}/).map((part, i) => (i % 2 ? `(?<f${part}>${field})` : part.replace(/[.*+?^${}()|[\]\\\/]/g, "\\$&"))).join("");
      return [new RegExp(`^${isTail(key) ? `(?<head>${field})\\s*` : ""}${text}$`), texts[key]];
    });
  const [tight, loose] = [compiled(true), compiled(false)];

  /** A text in the other language, as far as it is known. */
  function say(text) {
    if (!/[A-Za-z]{2}/.test(text) || names.has(text)) return text;
    if (!known.has(text)) known.set(text, text.split("\n").map(line).join("\n"));
    return known.get(text);
  }

  function line(text) {
    const bare = text.trim();
    return bare ? text.replace(bare, () => bare.split("; ").map((part) => clause(part) ?? part).join("；")) : text;
  }

  function clause(text) {
    if (names.has(text)) return text;
    const own = Object.hasOwn(texts, text) ? texts[text] : null;
    const ended = () => (text.endsWith(".") ? (clause(text.slice(0, -1)) ?? null) && `${clause(text.slice(0, -1))}。` : null);
    return own ?? filled(tight, text) ?? listed(text, true) ?? ended() ?? filled(loose, text) ?? listed(text, false);
  }

  function listed(text, allKnown) {
    for (const [mark, said] of Object.entries(marks)) {
      const parts = text.includes(mark) ? text.split(mark) : [];
      const found = parts.map(clause);
      if (found.some((part) => part !== null) && (!allKnown || !found.includes(null))) return found.map((part, i) => part ?? parts[i]).join(said);
    }
    return null;
  }

  function filled(patterns, text) {
    for (const [form, said] of patterns) {
      const found = form.exec(text);
      if (found) return say(found.groups?.head || "") + said.replace(/\{(\d+)\}/g, (_, n) => say(found.groups[`f${n}`].trim()));
    }
    return null;
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
    showAll(document.body);
  }

  const button = document.createElement("button");
  button.type = "button";
  button.className = "language";
  button.translate = false;
  button.addEventListener("click", () => choose(now === "en" ? "zh" : "en"));
  document.querySelector("header").append(button);
  const texts_ = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts_.nextNode()) if (!texts_.currentNode.parentElement.closest(QUIET)) texts_.currentNode.data = texts_.currentNode.data.replace(/\s+/g, " "); // as it is shown
  choose(now);
  new MutationObserver((changes) => {
    for (const { type, target, addedNodes } of changes) for (const node of type === "childList" ? addedNodes : [target]) showAll(node);
  }).observe(document.body, { subtree: true, childList: true, characterData: true, attributes: true, attributeFilter: READ });

  return { neverSay: (some) => { names = new Set(some); } };
})();
