"""Chinese search that finds words inside sentences: pairs of neighbouring characters, in the index and in queries."""
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
        return [part for word in words for part in self.pairs(word)]

    def pairs(self, word):
        if not re.match(rf'[{_HAN}]{{2,}}$', word): return [word]
        return [word[i:i + 2] for i in range(len(word) - 1)]

    def stem(self, word): return word.lower()
