"""Strings that someone could use as a name to break out of a format."""

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</title></svg><b>",
    "]]>&lt;&amp;",
    "\x1b[2J\x1b]0;x\x07",
    "\u202egnp.exe",
    "\ud800\uffff\x00",
    "$\\frac{1}{0}$",
    "名前🚀" * 40,
    "end",
    "`**bold**`",
    "#35; #quot;",
    "back\\slash\\n\\N\\l",
    'a"]; subgraph x["b',
    "%%{init: {}}%%",
    "-->|x|",
    "two\nlines\r\n",
]
