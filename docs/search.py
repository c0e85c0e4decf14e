"""Chinese search that finds words inside sentences: pairs of neighbouring characters are indexed, and queries cut alike."""
import re

from sphinx.search import SearchLanguage

_HAN = r'\u3400-\u9fff'


class ChineseByPairs(SearchLanguage):
    "反向传播 is indexed as 反向 向传 传播; Latin words as they are. Sphinx 9.0's own Chinese search fails in the browser."

    lang, language_name = 'zh', 'Chinese'
    js_splitter_code = r'''
function splitQuery(query) {
  const words = query.toLowerCase().match(/[\u3400-\u9fff]+|(?:(?![\u3400-\u9fff])[\p{L}\p{N}_])+/gu) ?? [];
  return words.flatMap(word => /^[\u3400-\u9fff]{2,}$/.test(word)
    ? Array.from({ length: word.length - 1 }, (_, i) => word.slice(i, i + 2)) : [word]);
}
'''

    def split(self, input):
        words = re.findall(rf'[{_HAN}]+|[^\W{_HAN}]+', input)
        pairs = [[o[i:i + 2] for i in range(len(o) - 1)] if re.match(rf'[{_HAN}]{{2,}}$', o) else [o] for o in words]
        return sum(pairs, [])

    def stem(self, word): return word.lower()
