import json
import math

import pytest

from perfload.report.escape import plotly_label, script_json, shortened, visible
from perfload.report.markup import Column, Markup, Row, element, escaped, table
from tests.unit.report.records import HOSTILE


def test_control_characters_become_their_escapes():
    assert visible("a\x1b[31m\r\n\tb\x00\x7f\x9b") == r"a\x1b[31m\r\n\tb\x00\x7f\x9b"


def test_right_to_left_overrides_line_separators_and_lone_surrogates_become_their_escapes():
    assert visible("a\u202eb\u2066c\u2028d\ud800e\ufeff") == r"a\u202eb\u2066c\u2028d\ud800e\ufeff"


def test_scripts_emoji_and_joiners_stay():
    text = "ünïcødé 模型 🚀 مرحبا می\u200cخوریم 👩\u200d💻 \u00a0"
    assert visible(text) == text


def test_shortened_text_ends_in_an_ellipsis():
    assert [shortened("abcdef", length) for length in (6, 5, 1, 0)] == ["abcdef", "abcd…", "…", "…"]


def test_plotly_sees_neither_tags_nor_entities():
    assert plotly_label("<b>x</b> &lt;\n") == r"&lt;b&gt;x&lt;/b&gt; &amp;lt;\n"


@pytest.mark.parametrize("text", HOSTILE)
def test_script_json_has_no_markup_and_reads_back_equal(text):
    written = script_json({text: [text]})
    assert not set(written) & set("<>&")
    assert written.isascii()
    assert json.loads(written) == {text: [text]}


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_script_json_refuses_what_is_not_json(value):
    with pytest.raises(ValueError, match="JSON"):
        script_json([value])


def test_elements_escape_children_and_attributes_but_not_markup():
    made = element("p", "<i>", element("b", "&"), title="\"><x y='1'>", data_figure="a", class_="c")
    assert made == (
        '<p title="&quot;&gt;&lt;x y=&#x27;1&#x27;&gt;" data-figure="a" class="c">&lt;i&gt;<b>&amp;</b></p>'
    )


def test_markup_is_lost_by_any_operation_on_it():
    assert escaped(Markup("<b>") + "<i>") == "&lt;b&gt;&lt;i&gt;"


def test_a_table_leaves_out_columns_without_content():
    made = table(
        (Column("name"), Column("note"), Column("n", number=True)),
        [Row(("a", "", "1")), Row(("b", "", "2"), strong=True, opens=True)],
        label="L",
    )
    assert "note" not in made
    assert '<tr><th scope="row" class="text">a</th><td class="number">1</td></tr>' in made
    assert '<tr class="strong opens"><th scope="row" class="text">b</th>' in made


def test_neighbouring_columns_of_a_group_share_a_header():
    columns = (Column("a"), Column("b", group="G"), Column("c", group="G"))
    made = table(columns, [Row("123")], label="L")
    assert '<tr><th colspan="1" class="none"></th><th colspan="2" class="group">G</th></tr>' in made
