// Python's expressions and assignments, from text to a tree of nodes {kind, ...}.
{
  const { fail, ELLIPSIS } = NumPyParts;
  const DEEPEST = 100; // expressions inside expressions

  // The text, as tokens {kind, text, at}. A newline inside brackets separates nothing.
  const TOKEN = new RegExp(
    [
      /(?<space>[ \t\r]+|#[^\n]*|\\\r?\n)/,
      /(?<number>(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][+-]?\d+)?)/,
      /(?<name>[\p{L}_][\p{L}\p{N}_]*)/,
      /(?<text>'[^'\n]*'|"[^"\n]*")/,
      /(?<end>[;\n])/,
      /(?<sign>\.\.\.|\*\*=?|\/\/=?|[-+*\/%@<>=!]=|[-+*\/%@<>=()[\]{},:.~&|^])/,
    ].map((part) => part.source).join("|"),
    "uy",
  );
  const WORDS = "None True False and or not if else for in is lambda def class return import from while with yield".split(" ");

  function tokenize(source) {
    const where = (at) => {
      const before = source.slice(0, at).split("\n");
      return `${source.includes("\n") ? `line ${before.length}, ` : ""}column ${before.at(-1).length + 1}`;
    };
    const tokens = [];
    const open = [];
    TOKEN.lastIndex = 0;
    for (let at = 0; at < source.length; at = TOKEN.lastIndex) {
      const found = TOKEN.exec(source);
      if (!found) fail(`unexpected ${[...source.slice(at)][0]} at ${where(at)}`);
      const [kind, text] = Object.entries(found.groups).find(([, value]) => value !== undefined);
      if ("([{".includes(text)) open.push(at);
      if (")]}".includes(text)) open.pop();
      if (kind === "space" || (text === "\n" && open.length)) continue;
      tokens.push({ kind: WORDS.includes(text) ? "word" : kind, text, at: where(at) });
    }
    if (open.length) fail(`the '${source[open.at(-1)]}' at ${where(open.at(-1))} is never closed`);
    tokens.push({ kind: "end", text: "", at: where(source.length) });
    return tokens;
  }

  const RANK = new Map(Object.entries({ "|": 1, "^": 2, "&": 3, "+": 4, "-": 4, "*": 5, "/": 5, "//": 5, "%": 5, "@": 5 }));
  const CONSTANTS = new Map([["None", null], ["True", true], ["False", false], ["...", ELLIPSIS]]);
  const constant = (value) => ({ kind: "value", value });
  const tupleOf = ({ items, comma }) => (comma ? { kind: "tuple", items } : items[0]);

  // The statements of a text: Python's grammar, each rule a function, the loosest first.
  function parse(source) {
    const tokens = tokenize(source);
    let next = 0;
    let depth = 0;
    const at = (...kinds) => kinds.includes(tokens[next].kind);
    const is = (...texts) => at("sign", "word") && texts.includes(tokens[next].text);
    const take = () => tokens[next++].text;
    const accept = (...texts) => (is(...texts) ? take() : null);
    const unexpected = () => fail(`unexpected ${at("end") ? "end" : `'${tokens[next].text}'`} at ${tokens[next].at}`);
    const expect = (text) => accept(text) ?? unexpected();
    const name = () => (at("name") ? take() : unexpected());
    const closed = (bracket, node) => (expect(bracket), node);
    function deeper(rule) {
      if (++depth > DEEPEST) fail("this nests too deeply");
      const node = rule();
      depth--;
      return node;
    }

    function statement() {
      const start = tokens[next].at;
      const left = tuple();
      const sign = accept("=", "+=", "-=", "*=", "/=", "@=", "**=", "//=", "%=");
      if (!sign) return { kind: "show", value: left };
      const targets = left.kind === "tuple" ? left.items : [left];
      if (targets.some((target) => target.kind !== "name") || (sign !== "=" && left.kind !== "name")) {
        fail(`what is assigned to at ${start} must be a name; arrays are not changed in place here`);
      }
      const value = sign === "=" ? tuple() : { kind: "binary", sign: sign.slice(0, -1), left, right: tuple() };
      return { kind: "assign", target: left, value };
    }
    const tuple = (rule = starred) => tupleOf(list(rule));
    function list(rule) {
      const items = [rule()];
      let comma = false;
      while (accept(",")) {
        comma = true;
        if (at("end") || is(")", "]", "=", "in")) break;
        items.push(rule());
      }
      return { items, comma };
    }
    const starred = () => (accept("*") ? { kind: "star", value: operators(1) } : expression());
    const expression = () => deeper(() => (accept("lambda") ? lambda() : conditional()));
    function lambda() {
      const parameters = [];
      while (!accept(":")) {
        const rest = accept("*") !== null;
        parameters.push({ rest, name: name(), value: accept("=") ? expression() : null });
        if (!is(":")) expect(",");
      }
      return { kind: "lambda", parameters, body: expression() };
    }
    function conditional() {
      const value = either();
      if (!accept("if")) return value;
      const test = either();
      expect("else");
      return { kind: "if", test, value, otherwise: expression() };
    }
    const joined = (word, rule) => () => {
      let left = rule();
      while (accept(word)) left = { kind: "logic", sign: word, left, right: rule() };
      return left;
    };
    const negation = () => (accept("not") ? { kind: "not", value: deeper(negation) } : comparison());
    const either = joined("or", joined("and", negation));
    function comparison() {
      let left = operators(1);
      let all = null;
      for (;;) {
        let sign = accept("<", "<=", ">", ">=", "==", "!=", "is", "in");
        if (sign === "is" && accept("not")) sign = "is not";
        if (!sign && accept("not")) sign = `not ${expect("in")}`;
        if (!sign) return all ?? left;
        const one = { kind: "binary", sign, left, right: operators(1) };
        all = all ? { kind: "logic", sign: "and", left: all, right: one } : one; // a < b < c is a < b and b < c
        left = one.right;
      }
    }
    function operators(least) {
      let left = unary();
      while (at("sign") && RANK.get(tokens[next].text) >= least) {
        const sign = take();
        left = { kind: "binary", sign, left, right: operators(RANK.get(sign) + 1) };
      }
      return left;
    }
    function unary() {
      const sign = accept("-", "+", "~");
      return sign ? { kind: "unary", sign, value: deeper(unary) } : power();
    }
    function power() {
      const left = postfix();
      return accept("**") ? { kind: "binary", sign: "**", left, right: deeper(unary) } : left;
    }
    function postfix() {
      let value = atom();
      for (;;) {
        if (accept(".")) value = { kind: "attribute", value, name: name() };
        else if (accept("(")) value = { kind: "call", value, args: args() };
        else if (accept("[")) value = { kind: "index", value, index: closed("]", tuple(slice)) };
        else return value;
      }
    }
    function args() {
      if (accept(")")) return [];
      return closed(")", list(() => {
        const named = at("name") && tokens[next + 1].text === "=";
        if (named) return { name: closed("=", name()), value: expression() };
        const value = starred();
        return { name: null, value: is("for") ? comprehension(value) : value };
      }).items);
    }
    function slice() {
      const part = () => (is(":", ",", "]") ? constant(null) : expression());
      const start = is(":") ? constant(null) : starred();
      if (!accept(":")) return start;
      return { kind: "slice", start, stop: part(), step: accept(":") ? part() : constant(null) };
    }
    function comprehension(item) {
      const loops = [];
      while (accept("for")) {
        const target = tuple(() => ({ kind: "name", name: name() }));
        expect("in");
        const loop = { target, items: either(), tests: [] };
        while (accept("if")) loop.tests.push(either());
        loops.push(loop);
      }
      return { kind: "comprehension", item, loops };
    }
    function atom() {
      if (at("number")) return constant(Number(take().replaceAll("_", "")));
      if (at("text")) return constant(take().slice(1, -1));
      if (at("name")) return { kind: "name", name: take() };
      if (is(...CONSTANTS.keys())) return constant(CONSTANTS.get(take()));
      const close = { "(": ")", "[": "]" }[accept("(", "[")] ?? unexpected();
      if (accept(close)) return { kind: close === ")" ? "tuple" : "list", items: [] };
      const { items, comma } = list(starred);
      if (is("for") && !comma) return closed(close, comprehension(items[0]));
      return closed(close, close === "]" ? { kind: "list", items } : tupleOf({ items, comma }));
    }

    const statements = [];
    for (; next < tokens.length; next++) {
      if (!at("end")) statements.push(statement());
      if (!at("end")) unexpected();
    }
    return statements;
  }

  Object.assign(NumPyParts, { parse });
}
