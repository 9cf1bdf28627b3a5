import pytest
from jinja2 import UndefinedError
from markupsafe import Markup

from eval.html.page import Fact, Plot, PlotGroup, Table, _environment, render


def component(call: str, **context: object) -> str:
    imports = '{% from "components.html.j2" import ' + call.partition("(")[0] + " %}"
    template = _environment().from_string(imports + "{{ " + call + " }}")
    return "".join(line.strip() for line in template.render(**context).splitlines())


@pytest.mark.parametrize(
    ("call", "value", "expected"),
    [
        ("facts(value)", [], '<dl class="facts"></dl>'),
        (
            "facts(value)",
            [Fact(label="<a>", figure="1"), Fact(label="b", figure="2", note="<c>")],
            '<dl class="facts"><div><dt>&lt;a&gt;</dt><dd>1</dd></div>'
            '<div><dt>b</dt><dd>2</dd><dd class="more">&lt;c&gt;</dd></div></dl>',
        ),
        ("bullets(value)", ["<a>"], "<ul><li>&lt;a&gt;</li></ul>"),
        (
            "legend(value)",
            [("s0", "<loss>")],
            '<p class="legend"><span><i class="key s0"></i>&lt;loss&gt;</span></p>',
        ),
        (
            'command("x", value)',
            "omr --batch 1",
            '<pre id="x"><span>omr</span> <span>--batch</span> <span>1</span></pre>',
        ),
        (
            "table(value)",
            Table(label="<t>", columns=["a", "b"], rows=[["<x>", "1"]], tall=True),
            '<div class="scroll tall" role="region" aria-label="&lt;t&gt;" tabindex="0">'
            '<table><thead><tr><th scope="col">a</th><th scope="col">b</th></tr></thead>'
            '<tbody><tr><th scope="row" title="&lt;x&gt;">&lt;x&gt;</th><td>1</td></tr>'
            "</tbody></table></div>",
        ),
        (
            "plot_group(value)",
            PlotGroup(
                name="p",
                plots=[Plot(svg=Markup("<svg/>"), title="<t>")],
                hidden=[Plot(svg=Markup("<svg/>"))],
                hidden_title="1 more",
            ),
            '<div class="plots" id="p"><div><h3>&lt;t&gt;</h3><svg/></div></div>'
            '<details><summary>1 more</summary><div class="plots" id="p-more">'
            "<div><svg/></div></div></details>",
        ),
    ],
)
def test_components_escape_text(call: str, value: object, expected: str) -> None:
    assert component(call, value=value) == expected


def test_an_undefined_variable_is_an_error() -> None:
    with pytest.raises(UndefinedError):
        render("density.html.j2")
