"""The page on what can go wrong says what the course says when it does."""
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent/'docs'
sys.path.insert(0, str(DOCS))
import wrong  # noqa: E402: docs/ is no package


@pytest.mark.parametrize('language', ['en', 'zh'])
def test_each_trouble_is_said_as_the_page_says(language, no_environment):
    assert (DOCS/'text'/f'wrong.{language}.md').read_text(encoding='utf-8') == wrong.pages()[language], 'python docs/wrong.py'


def test_no_sentence_is_left_in_english_on_the_chinese_page():
    for troubles in wrong.TROUBLES.values():
        for trouble in troubles:
            found = wrong.said(trouble)
            assert found['en'] != found['zh'] and '\n' not in found['en'], found
